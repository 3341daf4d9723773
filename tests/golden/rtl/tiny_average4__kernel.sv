// SPDX-License-Identifier: Apache-2.0
//
// Kernel of layer 'average4': 2 operands to 2 channels of a pixel,
// 0 adders, latency 1.
module tiny_average4__kernel (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [19:0] data_i,
  output logic [15:0] data_o
);

  logic [16:0] sums0;
  tiny_average4__tile0 u_tile0 (
    .data_i(data_i[0+:20]),
    .data_o(sums0)
  );

  logic [7:0] result0;
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
    .data_o(result0)
  );

  logic [7:0] result1;
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
