// SPDX-License-Identifier: Apache-2.0
//
// hsflow_stream_register: a two-entry skid buffer that cuts every path of a stream.
//
// Contract
//   * Full throughput, latency 1: a word taken in cycle t is shown in cycle t + 1.
//   * `valid_o`, `data_o` and `ready_o` come from registers; none depends on an input of the cycle.
//   * Keeps order; loses and repeats nothing; holds two words while `ready_i` is low.
module hsflow_stream_register #(
  parameter int Width = 8
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

  // The skid register holds the word that arrived in the cycle in which the output got stuck.
  logic             skid_valid_q;
  logic [Width-1:0] skid_q;
  logic             output_free;

  assign output_free = ~valid_o | ready_i;
  assign ready_o     = ~skid_valid_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_o      <= 1'b0;
      skid_valid_q <= 1'b0;
    end else if (output_free) begin
      valid_o      <= skid_valid_q | valid_i;
      skid_valid_q <= 1'b0;
    end else begin
      skid_valid_q <= skid_valid_q | valid_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (output_free) data_o <= skid_valid_q ? skid_q : data_i;
    if (ready_o) skid_q <= data_i;
  end

endmodule
