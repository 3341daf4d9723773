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

  logic gathered_valid, gathered_ready;
  logic [15:0] gathered;
  // Pointwise: every pixel is a complete operand vector.
  assign gathered_valid = valid_i;
  assign ready_o        = gathered_ready;
  assign gathered       = data_i;

  // The pipeline advances as a whole unless its end is stuck.
  logic [Latency-1:0] valid_q;
  logic enable, result_ready;
  assign enable         = result_ready | ~valid_q[Latency-1];
  assign gathered_ready = enable;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
    end else if (enable) begin
      valid_q <= Latency'({valid_q, gathered_valid});
    end
  end

  logic [15:0] result;
  tiny_left__kernel u_kernel (
    .clk_i,
    .enable_i(enable),
    .data_i  (gathered),
    .data_o  (result)
  );

  hsflow_stream_register #(
    .Width(16)
  ) u_register (
    .clk_i,
    .rst_ni,
    .valid_i(valid_q[Latency-1]),
    .ready_o(result_ready),
    .data_i (result),
    .valid_o,
    .ready_i,
    .data_o
  );

endmodule
