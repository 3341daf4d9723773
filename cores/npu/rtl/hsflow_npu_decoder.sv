// SPDX-License-Identifier: Apache-2.0
// Says what a byte address means: a register, a bias, a word of the weight memory, or nothing.
//
//   below 0x40       registers
//   from BiasBase    beat b at BiasBase + b * BiasStride; at 4 * l the bias of its class l
//   from WeightBase  row r at WeightBase + r * RowStride; at 4 * w its bytes from 4 * w on
//
// A beat has LogitLanes classes. The strides are powers of two; the gap between a beat's last bias
// or a row's last word and the next one's first is nothing.
module hsflow_npu_decoder #(
  parameter int Rows = 1,
  parameter int RowWords = 1,
  parameter int Classes = 1,
  parameter int LogitLanes = 1,
  parameter int BiasBase = 4096,
  parameter int WeightBase = 8192,
  // Derived; do not override.
  parameter int RowWidth = (Rows > 1) ? $clog2(Rows) : 1,
  parameter int WordWidth = (RowWords > 1) ? $clog2(RowWords) : 1,
  parameter int Beats = (Classes + LogitLanes - 1) / LogitLanes,
  parameter int BeatWidth = (Beats > 1) ? $clog2(Beats) : 1,
  parameter int LaneWidth = (LogitLanes > 1) ? $clog2(LogitLanes) : 1
) (
  input  logic [31:0]           address_i,
  output logic                  is_register_o,
  output logic                  is_bias_o,
  output logic                  is_weight_o,
  output logic [3:0]            register_o,
  output logic [BeatWidth-1:0]  beat_o,
  output logic [LaneWidth-1:0]  lane_o,
  output logic [RowWidth-1:0]   row_o,
  output logic [WordWidth-1:0]  word_o
);
  localparam int StrideBits = $clog2(RowWords) + 2;
  localparam int BiasStrideBits = $clog2(LogitLanes) + 2;
  localparam int LastLanes = Classes - (Beats - 1) * LogitLanes;

  logic [31:0] bias_offset;
  logic [31:0] beat_index;
  logic [31:0] lane_index;
  logic [31:0] weight_offset;
  logic [31:0] row_index;
  logic [31:0] word_index;

  assign bias_offset = address_i - BiasBase;
  assign beat_index = bias_offset >> BiasStrideBits;
  assign lane_index = (bias_offset >> 2) & ((32'd1 << (BiasStrideBits - 2)) - 32'd1);
  assign weight_offset = address_i - WeightBase;
  assign row_index = weight_offset >> StrideBits;
  assign word_index = (weight_offset >> 2) & ((32'd1 << (StrideBits - 2)) - 32'd1);

  assign is_register_o = address_i < 32'h40;
  assign is_bias_o = address_i >= BiasBase && beat_index < Beats
      && lane_index < ((beat_index == Beats - 1) ? LastLanes : LogitLanes);
  assign is_weight_o = address_i >= WeightBase && row_index < Rows && word_index < RowWords;
  assign register_o = address_i[5:2];
  assign beat_o = beat_index[BeatWidth-1:0];
  assign lane_o = lane_index[LaneWidth-1:0];
  assign row_o = row_index[RowWidth-1:0];
  assign word_o = word_index[WordWidth-1:0];
endmodule
