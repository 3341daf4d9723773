// SPDX-License-Identifier: Apache-2.0
//
// hsflow_tb_source: plays the words of a file into a stream and logs every transfer.
//
// Reads <Name>.words (Words hexadecimal words) and <Name>.allow (Pattern binary digits) from the current
// folder. A new word may be shown in a cycle whose digit is 1 (the digits repeat); a shown word holds
// until it is taken. While nothing is shown the data lines carry the next word inverted, so that a
// design that looks at them without valid is caught.
// Log line: "source <Name> <first cycle shown> <cycle taken> <word>".
module hsflow_tb_source #(
  parameter     Name    = "source",
  parameter int Width   = 8,
  parameter int Words   = 1,
  parameter int Pattern = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  int               cycle_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

  logic [Width-1:0] words [0:Words-1];
  logic [0:0]       allow [0:Pattern-1];
  int index_q, next_index, shown_q;

  initial begin
    $readmemh({Name, ".words"}, words);
    $readmemb({Name, ".allow"}, allow);
  end

  assign next_index = (valid_o && ready_i) ? index_q + 1 : index_q;
  assign data_o     = (index_q >= Words) ? '0 : valid_o ? words[index_q] : ~words[index_q];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_o <= 1'b0;
      index_q <= 0;
      shown_q <= 0;
    end else begin
      index_q <= next_index;
      if (!valid_o || ready_i) begin
        valid_o <= (next_index < Words) && allow[cycle_i % Pattern];
        shown_q <= cycle_i + 1;
      end
    end
  end

  always @(posedge clk_i) begin
    if (rst_ni && valid_o && ready_i) begin
      $display("source %0s %0d %0d %h", Name, shown_q, cycle_i, data_o);
    end
  end

endmodule
