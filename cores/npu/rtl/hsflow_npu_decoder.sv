// SPDX-License-Identifier: Apache-2.0
// Says what a byte address means: a register, a bias, a word of the weight memory, or nothing.
//
//   below 0x40       registers
//   from BiasBase    the bias of class n at BiasBase + 4 * n
//   from WeightBase  row r at WeightBase + r * RowStride; at 4 * w its bytes from 4 * w on
//
// RowStride is a power of two; the gap between a row's last word and the next row is nothing.
module hsflow_npu_decoder #(
  parameter int Rows = 1,
  parameter int RowWords = 1,
  parameter int Classes = 1,
  parameter int BiasBase = 4096,
  parameter int WeightBase = 8192,
  // Derived; do not override.
  parameter int RowWidth = (Rows > 1) ? $clog2(Rows) : 1,
  parameter int WordWidth = (RowWords > 1) ? $clog2(RowWords) : 1,
  parameter int ClassWidth = (Classes > 1) ? $clog2(Classes) : 1
) (
  input  logic [31:0]           address_i,
  output logic                  is_register_o,
  output logic                  is_bias_o,
  output logic                  is_weight_o,
  output logic [3:0]            register_o,
  output logic [ClassWidth-1:0] class_o,
  output logic [RowWidth-1:0]   row_o,
  output logic [WordWidth-1:0]  word_o
);
  localparam int StrideBits = $clog2(RowWords) + 2;

  logic [31:0] bias_index;
  logic [31:0] weight_offset;
  logic [31:0] row_index;
  logic [31:0] word_index;

  assign bias_index = (address_i - BiasBase) >> 2;
  assign weight_offset = address_i - WeightBase;
  assign row_index = weight_offset >> StrideBits;
  assign word_index = (weight_offset >> 2) & ((32'd1 << (StrideBits - 2)) - 32'd1);

  assign is_register_o = address_i < 32'h40;
  assign is_bias_o = address_i >= BiasBase && bias_index < Classes;
  assign is_weight_o = address_i >= WeightBase && row_index < Rows && word_index < RowWords;
  assign register_o = address_i[5:2];
  assign class_o = bias_index[ClassWidth-1:0];
  assign row_o = row_index[RowWidth-1:0];
  assign word_o = word_index[WordWidth-1:0];
endmodule
