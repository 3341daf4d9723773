// SPDX-License-Identifier: Apache-2.0
//
// hsflow_requantize: adds a bias, shifts, saturates. Combinational.
//
// Contract
//   data_o = clamp((acc + Bias) >>> Shift, Low, High)[OutWidth-1:0], where acc is acc_i as a signed
//   number, or its negative if Negate is set. A negative Shift is an exact left shift. `Bias` includes
//   the rounding constant 1 << (Shift - 1). Nothing inside can overflow: the widths follow from the
//   parameters' values.
//
// Ranges: InWidth 1 to 62, Bias within 62 bits signed, Low <= High within 17 bits signed; Low and High
// must be representable in OutWidth bits (signed or unsigned, as the reader of data_o takes it).
module hsflow_requantize #(
  parameter int InWidth            = 24,
  parameter logic signed [63:0] Bias        = 64'sd8,
  parameter int Shift                       = 4,
  parameter int Low                         = 0,
  parameter int High                        = 255,
  parameter int OutWidth           = 8,
  parameter bit Negate                      = 1'b0
) (
  input  logic signed [InWidth-1:0] acc_i,
  output logic [OutWidth-1:0]       data_o
);

  // Bits of the shortest two's complement number that holds `value`.
  function automatic int signed_bits(input logic signed [63:0] value);
    signed_bits = 1;
    for (int i = 0; i < 63; i++) begin
      if (value[i] != value[63]) signed_bits = i + 2;
    end
  endfunction

  function automatic int maximum(input int a, input int b);
    maximum = (a > b) ? a : b;
  endfunction

  localparam int LeftShift   = (Shift < 0) ? -Shift : 0;
  localparam int RightShift  = (Shift > 0) ? Shift : 0;
  localparam int BiasBits    = signed_bits(Bias);
  localparam int LowBits     = signed_bits({{32{Low[31]}}, Low});
  localparam int HighBits    = signed_bits({{32{High[31]}}, High});
  // acc and -acc need InWidth + 1 bits, their sum with the bias one more than the longer of the two.
  localparam int SumWidth    = maximum(InWidth + 1, BiasBits) + 1;
  localparam int ScaledWidth = SumWidth + LeftShift;
  // One bit more than each bound, so that no comparison is constant.
  localparam int ValueWidth  =
      maximum(maximum(ScaledWidth, OutWidth), maximum(LowBits, HighBits)) + 1;

  localparam logic signed [ValueWidth-1:0] LowValue  = ValueWidth'(Low);
  localparam logic signed [ValueWidth-1:0] HighValue = ValueWidth'(High);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (InWidth < 1 || InWidth > 62 || BiasBits > 62) begin : g_illegal_width
    $error("hsflow_requantize: InWidth and Bias must be 1 to 62 bits");
  end
  if (Low > High || LowBits > 17 || HighBits > 17) begin : g_illegal_range
    $error("hsflow_requantize: Low must not exceed High, both at most 17 bits signed");
  end
`endif

  logic signed [SumWidth-1:0]   acc, sum, shifted;
  logic signed [ValueWidth-1:0] value;

  assign acc     = {{(SumWidth - InWidth){acc_i[InWidth-1]}}, acc_i};
  assign sum     = Negate ? SumWidth'(Bias) - acc : SumWidth'(Bias) + acc;
  assign shifted = sum >>> RightShift;
  assign value   =
      {{(ValueWidth - SumWidth){shifted[SumWidth-1]}}, shifted} << LeftShift;

  assign data_o = (value < LowValue)  ? LowValue[OutWidth-1:0] :
                  (value > HighValue) ? HighValue[OutWidth-1:0] :
                                        value[OutWidth-1:0];

endmodule
