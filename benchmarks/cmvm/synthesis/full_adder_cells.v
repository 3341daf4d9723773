// SPDX-License-Identifier: Apache-2.0
//
// A full and a half adder as cell libraries have them, with inverted outputs.

(* blackbox *)
module FULL_ADDER (input A, input B, input CI, output CON, output SN);
endmodule

(* blackbox *)
module HALF_ADDER (input A, input B, output CON, output SN);
endmodule
