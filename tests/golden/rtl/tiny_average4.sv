// SPDX-License-Identifier: Apache-2.0
//
// Layer 'average4'
// average pool 2x2, 2x2x2 -> 2x1x1, u8.3..5 -> u8.5..6, 2 adders, depth 1, latency 1.
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

  logic gathered_valid, gathered_ready;
  logic [19:0] gathered;
  hsflow_accumulate #(
    .Channels      (2),
    .InWidth       (8),
    .Signed        (1'b0),
    .Pixels        (4),
    .BlockPixels   (1),
    .OutWidth      (10),
    .LevelsPerStage(2)
  ) u_accumulate (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
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
  tiny_average4__kernel u_kernel (
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
