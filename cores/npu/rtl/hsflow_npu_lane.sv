// SPDX-License-Identifier: Apache-2.0
// One class lane: a multiplier for each feature lane, a pipelined adder tree, an accumulator.
//
// Sums are kept modulo 2**32, which is exact because the assembler refuses any layer whose result
// could leave the signed 32-bit range.
module hsflow_npu_lane #(
  parameter int FeatureLanes = 1,
  parameter int ActivationWidth = 8,
  parameter bit ActivationSigned = 1'b0
) (
  input  logic                                    clk_i,
  input  logic                                    advance_i,
  input  logic [8*FeatureLanes-1:0]               weight_i,
  input  logic [FeatureLanes*ActivationWidth-1:0] activation_i,
  input  logic                                    accumulate_i,
  input  logic                                    first_i,
  output logic [31:0]                             sum_o
);
  localparam int ProductWidth = 8 + ActivationWidth;

  logic [FeatureLanes*ProductWidth-1:0] product_q;
  logic [31:0]                          addend;

  for (genvar f = 0; f < FeatureLanes; f++) begin : g_product
    logic                           sign;
    logic signed [ProductWidth-1:0] weight;
    logic signed [ProductWidth-1:0] activation;

    assign sign = ActivationSigned && activation_i[(f+1)*ActivationWidth-1];
    assign weight = {{ActivationWidth{weight_i[8*f+7]}}, weight_i[8*f +: 8]};
    assign activation = {{8{sign}}, activation_i[f*ActivationWidth +: ActivationWidth]};

    always_ff @(posedge clk_i) begin
      if (advance_i) product_q[f*ProductWidth +: ProductWidth] <= weight * activation;
    end
  end

  hsflow_npu_adder_tree #(
    .Terms(FeatureLanes),
    .Width(ProductWidth)
  ) u_tree (
    .clk_i,
    .advance_i,
    .term_i(product_q),
    .sum_o(addend)
  );

  always_ff @(posedge clk_i) begin
    if (advance_i && accumulate_i) sum_o <= (first_i ? 32'd0 : sum_o) + addend;
  end
endmodule
