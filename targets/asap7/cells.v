// SPDX-License-Identifier: Apache-2.0
//
// A full and a half adder before their cells are chosen: outputs are not inverted.

(* blackbox *)
module hsflow_full_adder (input A, input B, input CI, output CO, output S);
endmodule

(* blackbox *)
module hsflow_half_adder (input A, input B, output CO, output S);
endmodule
