// SPDX-License-Identifier: Apache-2.0
//
// hsflow_accumulate: sums every channel over the pixels of an image (global average pool's sum).
//
// Contract
//   * Input: Pixels / BlockPixels transfers an image, each of BlockPixels pixels side by side; a
//     pixel is Channels words of InWidth bits, channel 0 in the low bits.
//   * Output: one transfer an image, Channels sums of OutWidth bits, channel 0 in the low bits.
//     Words are sign-extended if Signed is set, else zero-extended. The sums are exact if they fit
//     in OutWidth bits, the user's choice (OutWidth >= InWidth + clog2(Pixels) always fits).
//   * A block's pixels are added up by a tree, blocks by a running sum, which counts as one more
//     adder level. A register follows every LevelsPerStage levels, and the last one. Latency after
//     the image's last transfer: as many cycles as there are registers, at least 1.
//   * Initiation interval: one cycle a transfer; the next image may start at once. While a result
//     waits, only the next image's last transfer and what follows it are held back.
//   * `ready_o` depends on `ready_i` in the cycle in which an image's last transfer leaves the tree.
module hsflow_accumulate #(
  parameter int Channels       = 4,
  parameter int InWidth        = 8,
  parameter bit Signed         = 1'b0,
  parameter int Pixels         = 49,
  parameter int BlockPixels    = 1,
  parameter int OutWidth       = 14,
  parameter int LevelsPerStage = 2
) (
  input  logic                                    clk_i,
  input  logic                                    rst_ni,

  input  logic                                    valid_i,
  output logic                                    ready_o,
  input  logic [BlockPixels*Channels*InWidth-1:0] data_i,

  output logic                                    valid_o,
  input  logic                                    ready_i,
  output logic [Channels*OutWidth-1:0]            data_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Channels < 1 || InWidth < 1 || Pixels < 1 || BlockPixels < 1 || OutWidth < InWidth
      || LevelsPerStage < 1) begin : g_illegal
    $error("hsflow_accumulate: sizes must be at least 1 and OutWidth at least InWidth");
  end
  if (Pixels % BlockPixels != 0) begin : g_illegal_block
    $error("hsflow_accumulate: BlockPixels must divide Pixels");
  end
`endif

  localparam int Beats     = Pixels / BlockPixels;
  localparam int WordWidth = (InWidth + $clog2(BlockPixels) < OutWidth)
      ? InWidth + $clog2(BlockPixels) : OutWidth;

  // The stages before the last one, which holds the running sum and the levels in front of it.
  localparam int Levels = $clog2(BlockPixels) + (Beats > 1 ? 1 : 0);
  localparam int Stages = (Levels > 1) ? (Levels - 1) / LevelsPerStage : 0;

  // The sums of a block of pixels.
  logic words_valid, words_ready, enable;
  logic [Channels*WordWidth-1:0] words;

  assign ready_o = enable;

  if (Stages == 0) begin : g_combinational
    assign enable      = words_ready;
    assign words_valid = valid_i;
  end else begin : g_pipeline
    logic [Stages-1:0] valid_q;

    // The tree advances as a whole unless its end is stuck.
    assign enable      = words_ready | ~words_valid;
    assign words_valid = valid_q[Stages-1];

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        valid_q <= '0;
      end else if (enable) begin
        valid_q <= Stages'({valid_q, valid_i});
      end
    end
  end

  for (genvar c = 0; c < Channels; c++) begin : g_sum
    logic [BlockPixels*InWidth-1:0] numbers;

    always_comb begin
      for (int p = 0; p < BlockPixels; p++) begin
        numbers[p*InWidth +: InWidth] = data_i[(p*Channels + c)*InWidth +: InWidth];
      end
    end

    hsflow_add_pixels #(
      .Pixels        (BlockPixels),
      .Width         (InWidth),
      .Signed        (Signed),
      .MaxWidth      (OutWidth),
      .LevelsPerStage(LevelsPerStage),
      .Stages        (Stages)
    ) u_add_pixels (
      .clk_i,
      .enable_i(enable),
      .data_i  (numbers),
      .data_o  (words[c*WordWidth +: WordWidth])
    );
  end

  logic first, last, transfer;
  logic [Channels*OutWidth-1:0] sum;

  assign words_ready = ~last | ~valid_o | ready_i;
  assign transfer    = words_valid & words_ready;

  if (Beats == 1) begin : g_single
    assign first = 1'b1;
    assign last  = 1'b1;
  end else begin : g_count
    localparam int CountWidth = $clog2(Beats);
    logic [CountWidth-1:0] count_q;

    assign first = (count_q == '0);
    assign last  = (count_q == CountWidth'(Beats - 1));

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        count_q <= '0;
      end else if (transfer) begin
        count_q <= last ? '0 : count_q + CountWidth'(1);
      end
    end
  end

  for (genvar c = 0; c < Channels; c++) begin : g_channel
    logic [OutWidth-1:0] word, partial_q;

    if (OutWidth > WordWidth) begin : g_extend
      logic sign;
      assign sign = Signed ? words[c*WordWidth + WordWidth - 1] : 1'b0;
      assign word = {{(OutWidth - WordWidth){sign}}, words[c*WordWidth +: WordWidth]};
    end else begin : g_same
      assign word = words[c*WordWidth +: WordWidth];
    end

    assign sum[c*OutWidth +: OutWidth] = (first ? '0 : partial_q) + word;

    if (Beats == 1) begin : g_no_partial
      assign partial_q = '0;
    end else begin : g_partial
      always_ff @(posedge clk_i) begin
        if (transfer) partial_q <= sum[c*OutWidth +: OutWidth];
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_o <= 1'b0;
    end else if (transfer && last) begin
      valid_o <= 1'b1;
    end else if (ready_i) begin
      valid_o <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (transfer && last) data_o <= sum;
  end

endmodule
