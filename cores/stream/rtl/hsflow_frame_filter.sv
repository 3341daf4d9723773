// SPDX-License-Identifier: Apache-2.0
//
// hsflow_frame_filter: drops the packets whose verdict says so. Combinational.
//
// Contract
//   * One verdict for each packet, in order, taken together with the packet's last beat. A packet waits
//     for its verdict.
//   * verdict_drop_i = 0: the packet passes unchanged with latency 0. verdict_drop_i = 1: its beats are
//     swallowed, one a cycle.
//   * `valid_o` never waits for `ready_i`.
module hsflow_frame_filter #(
  parameter int Width = 8
) (
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             last_i,

  input  logic             verdict_valid_i,
  output logic             verdict_ready_o,
  input  logic             verdict_drop_i,

  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o,
  output logic             last_o
);

  assign valid_o         = valid_i & verdict_valid_i & ~verdict_drop_i;
  assign ready_o         = verdict_valid_i & (verdict_drop_i | ready_i);
  assign verdict_ready_o = valid_i & last_i & (verdict_drop_i | ready_i);
  assign data_o          = data_i;
  assign last_o          = last_i;

endmodule
