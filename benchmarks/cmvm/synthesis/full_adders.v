// SPDX-License-Identifier: Apache-2.0
//
// Yosys techmap: additions become chains of full and half adders. Both have inverted outputs; as the inverse of a sum is
// the sum of the inverses, every second bit takes inverted operands and needs no inverter at its outputs.

(* techmap_celltype = "$alu" *)
module adder_chain (A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;

  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTVAL_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTVAL_B_ = 0;
  parameter _TECHMAP_CONSTMSK_CI_ = 0;
  parameter _TECHMAP_CONSTVAL_CI_ = 0;
  parameter _TECHMAP_CONSTMSK_BI_ = 0;
  parameter _TECHMAP_CONSTVAL_BI_ = 0;

  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  input CI, BI;
  output [Y_WIDTH-1:0] X, Y, CO;

  // An inversion that is not known is no adder of this bench.
  wire _TECHMAP_FAIL_ = !_TECHMAP_CONSTMSK_BI_ || !_TECHMAP_CONSTMSK_CI_;

  // The known bits of an operand, extended to the width of the sum.
  function [Y_WIDTH-1:0] extend;
    input [Y_WIDTH-1:0] bits;
    input integer width;
    input top;
    integer i;
    for (i = 0; i < Y_WIDTH; i = i + 1) extend[i] = i < width ? bits[i] : top;
  endfunction

  localparam [A_WIDTH-1:0] AMask = _TECHMAP_CONSTMSK_A_;
  localparam [A_WIDTH-1:0] AValue = _TECHMAP_CONSTVAL_A_;
  localparam [B_WIDTH-1:0] BMask = _TECHMAP_CONSTMSK_B_;
  localparam [B_WIDTH-1:0] BValue = _TECHMAP_CONSTVAL_B_;
  localparam [Y_WIDTH-1:0] AKnown = extend(AMask, A_WIDTH, A_SIGNED && A_WIDTH > 0 ? AMask[A_WIDTH-1] : 1'b1);
  localparam [Y_WIDTH-1:0] AOne = extend(AValue, A_WIDTH, A_SIGNED && A_WIDTH > 0 && AValue[A_WIDTH-1]) & AKnown;
  localparam [Y_WIDTH-1:0] BKnown = extend(BMask, B_WIDTH, B_SIGNED && B_WIDTH > 0 ? BMask[B_WIDTH-1] : 1'b1);
  localparam [Y_WIDTH-1:0] BPlain = extend(BValue, B_WIDTH, B_SIGNED && B_WIDTH > 0 && BValue[B_WIDTH-1]);
  localparam [Y_WIDTH-1:0] BOne = (BPlain ^ {Y_WIDTH{_TECHMAP_CONSTVAL_BI_ == 1}}) & BKnown;

  // The known carries into each bit, from the known bits below: value 1 or 0.
  function [Y_WIDTH:0] known_carries;
    input value;
    integer i, votes;
    begin
      known_carries[0] = (_TECHMAP_CONSTVAL_CI_ == 1) == value;
      for (i = 0; i < Y_WIDTH; i = i + 1) begin
        votes = (AKnown[i] && AOne[i] == value) + (BKnown[i] && BOne[i] == value) + known_carries[i];
        known_carries[i+1] = votes >= 2;
      end
    end
  endfunction

  localparam [Y_WIDTH:0] CarryOne = known_carries(1'b1);
  localparam [Y_WIDTH:0] CarryZero = known_carries(1'b0);

  // An operand without a bit is the constant 0.
  wire [Y_WIDTH-1:0] a, b_plain, b;
  generate
    if (A_WIDTH == 0) assign a = 0;
    else \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_a (.A(A), .Y(a));
    if (B_WIDTH == 0) assign b_plain = 0;
    else \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_b (.A(B), .Y(b_plain));
  endgenerate
  assign b = _TECHMAP_CONSTVAL_BI_ == 1 ? ~b_plain : b_plain;
  assign X = a ^ b;

  wire [Y_WIDTH:0] carry;
  assign carry[0] = CI;
  assign CO = carry[Y_WIDTH:1];

  genvar i;
  generate
    for (i = 0; i < Y_WIDTH; i = i + 1) begin : g_bit
      localparam integer Ones = (AKnown[i] && AOne[i]) + (BKnown[i] && BOne[i]) + CarryOne[i];
      localparam integer Zeros = (AKnown[i] && !AOne[i]) + (BKnown[i] && !BOne[i]) + CarryZero[i];
      wire con, sn;
      if (Ones + Zeros == 0) begin : g_full
        if (i % 2) begin : g_inverted
          FULL_ADDER cell_i (.A(~a[i]), .B(~b[i]), .CI(~carry[i]), .CON(carry[i+1]), .SN(Y[i]));
        end else begin : g_plain
          FULL_ADDER cell_i (.A(a[i]), .B(b[i]), .CI(carry[i]), .CON(con), .SN(sn));
          assign carry[i+1] = ~con;
          assign Y[i] = ~sn;
        end
      end else if (Ones + Zeros == 1) begin : g_half
        wire first = AKnown[i] ? b[i] : a[i];
        wire second = (CarryOne[i] || CarryZero[i]) ? b[i] : carry[i];
        if (Ones == 1) begin : g_plus_one
          HALF_ADDER cell_i (.A(~first), .B(~second), .CON(carry[i+1]), .SN(Y[i]));
        end else begin : g_plain
          HALF_ADDER cell_i (.A(first), .B(second), .CON(con), .SN(sn));
          assign carry[i+1] = ~con;
          assign Y[i] = ~sn;
        end
      end else begin : g_wire
        assign Y[i] = a[i] ^ b[i] ^ carry[i];
        assign carry[i+1] = (a[i] & b[i]) | (a[i] & carry[i]) | (b[i] & carry[i]);
      end
    end
  endgenerate
endmodule

(* techmap_celltype = "$fa" *)
module carry_save (A, B, C, X, Y);
  parameter WIDTH = 1;

  parameter [WIDTH-1:0] _TECHMAP_CONSTMSK_A_ = 0;
  parameter [WIDTH-1:0] _TECHMAP_CONSTVAL_A_ = 0;
  parameter [WIDTH-1:0] _TECHMAP_CONSTMSK_B_ = 0;
  parameter [WIDTH-1:0] _TECHMAP_CONSTVAL_B_ = 0;
  parameter [WIDTH-1:0] _TECHMAP_CONSTMSK_C_ = 0;
  parameter [WIDTH-1:0] _TECHMAP_CONSTVAL_C_ = 0;

  input [WIDTH-1:0] A, B, C;
  output [WIDTH-1:0] X, Y;

  genvar i;
  generate
    for (i = 0; i < WIDTH; i = i + 1) begin : g_bit
      localparam [2:0] Known = {_TECHMAP_CONSTMSK_C_[i], _TECHMAP_CONSTMSK_B_[i], _TECHMAP_CONSTMSK_A_[i]};
      localparam [2:0] One =
        {_TECHMAP_CONSTVAL_C_[i], _TECHMAP_CONSTVAL_B_[i], _TECHMAP_CONSTVAL_A_[i]} & Known;
      wire con, sn;
      if (Known == 3'b000) begin : g_full
        FULL_ADDER cell_i (.A(A[i]), .B(B[i]), .CI(C[i]), .CON(con), .SN(sn));
        assign X[i] = ~con;
        assign Y[i] = ~sn;
      end else if (Known == 3'b001 || Known == 3'b010 || Known == 3'b100) begin : g_half
        wire first = Known[0] ? B[i] : A[i];
        wire second = Known[2] ? B[i] : C[i];
        if (One != 3'b000) begin : g_plus_one
          HALF_ADDER cell_i (.A(~first), .B(~second), .CON(X[i]), .SN(Y[i]));
        end else begin : g_plain
          HALF_ADDER cell_i (.A(first), .B(second), .CON(con), .SN(sn));
          assign X[i] = ~con;
          assign Y[i] = ~sn;
        end
      end else begin : g_wire
        assign Y[i] = A[i] ^ B[i] ^ C[i];
        assign X[i] = (A[i] & B[i]) | (A[i] & C[i]) | (B[i] & C[i]);
      end
    end
  endgenerate
endmodule
