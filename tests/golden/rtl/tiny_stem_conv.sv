// SPDX-License-Identifier: Apache-2.0
//
// Layer 'stem.conv'
// convolution 3x3, 1x4x4 -> 2x4x4, u8.8 -> u8.11, 6 adders, depth 3, latency 3.
module tiny_stem_conv (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid_i,
  output logic ready_o,
  input  logic [7:0] data_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  localparam int Latency = 3;

  logic operands_valid, operands_ready;
  logic [71:0] operands;
  hsflow_window #(
    .PixelWidth    (8),
    .Height        (4),
    .Width         (4),
    .KernelHeight  (3),
    .KernelWidth   (3),
    .StrideHeight  (1),
    .StrideWidth   (1),
    .DilationHeight(1),
    .DilationWidth (1),
    .PadTop        (1),
    .PadBottom     (1),
    .PadLeft       (1),
    .PadRight      (1),
    .PadValue      (8'h6d)
  ) u_window (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
    .valid_o(operands_valid),
    .ready_i(operands_ready),
    .data_o (operands)
  );

  // No weight reads these operands.
  wire unused_operands = ^{operands[0+:8], operands[24+:8]};

  // The pipeline advances as a whole unless its end is stuck.
  logic [Latency-1:0] valid_q;
  logic enable, result_ready;
  assign enable         = result_ready | ~valid_q[Latency-1];
  assign operands_ready = enable;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
    end else if (enable) begin
      valid_q <= Latency'({valid_q, operands_valid});
    end
  end

  logic [15:0] result_d, result_q;

  logic [27:0] sums0;
  tiny_stem_conv__tile0 u_tile0 (
    .clk_i,
    .enable_i(enable),
    .data_i({
      operands[32+:40],
      operands[8+:16]
    }),
    .data_o(sums0)
  );

  hsflow_requantize #(
    .InWidth (15),
    .Bias    (64'sd188),
    .Shift   (5),
    .Low     (0),
    .High    (255),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize0 (
    .acc_i ({sums0[0+:13], 2'b0}),
    .data_o(result_d[0+:8])
  );

  hsflow_requantize #(
    .InWidth (17),
    .Bias    (64'sd2297),
    .Shift   (7),
    .Low     (0),
    .High    (117),
    .OutWidth(8),
    .Negate  (1'b1)
  ) u_requantize1 (
    .acc_i ({sums0[13+:15], 2'b0}),
    .data_o(result_d[8+:8])
  );

  always_ff @(posedge clk_i) begin
    if (enable) result_q <= result_d;
  end

  hsflow_stream_register #(
    .Width(16)
  ) u_register (
    .clk_i,
    .rst_ni,
    .valid_i(valid_q[Latency-1]),
    .ready_o(result_ready),
    .data_i (result_q),
    .valid_o,
    .ready_i,
    .data_o
  );

endmodule
