// SPDX-License-Identifier: Apache-2.0
//
// Kernel of layer 'add2': 4 operands to 2 channels of a pixel,
// 2 adders, latency 2.
module tiny_add2__kernel (
  input  logic clk_i,
  input  logic enable_i,
  input  logic [31:0] data_i,
  output logic [15:0] data_o
);

  logic [19:0] sums0;
  tiny_add2__tile0 u_tile0 (
    .clk_i,
    .enable_i,
    .data_i(data_i[0+:32]),
    .data_o(sums0)
  );

  logic [7:0] result0;
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
    .data_o(result0)
  );

  logic [7:0] result1;
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
