// SPDX-License-Identifier: Apache-2.0
// Walks the rows of the weight memory: for each tile of classes, each group of features.
//
// A row is issued in each cycle in which the array advances. The first row of an image waits for
// a full input buffer and for `hold_i` to be low; from then on the image runs to its end.
module hsflow_npu_sequencer #(
  parameter int Tiles = 1,
  parameter int Groups = 1,
  // Cycles from the issue of a row to its sum at the accumulators.
  parameter int Delay = 2,
  // Derived; do not override.
  parameter int RowWidth = (Tiles * Groups > 1) ? $clog2(Tiles * Groups) : 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                advance_i,
  input  logic                hold_i,
  input  logic                full_i,
  output logic                take_o,
  output logic                rotate_o,
  output logic [RowWidth-1:0] row_o,
  output logic                accumulate_o,
  output logic                first_o,
  output logic                last_o,
  output logic                busy_o
);
  localparam int GroupWidth = (Groups > 1) ? $clog2(Groups) : 1;
  localparam logic [RowWidth-1:0] LastRow = RowWidth'(Tiles * Groups - 1);
  localparam logic [GroupWidth-1:0] LastGroup = GroupWidth'(Groups - 1);

  logic                  issue;
  logic                  at_start;
  logic [RowWidth-1:0]   row_q;
  logic [GroupWidth-1:0] group_q;
  logic [Delay-1:0]      valid_q;
  logic [Delay-1:0]      first_q;
  logic [Delay-1:0]      last_q;

  assign at_start = row_q == '0;
  assign issue = advance_i && (!at_start || (full_i && !hold_i));
  assign take_o = issue && at_start;
  assign rotate_o = issue && !at_start;
  assign row_o = row_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      row_q   <= '0;
      group_q <= '0;
      valid_q <= '0;
      first_q <= '0;
      last_q  <= '0;
    end else if (advance_i) begin
      if (issue) row_q <= (row_q == LastRow) ? '0 : row_q + RowWidth'(1);
      if (issue) group_q <= (group_q == LastGroup) ? '0 : group_q + GroupWidth'(1);
      valid_q <= {valid_q[Delay-2:0], issue};
      first_q <= {first_q[Delay-2:0], group_q == '0};
      last_q  <= {last_q[Delay-2:0], group_q == LastGroup};
    end
  end

  assign accumulate_o = valid_q[Delay-1];
  assign first_o = first_q[Delay-1];
  assign last_o = last_q[Delay-1];
  assign busy_o = !at_start || (valid_q != '0);
endmodule
