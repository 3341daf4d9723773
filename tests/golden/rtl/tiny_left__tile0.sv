// SPDX-License-Identifier: Apache-2.0
//
// Layer 'left', tile 0
// 2 sums of 2 operands,
// 2 adders, depth 1, 1 pipeline stages.
module tiny_left__tile0 (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [15:0] data_i,
  output logic [18:0] data_o
);

  wire [7:0] x0 = data_i[0+:8];
  wire [6:0] x1 = data_i[8+:7];
  wire unused_x1 = ^data_i[15+:1];

  // Stage 0
  wire signed [8:0] sum0 = (9'(x1) << 1) - 9'(x0);
  wire signed [9:0] sum1 = 10'(x0) - (10'(x1) << 2);

  logic signed [8:0] sum0_q1;
  logic signed [9:0] sum1_q1;
  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      sum0_q1 <= sum0;
      sum1_q1 <= sum1;
    end
  end

  assign data_o = {
    sum1_q1,
    sum0_q1
  };
endmodule
