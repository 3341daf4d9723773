// SPDX-License-Identifier: Apache-2.0
//
// hsflow_window_row: one row of the patch of hsflow_window, the last blocks' pixels side by side.
//
// Contract
//   * A shift takes one row of a block: the pixels that PlaceRead names, first one in the low bits.
//   * `data_o` holds the PatchWidth columns of the patch. Column c is column (ColumnShift + c) of
//     the last `Blocks` blocks side by side, the newest block at the right. It is PadValue unless
//     ColumnUsed[c] is set and the row and the column are inside the image.
//   * The content after reset is not defined; the user masks what it has not shifted in yet.
module hsflow_window_row #(
  parameter int PixelWidth  = 8,
  parameter int BlockWidth  = 1,
  parameter int PatchWidth  = 3,
  parameter logic [PatchWidth-1:0] ColumnUsed = '1,
  parameter logic [BlockWidth-1:0] PlaceRead  = '1,
  parameter int ColumnShift = 0,
  parameter int Blocks      = 3,
  parameter logic [PixelWidth-1:0] PadValue = '0,
  parameter int LineWidth   = 8
) (
  input  logic                             clk_i,
  input  logic                             shift_i,
  input  logic [LineWidth-1:0]             data_i,

  input  logic                             row_inside_i,
  input  logic [PatchWidth-1:0]            column_inside_i,
  output logic [PatchWidth*PixelWidth-1:0] data_o
);

  // The first used column of `column` and the ones that are whole blocks to the right.
  function automatic int first_used(input int column);
    first_used = PatchWidth;
    for (int c = column; c < PatchWidth; c = c + BlockWidth) begin
      if (ColumnUsed[c] && c < first_used) first_used = c;
    end
  endfunction

  // How many places that are read come before this one.
  function automatic int read_before(input int place);
    read_before = 0;
    for (int p = 0; p < place; p++) begin
      if (PlaceRead[p]) read_before = read_before + 1;
    end
  endfunction

  for (genvar p = 0; p < BlockWidth; p++) begin : g_place
    // The patch's columns of this place in a block, from the first one that is used.
    localparam int Oldest = first_used((p + BlockWidth - ColumnShift) % BlockWidth);

    if (PlaceRead[p]) begin : g_read
      localparam int Ages = Blocks - (Oldest + ColumnShift) / BlockWidth;
      localparam int Slot = read_before(p);
      // Slice 0 is the newest pixel of this place.
      logic [Ages*PixelWidth-1:0] history_q;

      if (Ages == 1) begin : g_one
        always_ff @(posedge clk_i) begin
          if (shift_i) history_q <= data_i[Slot*PixelWidth +: PixelWidth];
        end
      end else begin : g_many
        always_ff @(posedge clk_i) begin
          if (shift_i) begin
            history_q <= {history_q[(Ages-1)*PixelWidth-1:0],
                          data_i[Slot*PixelWidth +: PixelWidth]};
          end
        end
      end

      for (genvar c = Oldest; c < PatchWidth; c = c + BlockWidth) begin : g_column
        if (ColumnUsed[c]) begin : g_used
          localparam int Age = Blocks - 1 - (c + ColumnShift) / BlockWidth;
          assign data_o[c*PixelWidth +: PixelWidth] =
              (row_inside_i & column_inside_i[c]) ? history_q[Age*PixelWidth +: PixelWidth]
                                                  : PadValue;
        end
      end
    end
  end

  for (genvar c = 0; c < PatchWidth; c++) begin : g_padding
    if (!ColumnUsed[c]) begin : g_column
      assign data_o[c*PixelWidth +: PixelWidth] = PadValue;

      logic unused_inside;
      assign unused_inside = column_inside_i[c];
    end
  end

endmodule
