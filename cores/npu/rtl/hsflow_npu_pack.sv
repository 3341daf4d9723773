// SPDX-License-Identifier: Apache-2.0
// Cuts rows of `ClassLanes` sums into beats of `LogitLanes` sums, in class order without gaps.
//
// A row is loaded at once and leaves in ceil(ClassLanes / LogitLanes) cycles while the array
// computes the next one, an image's last row in as many as it takes to complete the image's last
// beat. Where a row ends inside a beat, the next row's sums are rotated behind it: a beat then
// comes out one cycle later than it went in; else in the same cycle. The lanes of an image's last
// beat that are past the last class are undefined.
module hsflow_npu_pack #(
  parameter int Classes = 10,
  parameter int ClassLanes = 4,
  parameter int LogitLanes = 2
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  // Stops everything but a load.
  input  logic                     advance_i,
  input  logic                     load_i,
  output logic                     load_ready_o,
  input  logic [32*ClassLanes-1:0] row_i,
  output logic                     busy_o,
  output logic                     valid_o,
  output logic [32*LogitLanes-1:0] sum_o
);
  localparam int Tiles = (Classes + ClassLanes - 1) / ClassLanes;
  localparam int LastClasses = Classes - (Tiles - 1) * ClassLanes;
  // Cycles in which a row leaves, and the lane at which the last row's first sum leaves.
  localparam int Moves = (ClassLanes + LogitLanes - 1) / LogitLanes;
  localparam int LastStart = ((Tiles - 1) * ClassLanes) % LogitLanes;
  localparam int LastMoves = (LastStart + LastClasses + LogitLanes - 1) / LogitLanes;
  localparam int MostMoves = (Moves > LastMoves) ? Moves : LastMoves;
  localparam int MoveWidth = (MostMoves > 1) ? $clog2(MostMoves) : 1;
  localparam int TileWidth = (Tiles > 1) ? $clog2(Tiles) : 1;
  localparam logic [MoveWidth-1:0] LastMove = MoveWidth'(Moves - 1);
  localparam logic [MoveWidth-1:0] LastMoveOfImage = MoveWidth'(LastMoves - 1);
  localparam logic [TileWidth-1:0] LastTile = TileWidth'(Tiles - 1);
  localparam bit Aligned = Tiles == 1 || ClassLanes % LogitLanes == 0;

  logic                     row_valid_q;
  logic [32*ClassLanes-1:0] row_q;
  logic [MoveWidth-1:0]     move_q;
  logic [TileWidth-1:0]     tile_q;
  logic                     move;
  logic                     in_last_tile;
  logic                     row_done;
  logic [32*LogitLanes-1:0] chunk;

  assign move = row_valid_q && advance_i;
  assign in_last_tile = tile_q == LastTile;
  assign row_done = move_q == (in_last_tile ? LastMoveOfImage : LastMove);
  assign load_ready_o = !row_valid_q || (move && row_done);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      row_valid_q <= 1'b0;
      move_q      <= '0;
      tile_q      <= '0;
    end else begin
      row_valid_q <= load_i || (row_valid_q && !(move && row_done));
      if (move) move_q <= row_done ? '0 : move_q + MoveWidth'(1);
      if (move && row_done) tile_q <= in_last_tile ? '0 : tile_q + TileWidth'(1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i) row_q <= row_i;
    else if (move) row_q <= row_q >> (32 * LogitLanes);
  end

  if (ClassLanes >= LogitLanes) begin : g_chunk
    assign chunk = row_q[32*LogitLanes-1:0];
  end else begin : g_short_chunk
    assign chunk = {{(32 * (LogitLanes - ClassLanes)){1'b0}}, row_q};
  end

  if (Aligned) begin : g_aligned
    assign busy_o = row_valid_q;
    assign valid_o = row_valid_q;
    assign sum_o = chunk;
  end else begin : g_shifted
    // Sums of an inner row's last chunk.
    localparam int Rest = ClassLanes - (Moves - 1) * LogitLanes;
    localparam int LaneWidth = $clog2(LogitLanes);
    localparam logic [LaneWidth:0] RestLanes = (LaneWidth + 1)'(Rest);
    localparam logic [LaneWidth:0] AllLanes = (LaneWidth + 1)'(LogitLanes);

    // Sums that wait for their beat's others, in lanes 0 to start_q - 1.
    logic [LaneWidth-1:0]     start_q;
    logic [32*LogitLanes-1:0] waiting_q;
    logic [LaneWidth:0]       filled;
    logic [LaneWidth-1:0]     start_next;
    logic                     fills;
    logic                     emit;
    logic [LaneWidth:0]       left;
    logic [64*LogitLanes-1:0] twice;
    logic [32*LogitLanes-1:0] rotated;
    logic                     valid_q;
    logic [32*LogitLanes-1:0] sum_q;

    assign filled = {1'b0, start_q} + RestLanes;
    assign fills = filled >= AllLanes;
    assign start_next = LaneWidth'(fills ? filled - AllLanes : filled);
    assign emit = in_last_tile || move_q != LastMove || fills;

    // Lane i of the chunk goes to lane (i + start_q) modulo LogitLanes.
    assign left = AllLanes - {1'b0, start_q};
    assign twice = {chunk, chunk};
    assign rotated = twice[{left, 5'd0} +: 32*LogitLanes];

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        start_q <= '0;
        valid_q <= 1'b0;
      end else begin
        if (move && row_done) start_q <= in_last_tile ? '0 : start_next;
        if (advance_i) valid_q <= row_valid_q && emit;
      end
    end

    // A lane below start_q holds a sum that leaves with this beat and takes one for the next.
    for (genvar i = 0; i < LogitLanes; i++) begin : g_lane
      logic below;

      assign below = {1'b0, start_q} > (LaneWidth + 1)'(i);

      always_ff @(posedge clk_i) begin
        if (move && emit == below) waiting_q[32*i +: 32] <= rotated[32*i +: 32];
        if (move) sum_q[32*i +: 32] <= below ? waiting_q[32*i +: 32] : rotated[32*i +: 32];
      end
    end

    assign busy_o = row_valid_q || valid_q;
    assign valid_o = valid_q;
    assign sum_o = sum_q;
  end
endmodule
