// SPDX-License-Identifier: Apache-2.0
//
// hsflow_stream_fork: copies one stream to two readers (eager).
//
// Contract
//   * Latency 0, full throughput. Both readers get every word, each at its own time: a reader that took
//     the word does not see it again while the other one still waits.
//   * `valid0_o` and `valid1_o` never wait for a ready; `ready_o` depends on both readies.
module hsflow_stream_fork #(
  parameter int Width = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,

  output logic             valid0_o,
  input  logic             ready0_i,
  output logic             valid1_o,
  input  logic             ready1_i,
  output logic [Width-1:0] data_o
);

  // Set while the reader has the current word and the other one has not.
  logic done0_q, done1_q;
  logic done0, done1;

  assign valid0_o = valid_i & ~done0_q;
  assign valid1_o = valid_i & ~done1_q;
  assign done0    = ready0_i | done0_q;
  assign done1    = ready1_i | done1_q;
  assign ready_o  = done0 & done1;
  assign data_o   = data_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      done0_q <= 1'b0;
      done1_q <= 1'b0;
    end else if (valid_i) begin
      done0_q <= done0 & ~done1;
      done1_q <= done1 & ~done0;
    end
  end

endmodule
