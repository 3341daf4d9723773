// SPDX-License-Identifier: Apache-2.0
//
// hsflow_window: turns a raster stream of blocks of pixels into the patches that a (strided,
// dilated, padded) convolution or pooling layer reads. A block of one pixel is a plain raster.
//
// Contract
//   * Input: images of Height x Width pixels as a grid of blocks of BlockHeight x BlockWidth
//     pixels, one block a transfer, in raster order, images back to back. Pixel (r, c) of a block
//     lies at data_i[(r * BlockWidth + c) * PixelWidth +: PixelWidth].
//   * Output: OutputHeight x OutputWidth windows an image, with
//       OutputHeight = (Height + PadTop + PadBottom - ExtentHeight) / StrideHeight + 1,
//       ExtentHeight = (KernelHeight - 1) * DilationHeight + 1, and the same for the width;
//     as a grid of output blocks of OutBlockHeight x OutBlockWidth windows, one block a transfer,
//     in raster order, with OutBlockHeight = max(1, BlockHeight / StrideHeight), and the same for
//     the width.
//   * A transfer carries the patch of the image that the block's windows read, PatchHeight rows by
//     PatchWidth columns, with
//       PatchHeight = (OutBlockHeight - 1) * StrideHeight + ExtentHeight.
//     Its pixel (r, c) lies at data_o[(r * PatchWidth + c) * PixelWidth +: PixelWidth]. Tap (r, c)
//     of the block's window (a, b) is the patch's pixel (a * StrideHeight + r * DilationHeight,
//     b * StrideWidth + c * DilationWidth). A pixel outside the image is PadValue, and so is a
//     pixel that no window of the block reads.
//   * Latency 1: the transfer that completes a patch in cycle t shows it in cycle t + 1.
//   * Initiation interval: one cycle a block. Padding costs nothing: the tail of an image, steps
//     that the last patch lies behind the last block, overlaps the head of the next one. Without
//     a next image the tail runs by itself, one step a cycle.
//   * Once the first block of the next image was taken in a tail, the rest of the tail waits for
//     that image's blocks: nothing may split an image.
//   * Requires PadTop + PadBottom < ExtentHeight and PadLeft + PadRight < ExtentWidth, so that the
//     windows of two images never overlap in time. Blocks tile the image, output blocks tile the
//     output, and a block's side is a multiple or a divisor of the stride.
//   * `ready_o` depends on `ready_i` in the same cycle; `valid_o` is a register.
//
// Method: raster index `step_q` counts the steps of the current image, `trigger_q` is the step that
// completes the next patch. An output block moves by whole blocks of the image, so each row of the
// patch comes from the same row of the blocks (its place), so many rows of blocks ago (its wait):
// line buffers from one patch row to the next that has the same place. Then shift registers, one
// for each row of the patch and column of the block. A patch that crosses an edge reads pixels of
// another row or image there; the masks replace them. Rows and columns of a patch that no window
// reads, or that lie outside the image wherever the patch is, have no storage.
module hsflow_window #(
  parameter int PixelWidth     = 8,
  parameter int Height         = 4,
  parameter int Width          = 4,
  parameter int BlockHeight    = 1,
  parameter int BlockWidth     = 1,
  parameter int KernelHeight   = 3,
  parameter int KernelWidth    = 3,
  parameter int StrideHeight   = 1,
  parameter int StrideWidth    = 1,
  parameter int DilationHeight = 1,
  parameter int DilationWidth  = 1,
  parameter int PadTop         = 1,
  parameter int PadBottom      = 1,
  parameter int PadLeft        = 1,
  parameter int PadRight       = 1,
  parameter logic [PixelWidth-1:0] PadValue = '0,
  localparam int OutBlockHeight =
      (BlockHeight > StrideHeight) ? BlockHeight / StrideHeight : 1,
  localparam int OutBlockWidth =
      (BlockWidth > StrideWidth) ? BlockWidth / StrideWidth : 1,
  localparam int ExtentHeight = (KernelHeight - 1) * DilationHeight + 1,
  localparam int ExtentWidth  = (KernelWidth - 1) * DilationWidth + 1,
  localparam int PatchHeight  = (OutBlockHeight - 1) * StrideHeight + ExtentHeight,
  localparam int PatchWidth   = (OutBlockWidth - 1) * StrideWidth + ExtentWidth
) (
  input  logic                                           clk_i,
  input  logic                                           rst_ni,

  input  logic                                           valid_i,
  output logic                                           ready_o,
  input  logic [BlockHeight*BlockWidth*PixelWidth-1:0]   data_i,

  output logic                                           valid_o,
  input  logic                                           ready_i,
  output logic [PatchHeight*PatchWidth*PixelWidth-1:0]   data_o
);

  // The grids of blocks and of output blocks; an output block moves by Move blocks.
  localparam int Rows         = Height / BlockHeight;
  localparam int Columns      = Width / BlockWidth;
  localparam int Blocks       = Rows * Columns;
  localparam int OutputHeight =
      (Height + PadTop + PadBottom - ExtentHeight) / StrideHeight + 1;
  localparam int OutputWidth =
      (Width + PadLeft + PadRight - ExtentWidth) / StrideWidth + 1;
  localparam int MoveRows    = OutBlockHeight * StrideHeight / BlockHeight;
  localparam int MoveColumns = OutBlockWidth * StrideWidth / BlockWidth;
  localparam int LastRow     = (OutputHeight / OutBlockHeight - 1) * MoveRows;
  localparam int LastColumn  = (OutputWidth / OutBlockWidth - 1) * MoveColumns;

  // A patch at the image's first block: its row r is row (RowShift + r) of the image from RowsAbove
  // blocks above. It is complete RowsBelow rows of blocks further down, or where the image ends.
  localparam int RowsAbove    = (PadTop + BlockHeight - 1) / BlockHeight;
  localparam int ColumnsLeft  = (PadLeft + BlockWidth - 1) / BlockWidth;
  localparam int RowShift     = RowsAbove * BlockHeight - PadTop;
  localparam int ColumnShift  = ColumnsLeft * BlockWidth - PadLeft;
  localparam int RowsBelow    = ((PatchHeight - 1 - PadTop) / BlockHeight < Rows)
      ? (PatchHeight - 1 - PadTop) / BlockHeight : Rows - 1;
  localparam int ColumnsRight = ((PatchWidth - 1 - PadLeft) / BlockWidth < Columns)
      ? (PatchWidth - 1 - PadLeft) / BlockWidth : Columns - 1;

  // Raster steps. In a row of patches the trigger moves by MoveColumns, at its end by NextRow.
  localparam int FirstTrigger = RowsBelow * Columns + ColumnsRight;
  localparam int NextRow      = MoveRows * Columns - LastColumn;
  localparam int LastTrigger  = FirstTrigger + LastRow * Columns + LastColumn;
  localparam int LastStep     = (LastTrigger >= Blocks) ? LastTrigger : Blocks - 1;
  localparam int Tail         = LastStep + 1 - Blocks;
  localparam int StepWidth    = $clog2(LastStep + 2);
  localparam int RowWidth     = $clog2(LastRow + 2);
  localparam int ColumnWidth  = $clog2(LastColumn + 2);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (PixelWidth < 1 || Height < 1 || Width < 1 || BlockHeight < 1 || BlockWidth < 1
      || KernelHeight < 1 || KernelWidth < 1 || StrideHeight < 1 || StrideWidth < 1
      || DilationHeight < 1 || DilationWidth < 1)
  begin : g_illegal_size
    $error("hsflow_window: sizes, blocks, strides and dilations must be at least 1");
  end
  if (PadTop + PadBottom >= ExtentHeight || PadLeft + PadRight >= ExtentWidth)
  begin : g_illegal_padding
    $error("hsflow_window: the padding of both sides must be less than the kernel's extent");
  end
  if (Height + PadTop + PadBottom < ExtentHeight || Width + PadLeft + PadRight < ExtentWidth)
  begin : g_illegal_kernel
    $error("hsflow_window: the kernel's extent must not exceed the padded image");
  end
  if (Height % BlockHeight != 0 || Width % BlockWidth != 0) begin : g_illegal_block
    $error("hsflow_window: the blocks must tile the image");
  end
  if ((BlockHeight % StrideHeight != 0 && StrideHeight % BlockHeight != 0)
      || (BlockWidth % StrideWidth != 0 && StrideWidth % BlockWidth != 0))
  begin : g_illegal_stride
    $error("hsflow_window: a block's side must be a multiple or a divisor of the stride");
  end
  if (OutputHeight % OutBlockHeight != 0 || OutputWidth % OutBlockWidth != 0)
  begin : g_illegal_output
    $error("hsflow_window: the output blocks must tile the output");
  end
`endif

  // Rows and columns of the patch that a window reads and that lie in the image for some patch, and
  // the columns of a block (their places) that they come from.
  localparam logic [PatchHeight-1:0] RowUsed    = used_rows();
  localparam logic [PatchWidth-1:0]  ColumnUsed = used_columns();
  localparam logic [BlockWidth-1:0]  PlaceRead  = read_places();
  localparam int UsedRows   = used_before(PatchHeight);
  localparam int ReadPlaces = read_before(BlockWidth);

  function automatic logic [PatchHeight-1:0] used_rows();
    used_rows = '0;
    for (int a = 0; a < OutBlockHeight; a++) begin
      for (int k = 0; k < KernelHeight; k++) begin
        // From the first block that some patch needs to the last one.
        if ((a * StrideHeight + k * DilationHeight + RowShift) / BlockHeight + LastRow >= RowsAbove
            && (a * StrideHeight + k * DilationHeight + RowShift) / BlockHeight
               < RowsAbove + Rows) begin
          used_rows[a*StrideHeight + k*DilationHeight] = 1'b1;
        end
      end
    end
  endfunction

  function automatic logic [PatchWidth-1:0] used_columns();
    used_columns = '0;
    for (int b = 0; b < OutBlockWidth; b++) begin
      for (int k = 0; k < KernelWidth; k++) begin
        if ((b * StrideWidth + k * DilationWidth + ColumnShift) / BlockWidth + LastColumn
               >= ColumnsLeft
            && (b * StrideWidth + k * DilationWidth + ColumnShift) / BlockWidth
               < ColumnsLeft + Columns) begin
          used_columns[b*StrideWidth + k*DilationWidth] = 1'b1;
        end
      end
    end
  endfunction

  function automatic logic [BlockWidth-1:0] read_places();
    read_places = '0;
    for (int c = 0; c < PatchWidth; c++) begin
      if (ColumnUsed[c]) read_places[(c+ColumnShift)%BlockWidth] = 1'b1;
    end
  endfunction

  // How many rows (places) that are used (read) come before this one.
  function automatic int used_before(input int row);
    used_before = 0;
    for (int r = 0; r < row; r++) begin
      if (RowUsed[r]) used_before = used_before + 1;
    end
  endfunction

  function automatic int read_before(input int place);
    read_before = 0;
    for (int p = 0; p < place; p++) begin
      if (PlaceRead[p]) read_before = read_before + 1;
    end
  endfunction

  // The first used row of `row` and the ones that are whole blocks below; PatchHeight if none is.
  function automatic int first_row(input int row);
    first_row = PatchHeight;
    for (int r = row; r < PatchHeight; r = r + BlockHeight) begin
      if (RowUsed[r] && r < first_row) first_row = r;
    end
  endfunction

  // Control.
  logic [StepWidth-1:0] step_q, step_next;
  logic [StepWidth-1:0] trigger_q;
  logic [RowWidth-1:0] row_q;
  logic [ColumnWidth-1:0] column_q;
  logic step, output_free, fire, last_row, last_column;

  assign output_free = ~valid_o | ready_i;
  assign fire        = step & (step_q == trigger_q);
  assign last_row    = (row_q == RowWidth'(LastRow));
  assign last_column = (column_q == ColumnWidth'(LastColumn));

  // The last trigger lies before the next image's first one, so Tail < Blocks.
  if (Tail == 0) begin : g_no_tail
    assign ready_o   = output_free;
    assign step      = output_free & valid_i;
    assign step_next = (step_q == StepWidth'(LastStep)) ? '0 : step_q + StepWidth'(1);
  end else begin : g_tail
    // Blocks of the next image that were taken in this image's tail.
    logic [StepWidth-1:0] ahead_q, ahead_next;
    logic in_tail, take_ahead;

    assign in_tail    = (step_q >= StepWidth'(Blocks));
    assign ready_o    = output_free;
    assign step       = output_free & (valid_i | (in_tail & (ahead_q == '0)));
    assign take_ahead = in_tail & valid_i;
    assign ahead_next = ahead_q + StepWidth'(take_ahead);
    assign step_next  = (step_q == StepWidth'(LastStep)) ? ahead_next : step_q + StepWidth'(1);

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        ahead_q <= '0;
      end else if (step) begin
        ahead_q <= (step_q == StepWidth'(LastStep)) ? '0 : ahead_next;
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      step_q <= '0;
    end else if (step) begin
      step_q <= step_next;
    end
  end

  // After the last patch the trigger goes back at once: the current image has passed that step.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      trigger_q <= StepWidth'(FirstTrigger);
      row_q     <= '0;
      column_q  <= '0;
    end else if (fire) begin
      if (!last_column) begin
        trigger_q <= trigger_q + StepWidth'(MoveColumns);
        column_q  <= column_q + ColumnWidth'(MoveColumns);
      end else begin
        column_q <= '0;
        if (!last_row) begin
          trigger_q <= trigger_q + StepWidth'(NextRow);
          row_q     <= row_q + RowWidth'(MoveRows);
        end else begin
          trigger_q <= StepWidth'(FirstTrigger);
          row_q     <= '0;
        end
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_o <= 1'b0;
    end else if (output_free) begin
      valid_o <= fire;
    end
  end

  if (UsedRows == 0 || ReadPlaces == 0) begin : g_padding
    // All that any window reads lies outside the image.
    assign data_o = {(PatchHeight * PatchWidth) {PadValue}};

    logic unused_data;
    assign unused_data = ^data_i;
  end else begin : g_data
    // The columns of the patch that is being completed that lie in the image.
    logic [PatchWidth-1:0] column_inside;

    for (genvar c = 0; c < PatchWidth; c++) begin : g_column_mask
      // Its column of blocks in the first and the last patch, from ColumnsLeft before the image.
      localparam int First = (c + ColumnShift) / BlockWidth;
      localparam int Last  = First + LastColumn;

      if (!ColumnUsed[c]) begin : g_never
        assign column_inside[c] = 1'b0;
      end else if (First >= ColumnsLeft && Last < ColumnsLeft + Columns) begin : g_always
        assign column_inside[c] = 1'b1;
      end else begin : g_sometimes
        logic inside_q;

        if (First < ColumnsLeft) begin : g_left
          always_ff @(posedge clk_i) begin
            if (step) inside_q <= (column_q >= ColumnWidth'(ColumnsLeft - First));
          end
        end else begin : g_right
          always_ff @(posedge clk_i) begin
            if (step) inside_q <= (column_q < ColumnWidth'(ColumnsLeft + Columns - First));
          end
        end

        assign column_inside[c] = inside_q;
      end
    end

    // The newest pixels of each used row of the patch: those of the places that are read.
    localparam int LineWidth = ReadPlaces * PixelWidth;
    logic [UsedRows*LineWidth-1:0] newest;

    for (genvar r = 0; r < PatchHeight; r++) begin : g_row
      localparam int First = (r + RowShift) / BlockHeight;
      localparam int Last  = First + LastRow;
      localparam int Index = used_before(r);

      if (RowUsed[r]) begin : g_used
        // Rows of blocks that this row waits for after the next one of the same place, or after the
        // block came in.
        localparam int Below = first_row(r + BlockHeight);
        localparam int Wait  = (Below < PatchHeight)
            ? (Below - r) / BlockHeight : RowsAbove + RowsBelow - First;
        logic [LineWidth-1:0] line;
        logic inside_q;

        if (First >= RowsAbove && Last < RowsAbove + Rows) begin : g_always
          assign inside_q = 1'b1;
        end else if (First < RowsAbove) begin : g_above
          always_ff @(posedge clk_i) begin
            if (step) inside_q <= (row_q >= RowWidth'(RowsAbove - First));
          end
        end else begin : g_below
          always_ff @(posedge clk_i) begin
            if (step) inside_q <= (row_q < RowWidth'(RowsAbove + Rows - First));
          end
        end

        if (Below < PatchHeight) begin : g_from_below
          assign line = newest[used_before(Below)*LineWidth +: LineWidth];
        end else begin : g_from_block
          localparam int Place = (r + RowShift) % BlockHeight;

          if (ReadPlaces == BlockWidth) begin : g_whole
            assign line = data_i[Place*BlockWidth*PixelWidth +: BlockWidth*PixelWidth];
          end else begin : g_part
            for (genvar p = 0; p < BlockWidth; p++) begin : g_place
              if (PlaceRead[p]) begin : g_read
                assign line[read_before(p)*PixelWidth +: PixelWidth] =
                    data_i[(Place*BlockWidth + p)*PixelWidth +: PixelWidth];
              end else begin : g_unread
                logic unused_pixel;
                assign unused_pixel = ^data_i[(Place*BlockWidth + p)*PixelWidth +: PixelWidth];
              end
            end
          end
        end

        if (Wait == 0) begin : g_now
          assign newest[Index*LineWidth +: LineWidth] = line;
        end else begin : g_later
          hsflow_line_buffer #(
            .Width(LineWidth),
            .Depth(Wait * Columns)
          ) u_line_buffer (
            .clk_i,
            .rst_ni,
            .shift_i(step),
            .data_i (line),
            .data_o (newest[Index*LineWidth +: LineWidth])
          );
        end

        hsflow_window_row #(
          .PixelWidth (PixelWidth),
          .BlockWidth (BlockWidth),
          .PatchWidth (PatchWidth),
          .ColumnUsed (ColumnUsed),
          .PlaceRead  (PlaceRead),
          .ColumnShift(ColumnShift),
          .Blocks     (ColumnsLeft + ColumnsRight + 1),
          .PadValue   (PadValue),
          .LineWidth  (LineWidth)
        ) u_row (
          .clk_i,
          .shift_i        (step),
          .data_i         (newest[Index*LineWidth +: LineWidth]),
          .row_inside_i   (inside_q),
          .column_inside_i(column_inside),
          .data_o         (data_o[r*PatchWidth*PixelWidth +: PatchWidth*PixelWidth])
        );
      end else begin : g_unused
        assign data_o[r*PatchWidth*PixelWidth +: PatchWidth*PixelWidth] =
            {PatchWidth{PadValue}};
      end
    end

    // Rows of a block that no window reads.
    for (genvar r = 0; r < BlockHeight; r++) begin : g_block_row
      if (first_row((r + BlockHeight - RowShift) % BlockHeight) == PatchHeight) begin : g_unread
        logic unused_row;
        assign unused_row = ^data_i[r*BlockWidth*PixelWidth +: BlockWidth*PixelWidth];
      end
    end
  end

endmodule
