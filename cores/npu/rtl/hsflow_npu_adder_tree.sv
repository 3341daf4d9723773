// SPDX-License-Identifier: Apache-2.0
// Sum of signed terms, four to an adder, with a register after each stage.
//
// The latency is ceil(log4(Terms)) cycles in which `advance_i` is high, 0 for one term. Sums grow
// by two bits a stage and are kept modulo 2**32 from there on.
module hsflow_npu_adder_tree #(
  parameter int Terms = 4,
  parameter int Width = 16
) (
  input  logic                   clk_i,
  input  logic                   advance_i,
  input  logic [Terms*Width-1:0] term_i,
  output logic [31:0]            sum_o
);
  if (Terms == 1) begin : g_leaf
    logic unused;
    assign unused = clk_i && advance_i;

    if (Width < 32) begin : g_extended
      assign sum_o = {{(32 - Width){term_i[Width-1]}}, term_i};
    end else begin : g_full
      assign sum_o = term_i;
    end
  end else begin : g_stage
    localparam int Nodes = (Terms + 3) / 4;
    localparam int NodeWidth = (Width + 2 > 32) ? 32 : Width + 2;

    logic [4*Nodes*NodeWidth-1:0] term;
    logic [Nodes*NodeWidth-1:0]   node_q;

    for (genvar i = 0; i < 4 * Nodes; i++) begin : g_term
      if (i >= Terms) begin : g_none
        assign term[i*NodeWidth +: NodeWidth] = '0;
      end else if (NodeWidth > Width) begin : g_grow
        assign term[i*NodeWidth +: NodeWidth] =
            {{(NodeWidth - Width){term_i[(i+1)*Width-1]}}, term_i[i*Width +: Width]};
      end else begin : g_same
        assign term[i*NodeWidth +: NodeWidth] = term_i[i*Width +: Width];
      end
    end

    for (genvar n = 0; n < Nodes; n++) begin : g_node
      always_ff @(posedge clk_i) begin
        if (advance_i) begin
          node_q[n*NodeWidth +: NodeWidth] <=
              term[(4*n + 0)*NodeWidth +: NodeWidth] + term[(4*n + 1)*NodeWidth +: NodeWidth]
              + term[(4*n + 2)*NodeWidth +: NodeWidth] + term[(4*n + 3)*NodeWidth +: NodeWidth];
        end
      end
    end

    hsflow_npu_adder_tree #(
      .Terms(Nodes),
      .Width(NodeWidth)
    ) u_rest (
      .clk_i,
      .advance_i,
      .term_i(node_q),
      .sum_o
    );
  end
endmodule
