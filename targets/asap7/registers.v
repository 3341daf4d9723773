// SPDX-License-Identifier: Apache-2.0
//
// Yosys techmap: registers with their inverters in front of ABC, where ABC alone shall map everything.

(* techmap_celltype = "$_DFF_P_" *)
module hsflow_register (input C, input D, output Q);
  wire qn;
  DFFHQNx1_ASAP7_75t_R _TECHMAP_REPLACE_ (.CLK(C), .D(D), .QN(qn));
  \$_NOT_ inverter (.A(qn), .Y(Q));
endmodule

(* techmap_celltype = "$_DFF_PN0_" *)
module hsflow_register_reset (input C, input D, input R, output Q);
  wire qn;
  DFFASRHQNx1_ASAP7_75t_R _TECHMAP_REPLACE_ (.CLK(C), .D(D), .RESETN(R), .SETN(1'b1), .QN(qn));
  \$_NOT_ inverter (.A(qn), .Y(Q));
endmodule

(* techmap_celltype = "$_DFF_PN1_" *)
module hsflow_register_set (input C, input D, input R, output Q);
  wire qn;
  DFFASRHQNx1_ASAP7_75t_R _TECHMAP_REPLACE_ (.CLK(C), .D(D), .RESETN(1'b1), .SETN(R), .QN(qn));
  \$_NOT_ inverter (.A(qn), .Y(Q));
endmodule
