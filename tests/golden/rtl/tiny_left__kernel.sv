// SPDX-License-Identifier: Apache-2.0
//
// Kernel of layer 'left': 2 operands to 2 channels of a pixel,
// 2 adders, latency 2.
module tiny_left__kernel (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [15:0] data_i,
  output logic [15:0] data_o
);

  logic [18:0] sums0;
  tiny_left__tile0 u_tile0 (
    .clk_i,
    .enable_i,
    .data_i(data_i[0+:16]),
    .data_o(sums0)
  );

  logic [7:0] result0;
  hsflow_requantize #(
    .InWidth (9),
    .Bias    (64'sd1621),
    .Shift   (7),
    .Low     (0),
    .High    (255),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize0 (
    .acc_i ({sums0[0+:9]}),
    .data_o(result0)
  );

  logic [7:0] result1;
  hsflow_requantize #(
    .InWidth (14),
    .Bias    (64'sd1851),
    .Shift   (8),
    .Low     (0),
    .High    (91),
    .OutWidth(8),
    .Negate  (1'b0)
  ) u_requantize1 (
    .acc_i ({sums0[9+:10], 4'b0}),
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
