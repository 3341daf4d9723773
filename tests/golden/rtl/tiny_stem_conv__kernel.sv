// SPDX-License-Identifier: Apache-2.0
//
// Kernel of layer 'stem.conv': 9 operands to 2 channels of a pixel,
// 6 adders, latency 3.
module tiny_stem_conv__kernel (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [71:0] data_i,
  output logic [15:0] data_o
);

  // No weight reads these operands.
  wire unused_operands = ^{data_i[0+:8], data_i[24+:8]};

  logic [27:0] sums0;
  tiny_stem_conv__tile0 u_tile0 (
    .clk_i,
    .enable_i,
    .data_i({
      data_i[32+:40],
      data_i[8+:16]
    }),
    .data_o(sums0)
  );

  logic [7:0] result0;
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
    .data_o(result0)
  );

  logic [7:0] result1;
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
    .data_o(result1)
  );

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      data_o <= {
        result1,
        result0
      };
    end
  end

endmodule
