// SPDX-License-Identifier: Apache-2.0
//
// Layer 'stem.conv', tile 0
// 2 sums of 7 operands,
// 6 adders, depth 3, 2 pipeline stages.
module tiny_stem_conv__tile0 (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [55:0] data_i,
  output logic [27:0] data_o
);

  wire [7:0] x0 = data_i[0+:8];
  wire [7:0] x1 = data_i[8+:8];
  wire [7:0] x2 = data_i[16+:8];
  wire [7:0] x3 = data_i[24+:8];
  wire [7:0] x4 = data_i[32+:8];
  wire [7:0] x5 = data_i[40+:8];
  wire [7:0] x6 = data_i[48+:8];

  // Stage 0
  wire signed [8:0] sum0 = 9'(x0) - 9'(x2);
  wire [10:0] sum1 = 11'(x3) + (11'(x4) << 2);
  wire [9:0] sum2 = 10'(x5) + (10'(x6) << 1);
  wire signed [14:0] sum3 = 15'(sum1) - (15'(sum2) << 4);

  logic [7:0] x1_q1;
  logic signed [8:0] sum0_q1;
  logic signed [14:0] sum3_q1;
  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      x1_q1 <= x1;
      sum0_q1 <= sum0;
      sum3_q1 <= sum3;
    end
  end

  // Stage 1
  wire signed [12:0] sum4 = 13'(sum0_q1) + (13'(x1_q1) << 3);
  wire signed [14:0] sum5 = (15'(x1_q1) << 2) + 15'(sum3_q1);

  logic signed [12:0] sum4_q2;
  logic signed [14:0] sum5_q2;
  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      sum4_q2 <= sum4;
      sum5_q2 <= sum5;
    end
  end

  assign data_o = {
    sum5_q2,
    sum4_q2
  };
endmodule
