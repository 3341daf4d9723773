// SPDX-License-Identifier: Apache-2.0
//
// Yosys techmap: the full and half adders of ASAP7.

module FULL_ADDER (input A, input B, input CI, output CON, output SN);
  FAx1_ASAP7_75t_R _TECHMAP_REPLACE_ (.A(A), .B(B), .CI(CI), .CON(CON), .SN(SN));
endmodule

module HALF_ADDER (input A, input B, output CON, output SN);
  HAxp5_ASAP7_75t_R _TECHMAP_REPLACE_ (.A(A), .B(B), .CON(CON), .SN(SN));
endmodule
