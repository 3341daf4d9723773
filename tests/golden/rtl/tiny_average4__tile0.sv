// SPDX-License-Identifier: Apache-2.0
//
// Layer 'average4', tile 0
// 2 sums of 2 operands,
// 0 adders, depth 0, 0 pipeline stages.
module tiny_average4__tile0 (
  input  logic [19:0] data_i,
  output logic [16:0] data_o
);

  wire [6:0] x0 = data_i[0+:7];
  wire unused_x0 = ^data_i[7+:3];
  wire [9:0] x1 = data_i[10+:10];

  assign data_o = {
    x1,
    x0
  };
endmodule
