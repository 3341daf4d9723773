// SPDX-License-Identifier: Apache-2.0
//
// hsflow_accumulate: sums every channel over the pixels of an image (global average pool's sum).
//
// Contract
//   * Input: `Pixels` transfers an image, Channels words of InWidth bits each, channel 0 in the low bits.
//   * Output: one transfer an image, Channels sums of OutWidth bits, channel 0 in the low bits.
//     Words are sign-extended if Signed is set, else zero-extended. The sums are exact if they fit in
//     OutWidth bits, which is the user's to choose (OutWidth >= InWidth + clog2(Pixels) always fits).
//   * Latency 1 after the image's last transfer, initiation interval `Pixels` cycles: the next image
//     may start at once. While a result waits, only the next image's last pixel is held back.
//   * `ready_o` depends on `ready_i` in the cycle of an image's last pixel.
module hsflow_accumulate #(
  parameter int Channels = 4,
  parameter int InWidth  = 8,
  parameter bit Signed   = 1'b0,
  parameter int Pixels   = 49,
  parameter int OutWidth = 14
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,

  input  logic                         valid_i,
  output logic                         ready_o,
  input  logic [Channels*InWidth-1:0]  data_i,

  output logic                         valid_o,
  input  logic                         ready_i,
  output logic [Channels*OutWidth-1:0] data_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Channels < 1 || InWidth < 1 || Pixels < 1 || OutWidth < InWidth) begin : g_illegal
    $error("hsflow_accumulate: sizes must be at least 1 and OutWidth at least InWidth");
  end
`endif

  logic first, last, transfer;
  logic [Channels*OutWidth-1:0] sum;

  assign ready_o  = ~last | ~valid_o | ready_i;
  assign transfer = valid_i & ready_o;

  if (Pixels == 1) begin : g_single
    assign first = 1'b1;
    assign last  = 1'b1;
  end else begin : g_count
    localparam int CountWidth = $clog2(Pixels);
    logic [CountWidth-1:0] count_q;

    assign first = (count_q == '0);
    assign last  = (count_q == CountWidth'(Pixels - 1));

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

    if (OutWidth > InWidth) begin : g_extend
      logic sign;
      assign sign = Signed ? data_i[c*InWidth + InWidth - 1] : 1'b0;
      assign word = {{(OutWidth - InWidth){sign}}, data_i[c*InWidth +: InWidth]};
    end else begin : g_same
      assign word = data_i[c*InWidth +: InWidth];
    end

    assign sum[c*OutWidth +: OutWidth] = (first ? '0 : partial_q) + word;

    always_ff @(posedge clk_i) begin
      if (transfer) partial_q <= sum[c*OutWidth +: OutWidth];
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
