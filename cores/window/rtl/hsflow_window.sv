// SPDX-License-Identifier: Apache-2.0
//
// hsflow_window: turns a raster stream of pixels into the windows of a (strided, dilated, padded)
// convolution or pooling layer.
//
// Contract
//   * Input: images of Height x Width pixels in raster order, one pixel a transfer, back to back.
//   * Output: OutputHeight x OutputWidth windows an image, in raster order, with
//       OutputHeight = (Height + PadTop + PadBottom - ExtentHeight) / StrideHeight + 1,
//       ExtentHeight = (KernelHeight - 1) * DilationHeight + 1, and the same for the width.
//     Tap (r, c) lies at data_o[(r * KernelWidth + c) * PixelWidth +: PixelWidth]; a tap outside the
//     image is PadValue.
//   * Latency 1: the transfer that completes a window in cycle t shows it in cycle t + 1.
//   * Initiation interval: max(Height * Width, Tail) cycles for back-to-back images, where Tail is the
//     number of raster steps that the last window lies behind the last pixel (at most
//     PadBottom * Width + PadRight). Padding costs nothing: the tail of an image overlaps the head of
//     the next one. Without a next image the tail runs by itself, one step a cycle.
//   * Once the first pixel of the next image was taken in a tail, the rest of the tail waits for that
//     image's pixels: nothing may split an image.
//   * Requires PadTop + PadBottom < ExtentHeight and PadLeft + PadRight < ExtentWidth, so that the
//     windows of two images never overlap in time.
//   * `ready_o` depends on `ready_i` in the same cycle; `valid_o` is a register.
//
// Method: raster index `step_q` counts the steps of the current image, `trigger_q` is the step that
// completes the next window. Row r of the window sees the pixels delayed by
// (KernelHeight - 1 - r) * DilationHeight rows, a shift register for each row holds ExtentWidth of them.
// A window that crosses an edge reads pixels of another row or image there; the masks replace them.
module hsflow_window #(
  parameter int PixelWidth     = 8,
  parameter int Height         = 4,
  parameter int Width          = 4,
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
  parameter logic [PixelWidth-1:0] PadValue = '0
) (
  input  logic                                            clk_i,
  input  logic                                            rst_ni,

  input  logic                                            valid_i,
  output logic                                            ready_o,
  input  logic [PixelWidth-1:0]                           data_i,

  output logic                                            valid_o,
  input  logic                                            ready_i,
  output logic [KernelHeight*KernelWidth*PixelWidth-1:0]  data_o
);

  // Geometry.
  localparam int ExtentHeight = (KernelHeight - 1) * DilationHeight + 1;
  localparam int ExtentWidth  = (KernelWidth - 1) * DilationWidth + 1;
  localparam int OutputHeight =
      (Height + PadTop + PadBottom - ExtentHeight) / StrideHeight + 1;
  localparam int OutputWidth =
      (Width + PadLeft + PadRight - ExtentWidth) / StrideWidth + 1;
  localparam int Pixels = Height * Width;

  // Raster steps. Within a row of windows the trigger moves by StrideWidth, at its end by NextRow.
  localparam int FirstTrigger =
      (ExtentHeight - 1 - PadTop) * Width + ExtentWidth - 1 - PadLeft;
  localparam int NextRow     = StrideHeight * Width - (OutputWidth - 1) * StrideWidth;
  localparam int LastTrigger = FirstTrigger
      + (OutputHeight - 1) * StrideHeight * Width + (OutputWidth - 1) * StrideWidth;
  localparam int LastStep    = (LastTrigger >= Pixels) ? LastTrigger : Pixels - 1;
  localparam int Tail        = LastStep + 1 - Pixels;
  localparam int StepWidth   = $clog2(LastStep + 2);

  // Coordinates of a window's top left tap, negative in the padding.
  localparam int FirstRow    = -PadTop;
  localparam int FirstColumn = -PadLeft;
  localparam int LastRow     = (OutputHeight - 1) * StrideHeight - PadTop;
  localparam int LastColumn  = (OutputWidth - 1) * StrideWidth - PadLeft;
  localparam int RowWidth =
      $clog2(((Height > ExtentHeight) ? Height : ExtentHeight) + 1) + 1;
  localparam int ColumnWidth =
      $clog2(((Width > ExtentWidth) ? Width : ExtentWidth) + 1) + 1;

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (PixelWidth < 1 || Height < 1 || Width < 1 || KernelHeight < 1 || KernelWidth < 1
      || StrideHeight < 1 || StrideWidth < 1 || DilationHeight < 1 || DilationWidth < 1)
  begin : g_illegal_size
    $error("hsflow_window: sizes, strides and dilations must be at least 1");
  end
  if (PadTop + PadBottom >= ExtentHeight || PadLeft + PadRight >= ExtentWidth)
  begin : g_illegal_padding
    $error("hsflow_window: the padding of both sides must be less than the kernel's extent");
  end
  if (Height + PadTop + PadBottom < ExtentHeight || Width + PadLeft + PadRight < ExtentWidth)
  begin : g_illegal_kernel
    $error("hsflow_window: the kernel's extent must not exceed the padded image");
  end
`endif

  // Control.
  logic [StepWidth-1:0] step_q, step_next;
  logic [StepWidth-1:0] trigger_q;
  logic signed [RowWidth-1:0] row_q;
  logic signed [ColumnWidth-1:0] column_q;
  logic step, output_free, fire, last_row, last_column;

  assign output_free = ~valid_o | ready_i;
  assign fire        = step & (step_q == trigger_q);
  assign last_row    = (row_q == RowWidth'(LastRow));
  assign last_column = (column_q == ColumnWidth'(LastColumn));

  if (Tail == 0) begin : g_no_tail
    assign ready_o   = output_free;
    assign step      = output_free & valid_i;
    assign step_next = (step_q == StepWidth'(LastStep)) ? '0 : step_q + StepWidth'(1);
  end else begin : g_tail
    // Pixels of the next image that were taken in this image's tail.
    logic [StepWidth-1:0] ahead_q, ahead_next;
    logic in_tail, flush_only, take_ahead;

    assign in_tail = (step_q >= StepWidth'(Pixels));

    if (Tail > Pixels) begin : g_flush_only
      // The next image is shorter than the tail: it starts so late that no flush step follows it.
      assign flush_only = in_tail & (step_q < StepWidth'(LastStep + 1 - Pixels));
    end else begin : g_no_flush_only
      assign flush_only = 1'b0;
    end

    assign ready_o    = output_free & ~flush_only;
    assign step       = output_free & (valid_i | flush_only | (in_tail & (ahead_q == '0)));
    assign take_ahead = in_tail & valid_i & ~flush_only;
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

  // After the last window the trigger goes back at once: the current image has passed that step.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      trigger_q <= StepWidth'(FirstTrigger);
      row_q     <= RowWidth'(FirstRow);
      column_q  <= ColumnWidth'(FirstColumn);
    end else if (fire) begin
      if (!last_column) begin
        trigger_q <= trigger_q + StepWidth'(StrideWidth);
        column_q  <= column_q + ColumnWidth'(StrideWidth);
      end else begin
        column_q <= ColumnWidth'(FirstColumn);
        if (!last_row) begin
          trigger_q <= trigger_q + StepWidth'(NextRow);
          row_q     <= row_q + RowWidth'(StrideHeight);
        end else begin
          trigger_q <= StepWidth'(FirstTrigger);
          row_q     <= RowWidth'(FirstRow);
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

  // Masks of the window that is being completed.
  logic [KernelHeight-1:0] row_inside, row_inside_q;
  logic [KernelWidth-1:0]  column_inside, column_inside_q;

  for (genvar r = 0; r < KernelHeight; r++) begin : g_row_mask
    localparam int Offset = r * DilationHeight;
    localparam int Limit  = Height - r * DilationHeight;
    assign row_inside[r] = (row_q >= RowWidth'(-Offset)) && (row_q < RowWidth'(Limit));
  end

  for (genvar c = 0; c < KernelWidth; c++) begin : g_column_mask
    localparam int Offset = c * DilationWidth;
    localparam int Limit  = Width - c * DilationWidth;
    assign column_inside[c] =
        (column_q >= ColumnWidth'(-Offset)) && (column_q < ColumnWidth'(Limit));
  end

  always_ff @(posedge clk_i) begin
    if (step) begin
      row_inside_q    <= row_inside;
      column_inside_q <= column_inside;
    end
  end

  // Data: the newest column of the window (row r at slice r), then a shift register for each row.
  logic [KernelHeight*PixelWidth-1:0] newest;

  assign newest[(KernelHeight-1)*PixelWidth +: PixelWidth] = data_i;

  for (genvar r = 0; r < KernelHeight - 1; r++) begin : g_line
    hsflow_line_buffer #(
      .Width(PixelWidth),
      .Depth(DilationHeight * Width)
    ) u_line_buffer (
      .clk_i,
      .rst_ni,
      .shift_i(step),
      .data_i (newest[(r+1)*PixelWidth +: PixelWidth]),
      .data_o (newest[r*PixelWidth +: PixelWidth])
    );
  end

  for (genvar r = 0; r < KernelHeight; r++) begin : g_row
    // Slice 0 is the newest pixel of this row.
    logic [ExtentWidth*PixelWidth-1:0] history_q;

    if (ExtentWidth == 1) begin : g_one
      always_ff @(posedge clk_i) begin
        if (step) history_q <= newest[r*PixelWidth +: PixelWidth];
      end
    end else begin : g_many
      always_ff @(posedge clk_i) begin
        if (step) begin
          history_q <= {history_q[(ExtentWidth-1)*PixelWidth-1:0],
                        newest[r*PixelWidth +: PixelWidth]};
        end
      end
    end

    for (genvar c = 0; c < KernelWidth; c++) begin : g_tap
      localparam int Age = (KernelWidth - 1 - c) * DilationWidth;
      assign data_o[(r*KernelWidth + c)*PixelWidth +: PixelWidth] =
          (row_inside_q[r] & column_inside_q[c]) ? history_q[Age*PixelWidth +: PixelWidth]
                                                 : PadValue;
    end
  end

endmodule
