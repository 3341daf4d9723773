// SPDX-License-Identifier: Apache-2.0
//
// hsflow_tb_fault: a stream stage that is wrong on purpose, for the tests of the tests.
//
// Kind 0 loses word Index, 1 flips its lowest bit, 2 changes the payload of a word that waits, 3 takes
// valid back from a word that waits, 4 repeats word Index, 5 shows valid only when the reader is ready.
module hsflow_tb_fault #(
  parameter int Width = 8,
  parameter int Kind  = 0,
  parameter int Index = 3
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

  logic hit, waited_q, repeated_q;
  int index_q;

  assign hit = (index_q == Index);

  always_comb begin
    valid_o = valid_i;
    ready_o = ready_i;
    data_o  = data_i;
    case (Kind)
      0: if (hit) begin
        valid_o = 1'b0;
        ready_o = 1'b1;
      end
      1: if (hit) data_o = data_i ^ Width'(1);
      2: if (waited_q) data_o = ~data_i;
      3: if (waited_q) begin
        valid_o = 1'b0;
        ready_o = 1'b0;
      end
      4: if (hit && !repeated_q) ready_o = 1'b0;
      default: valid_o = valid_i & ready_i;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      waited_q   <= 1'b0;
      repeated_q <= 1'b0;
      index_q    <= 0;
    end else begin
      waited_q   <= valid_o & ~ready_i;
      repeated_q <= hit & (repeated_q | (valid_o & ready_i));
      if (valid_i && ready_o) index_q <= index_q + 1;
    end
  end

endmodule
