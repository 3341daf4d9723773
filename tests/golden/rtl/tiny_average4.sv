// SPDX-License-Identifier: Apache-2.0
//
// Layer 'average4'
// average pool 2x2, 2x2x2 -> 2x1x1, u8.3..5 -> u8.5..6, 0 adders, depth 0, latency 1.
module tiny_average4 (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid_i,
  output logic ready_o,
  input  logic [15:0] data_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  localparam int Latency = 1;

  logic operands_valid, operands_ready;
  logic [19:0] operands;
  hsflow_accumulate #(
    .Channels(2),
    .InWidth (8),
    .Signed  (1'b0),
    .Pixels  (4),
    .OutWidth(10)
  ) u_accumulate (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
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

  logic [16:0] sums0;
  tiny_average4__tile0 u_tile0 (
    .data_i({
      operands[0+:20]
    }),
    .data_o(sums0)
  );

  hsflow_requantize #(
    .InWidth (8),
    .Bias    (64'sd2),
    .Shift   (2),
    .Low     (0),
    .High    (255),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize0 (
    .acc_i ({1'b0, sums0[0+:7]}),
    .data_o(result_d[0+:8])
  );

  hsflow_requantize #(
    .InWidth (11),
    .Bias    (64'sd0),
    .Shift   (-1),
    .Low     (0),
    .High    (255),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize1 (
    .acc_i ({1'b0, sums0[7+:10]}),
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
