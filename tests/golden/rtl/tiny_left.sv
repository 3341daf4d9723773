// SPDX-License-Identifier: Apache-2.0
//
// Layer 'left'
// pointwise convolution 1x1, 2x4x4 -> 2x4x4, u8.11 -> u8.12..13, 2 adders, depth 1, latency 2.
module tiny_left (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid_i,
  output logic ready_o,
  input  logic [15:0] data_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  localparam int Latency = 2;

  // Pointwise: every pixel is a complete operand vector.
  logic operands_valid, operands_ready;
  logic [15:0] operands;
  assign operands_valid = valid_i;
  assign ready_o        = operands_ready;
  assign operands       = data_i;

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

  logic [18:0] sums0;
  tiny_left__tile0 u_tile0 (
    .clk_i,
    .enable_i(enable),
    .data_i({
      operands[0+:16]
    }),
    .data_o(sums0)
  );

  hsflow_requantize #(
    .InWidth (9),
    .Bias    (64'sd1621),
    .Shift   (7),
    .Low     (0),
    .High    (255),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize0 (
    .acc_i ({sums0[0+:9]}),
    .data_o(result_d[0+:8])
  );

  hsflow_requantize #(
    .InWidth (14),
    .Bias    (64'sd1851),
    .Shift   (8),
    .Low     (0),
    .High    (91),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize1 (
    .acc_i ({sums0[9+:10], 4'b0}),
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
