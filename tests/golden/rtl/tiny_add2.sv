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

  logic operands_valid, operands_ready;
  logic [31:0] operands;
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
    .valid_o(operands_valid),
    .ready_i(operands_ready),
    .data_o (operands)
  );

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

  logic [19:0] sums0;
  tiny_add2__tile0 u_tile0 (
    .clk_i,
    .enable_i(enable),
    .data_i({
      operands[0+:32]
    }),
    .data_o(sums0)
  );

  hsflow_requantize #(
    .InWidth (11),
    .Bias    (64'sd64),
    .Shift   (7),
    .Low     (0),
    .High    (20),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize0 (
    .acc_i ({1'b0, sums0[0+:10]}),
    .data_o(result_d[0+:8])
  );

  hsflow_requantize #(
    .InWidth (11),
    .Bias    (64'sd512),
    .Shift   (10),
    .Low     (0),
    .High    (215),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize1 (
    .acc_i ({1'b0, sums0[10+:10]}),
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
