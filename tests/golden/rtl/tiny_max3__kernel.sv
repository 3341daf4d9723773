// SPDX-License-Identifier: Apache-2.0
//
// Kernel of layer 'max3': 8 operands to 2 channels of a pixel,
// 0 adders, latency 1.
module tiny_max3__kernel (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [63:0] data_i,
  output logic [15:0] data_o
);

  logic [15:0] result;
  hsflow_max #(
    .Channels      (2),
    .Width         (8),
    .Signed        (1'b0),
    .Taps          (4),
    .LevelsPerStage(2),
    .Stages        (0)
  ) u_max (
    .clk_i,
    .enable_i,
    .data_i,
    .data_o(result)
  );

  always_ff @(posedge clk_i) begin
    if (enable_i) data_o <= result;
  end

endmodule
