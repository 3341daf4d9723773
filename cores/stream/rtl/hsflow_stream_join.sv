// SPDX-License-Identifier: Apache-2.0
//
// hsflow_stream_join: pairs the words of two streams. Combinational.
//
// Contract
//   * Latency 0, full throughput; data_o = {data1_i, data0_i}, data0 in the low bits.
//   * `valid_o` never waits for `ready_i`. A word is taken only together with its partner, so each
//     ready depends on the other side's valid.
module hsflow_stream_join #(
  parameter int Width0 = 8,
  parameter int Width1 = 8
) (
  input  logic                     valid0_i,
  output logic                     ready0_o,
  input  logic [Width0-1:0]        data0_i,

  input  logic                     valid1_i,
  output logic                     ready1_o,
  input  logic [Width1-1:0]        data1_i,

  output logic                     valid_o,
  input  logic                     ready_i,
  output logic [Width0+Width1-1:0] data_o
);

  assign valid_o  = valid0_i & valid1_i;
  assign ready0_o = ready_i & valid1_i;
  assign ready1_o = ready_i & valid0_i;
  assign data_o   = {data1_i, data0_i};

endmodule
