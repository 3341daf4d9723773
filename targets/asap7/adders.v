// SPDX-License-Identifier: Apache-2.0
//
// Yosys techmap: additions become chains of full adders, and of half adders where one of a bit's three inputs is known.
// A subtraction's one enters as the carry. A chain of more than HSFLOW_LONGEST_CHAIN adders would miss the clock: such
// a sum is made of two halves that are added at once.

(* techmap_celltype = "$alu" *)
module hsflow_chain (A, B, CI, BI, X, Y, CO);
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

  localparam BiKnown = _TECHMAP_CONSTMSK_BI_ == 1;
  localparam BiOne = BiKnown && _TECHMAP_CONSTVAL_BI_ == 1;

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
  localparam [Y_WIDTH-1:0] BMasked = extend(BMask, B_WIDTH, B_SIGNED && B_WIDTH > 0 ? BMask[B_WIDTH-1] : 1'b1);
  localparam [Y_WIDTH-1:0] BPlain = extend(BValue, B_WIDTH, B_SIGNED && B_WIDTH > 0 && BValue[B_WIDTH-1]);
  localparam [Y_WIDTH-1:0] BKnown = BiKnown ? BMasked : {Y_WIDTH{1'b0}};
  localparam [Y_WIDTH-1:0] BOne = (BPlain ^ {Y_WIDTH{BiOne}}) & BKnown;

  // The known carries into each bit, from the known bits below: value 1 or 0.
  function [Y_WIDTH:0] known_carries;
    input value;
    integer i, votes;
    begin
      known_carries[0] = _TECHMAP_CONSTMSK_CI_ == 1 && (_TECHMAP_CONSTVAL_CI_ == 1) == value;
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
  assign b = b_plain ^ {Y_WIDTH{BI}};
  assign X = a ^ b;

  wire [Y_WIDTH:0] carry;
  assign carry[0] = CI;
  assign CO = carry[Y_WIDTH:1];

  // A sum with a constant is smaller in gates than in half adders.
  localparam Constant = &AKnown || &BKnown;

  // How many bits the carry ripples through.
  function integer chain;
    input unused;
    integer i;
    begin
      chain = 0;
      for (i = 0; i < Y_WIDTH; i = i + 1) begin
        if (AKnown[i] + BKnown[i] + (CarryOne[i] || CarryZero[i]) < 2) chain = chain + 1;
      end
    end
  endfunction

  localparam Split = !Constant && chain(1'b0) > `HSFLOW_LONGEST_CHAIN;
  localparam Low = Y_WIDTH / 2;
  localparam High = Y_WIDTH - Low;

  genvar i;
  generate
    if (Split) begin : g_split
      // The upper half is added without a carry, and then one more where that carry comes and all bits below are ones.
      wire [Low-1:0] low_x, low_co;
      wire [High-1:0] high_x, high_y, high_co;
      wire [High:0] ones;
      wire late = low_co[Low-1];
      \$alu #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(Low), .B_WIDTH(Low), .Y_WIDTH(Low)) low_i (
        .A(a[Low-1:0]), .B(b_plain[Low-1:0]), .CI(CI), .BI(BI), .X(low_x), .Y(Y[Low-1:0]), .CO(low_co));
      \$alu #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(High), .B_WIDTH(High), .Y_WIDTH(High)) high_i (
        .A(a[Y_WIDTH-1:Low]), .B(b_plain[Y_WIDTH-1:Low]), .CI(1'b0), .BI(BI), .X(high_x), .Y(high_y), .CO(high_co));
      assign ones[0] = 1'b1;
      assign carry[Low:1] = low_co;
      for (i = 0; i < High; i = i + 1) begin : g_late
        // Half adders, which ABC does not look into: it would let the late carry ripple.
        if (i == 0) assign ones[1] = high_y[0];
        else hsflow_half_adder ones_i (.A(ones[i]), .B(high_y[i]), .CO(ones[i+1]), .S());
        assign Y[Low+i] = high_y[i] ^ (ones[i] & late);
        assign carry[Low+i+1] = high_co[i] | (ones[i+1] & late);
      end
    end else begin : g_whole
      for (i = 0; i < Y_WIDTH; i = i + 1) begin : g_bit
        localparam integer Ones = (AKnown[i] && AOne[i]) + (BKnown[i] && BOne[i]) + CarryOne[i];
        localparam integer Zeros = (AKnown[i] && !AOne[i]) + (BKnown[i] && !BOne[i]) + CarryZero[i];
        if (Constant || Ones + Zeros > 1) begin : g_gates
          assign Y[i] = a[i] ^ b[i] ^ carry[i];
          assign carry[i+1] = (a[i] & b[i]) | (a[i] & carry[i]) | (b[i] & carry[i]);
        end else if (Ones + Zeros == 0) begin : g_full
          hsflow_full_adder cell_i (.A(a[i]), .B(b[i]), .CI(carry[i]), .CO(carry[i+1]), .S(Y[i]));
        end else begin : g_half
          wire first = AKnown[i] ? b[i] : a[i];
          wire second = (CarryOne[i] || CarryZero[i]) ? b[i] : carry[i];
          if (Ones == 1) begin : g_plus_one
            // first + second + 1: the inverse of ~first + ~second.
            wire co, s;
            hsflow_half_adder cell_i (.A(~first), .B(~second), .CO(co), .S(s));
            assign carry[i+1] = ~co;
            assign Y[i] = ~s;
          end else begin : g_plain
            hsflow_half_adder cell_i (.A(first), .B(second), .CO(carry[i+1]), .S(Y[i]));
          end
        end
      end
    end
  endgenerate
endmodule

(* techmap_celltype = "$fa" *)
module hsflow_carry_save (A, B, C, X, Y);
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
      if (Known == 3'b000) begin : g_full
        hsflow_full_adder cell_i (.A(A[i]), .B(B[i]), .CI(C[i]), .CO(X[i]), .S(Y[i]));
      end else if (Known == 3'b001 || Known == 3'b010 || Known == 3'b100) begin : g_half
        wire first = Known[0] ? B[i] : A[i];
        wire second = Known[2] ? B[i] : C[i];
        if (One != 3'b000) begin : g_plus_one
          wire co, s;
          hsflow_half_adder cell_i (.A(~first), .B(~second), .CO(co), .S(s));
          assign X[i] = ~co;
          assign Y[i] = ~s;
        end else begin : g_plain
          hsflow_half_adder cell_i (.A(first), .B(second), .CO(X[i]), .S(Y[i]));
        end
      end else begin : g_wire
        assign Y[i] = A[i] ^ B[i] ^ C[i];
        assign X[i] = (A[i] & B[i]) | (A[i] & C[i]) | (B[i] & C[i]);
      end
    end
  endgenerate
endmodule
