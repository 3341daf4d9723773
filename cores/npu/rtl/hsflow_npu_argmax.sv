// SPDX-License-Identifier: Apache-2.0
// The largest of signed 32-bit values and its index, the lowest one of equals.
//
// Four values meet in a node, in two levels of comparators, with a register after each stage: the
// latency is ceil(log4(Terms)) cycles in which `advance_i` is high, 0 for one term.
module hsflow_npu_argmax #(
  parameter int Terms = 4,
  parameter int IndexWidth = 2
) (
  input  logic                        clk_i,
  input  logic                        advance_i,
  input  logic [32*Terms-1:0]         value_i,
  input  logic [IndexWidth*Terms-1:0] index_i,
  output logic [31:0]                 value_o,
  output logic [IndexWidth-1:0]       index_o
);
  if (Terms == 1) begin : g_leaf
    logic unused;
    assign unused = clk_i && advance_i;
    assign value_o = value_i;
    assign index_o = index_i;
  end else begin : g_stage
    localparam int Nodes = (Terms + 3) / 4;

    logic [32*Nodes-1:0]         value_q;
    logic [IndexWidth*Nodes-1:0] index_q;

    for (genvar n = 0; n < Nodes; n++) begin : g_node
      // The last node may have fewer terms than four; a missing one repeats the last one, and is
      // never greater than it.
      localparam int First = 4 * n;
      localparam int Second = (First + 1 < Terms) ? First + 1 : Terms - 1;
      localparam int Third = (First + 2 < Terms) ? First + 2 : Terms - 1;
      localparam int Fourth = (First + 3 < Terms) ? First + 3 : Terms - 1;

      logic [31:0]           low_value;
      logic [31:0]           high_value;
      logic [IndexWidth-1:0] low_index;
      logic [IndexWidth-1:0] high_index;
      logic                  second_wins;
      logic                  fourth_wins;
      logic                  high_wins;

      assign second_wins = $signed(value_i[32*Second +: 32]) > $signed(value_i[32*First +: 32]);
      assign low_value = second_wins ? value_i[32*Second +: 32] : value_i[32*First +: 32];
      assign low_index = second_wins ? index_i[IndexWidth*Second +: IndexWidth]
                                     : index_i[IndexWidth*First +: IndexWidth];
      assign fourth_wins = $signed(value_i[32*Fourth +: 32]) > $signed(value_i[32*Third +: 32]);
      assign high_value = fourth_wins ? value_i[32*Fourth +: 32] : value_i[32*Third +: 32];
      assign high_index = fourth_wins ? index_i[IndexWidth*Fourth +: IndexWidth]
                                      : index_i[IndexWidth*Third +: IndexWidth];
      assign high_wins = $signed(high_value) > $signed(low_value);

      always_ff @(posedge clk_i) begin
        if (advance_i) begin
          value_q[32*n +: 32] <= high_wins ? high_value : low_value;
          index_q[IndexWidth*n +: IndexWidth] <= high_wins ? high_index : low_index;
        end
      end
    end

    hsflow_npu_argmax #(
      .Terms(Nodes),
      .IndexWidth(IndexWidth)
    ) u_rest (
      .clk_i,
      .advance_i,
      .value_i(value_q),
      .index_i(index_q),
      .value_o,
      .index_o
    );
  end
endmodule
