// SPDX-License-Identifier: Apache-2.0
//
// Layer 'add2'
// residual add, 2x4x4 -> 2x4x4, u8.11 and u8.12..13 -> u8.3..5, 2 adders, depth 1, latency 2.
module tiny_add2 (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid0_i,
  output logic ready0_o,
  input  logic [15:0] data0_i,

  input  logic valid1_i,
  output logic ready1_o,
  input  logic [15:0] data1_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  localparam int Latency = 2;

  logic gathered_valid, gathered_ready;
  logic [31:0] gathered;
  hsflow_stream_join #(
    .Width0(16),
    .Width1(16)
  ) u_join (
    .valid0_i,
    .ready0_o,
    .data0_i,
    .valid1_i,
    .ready1_o,
    .data1_i,
    .valid_o(gathered_valid),
    .ready_i(gathered_ready),
    .data_o (gathered)
  );

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
  tiny_add2__kernel u_kernel (
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
