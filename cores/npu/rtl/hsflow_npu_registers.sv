// SPDX-License-Identifier: Apache-2.0
// Registers of the NPU, and the way from the bus into its memories.
//
//   0x00 ID        0x4853_4E50, 'HSNP'
//   0x04 VERSION   major << 16 | minor << 8 | patch
//   0x08 CONTROL   bit 0 hold: start no further image
//   0x0C STATUS    bit 0 idle: nothing received that has not left as a result
//                  bit 1 holding: hold is set and no image is using the memories
//                  bit 2 write while busy: sticky, write 1 to clear
//   0x10 IMAGES    images started since reset, modulo 2**32; while holding, exactly the images
//                  whose every logit comes from the weights up to now
//   0x14 FEATURES  features of an image
//   0x18 CLASSES   classes
//   0x1C LANES     class lanes | feature lanes << 16
//   0x20 LOGITS    logits of a beat
//
// The memories can be reached while holding or idle. At any other time a write changes nothing,
// sets the sticky bit and answers an error, and a read answers an error. So do accesses to
// addresses that are nothing, and writes to registers that cannot be written.
module hsflow_npu_registers #(
  parameter int Features = 1,
  parameter int Classes = 1,
  parameter int ClassLanes = 1,
  parameter int FeatureLanes = 1,
  parameter int LogitLanes = 1,
  parameter int Rows = 1,
  parameter int RowWords = 1,
  parameter int BiasBase = 4096,
  parameter int WeightBase = 8192,
  // Derived; do not override.
  parameter int RowWidth = (Rows > 1) ? $clog2(Rows) : 1,
  parameter int Beats = (Classes + LogitLanes - 1) / LogitLanes,
  parameter int BeatWidth = (Beats > 1) ? $clog2(Beats) : 1
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,

  // Bus: one access at a time; the answer to a write comes with it, that to a read a cycle later.
  input  logic                   write_i,
  input  logic [31:0]            write_address_i,
  input  logic [31:0]            write_data_i,
  input  logic [3:0]             write_strobe_i,
  input  logic                   read_i,
  input  logic [31:0]            read_address_i,
  output logic [31:0]            read_data_o,
  output logic                   read_valid_o,
  output logic                   error_o,

  // State of the array.
  input  logic                   image_started_i,
  input  logic                   quiet_i,
  input  logic                   idle_i,
  output logic                   hold_o,

  // Memories: strobes of one byte each; the data of a read arrive a cycle after it.
  output logic [31:0]            memory_data_o,
  output logic [4*RowWords-1:0]  weight_strobe_o,
  output logic [RowWidth-1:0]    weight_write_row_o,
  output logic                   weight_read_o,
  output logic [RowWidth-1:0]    weight_read_row_o,
  input  logic [32*RowWords-1:0] weight_row_i,
  output logic [4*LogitLanes-1:0]  bias_strobe_o,
  output logic [BeatWidth-1:0]     bias_write_beat_o,
  output logic                     bias_read_o,
  output logic [BeatWidth-1:0]     bias_read_beat_o,
  input  logic [32*LogitLanes-1:0] bias_i
);
  localparam int WordWidth = (RowWords > 1) ? $clog2(RowWords) : 1;
  localparam int LaneWidth = (LogitLanes > 1) ? $clog2(LogitLanes) : 1;
  localparam logic [31:0] Id = 32'h4853_4E50;
  localparam logic [31:0] Version = 32'h0000_0200;
  localparam logic [31:0] Lanes = (32'(FeatureLanes) << 16) | 32'(ClassLanes);
  localparam logic [3:0] RegisterId = 4'd0;
  localparam logic [3:0] RegisterVersion = 4'd1;
  localparam logic [3:0] RegisterControl = 4'd2;
  localparam logic [3:0] RegisterStatus = 4'd3;
  localparam logic [3:0] RegisterImages = 4'd4;
  localparam logic [3:0] RegisterFeatures = 4'd5;
  localparam logic [3:0] RegisterClasses = 4'd6;
  localparam logic [3:0] RegisterLanes = 4'd7;
  localparam logic [3:0] RegisterLogits = 4'd8;

  logic                 hold_q;
  logic                 write_while_busy_q;
  logic [31:0]          images_q;
  logic                 holding;
  logic                 open;

  logic                 write_is_register;
  logic                 write_is_bias;
  logic                 write_is_weight;
  logic [3:0]           write_register;
  logic [WordWidth-1:0] write_word;
  logic [LaneWidth-1:0] write_lane;
  logic                 write_control;
  logic                 write_status;
  logic                 write_memory;

  logic                 read_is_register;
  logic                 read_is_bias;
  logic                 read_is_weight;
  logic [3:0]           read_register;
  logic [WordWidth-1:0] read_word;
  logic [LaneWidth-1:0] read_lane;
  logic [31:0]          register_data;
  logic                 register_exists;
  logic                 read_valid_q;
  logic                 read_error_q;
  logic                 read_from_bias_q;
  logic                 read_from_weight_q;
  logic [WordWidth-1:0] read_word_q;
  logic [LaneWidth-1:0] read_lane_q;
  logic [31:0]          weight_data;
  logic [31:0]          bias_data;
  logic [31:0]          register_data_q;

  hsflow_npu_decoder #(
    .Rows(Rows),
    .RowWords(RowWords),
    .Classes(Classes),
    .LogitLanes(LogitLanes),
    .BiasBase(BiasBase),
    .WeightBase(WeightBase)
  ) u_write_decoder (
    .address_i(write_address_i),
    .is_register_o(write_is_register),
    .is_bias_o(write_is_bias),
    .is_weight_o(write_is_weight),
    .register_o(write_register),
    .beat_o(bias_write_beat_o),
    .lane_o(write_lane),
    .row_o(weight_write_row_o),
    .word_o(write_word)
  );

  hsflow_npu_decoder #(
    .Rows(Rows),
    .RowWords(RowWords),
    .Classes(Classes),
    .LogitLanes(LogitLanes),
    .BiasBase(BiasBase),
    .WeightBase(WeightBase)
  ) u_read_decoder (
    .address_i(read_address_i),
    .is_register_o(read_is_register),
    .is_bias_o(read_is_bias),
    .is_weight_o(read_is_weight),
    .register_o(read_register),
    .beat_o(bias_read_beat_o),
    .lane_o(read_lane),
    .row_o(weight_read_row_o),
    .word_o(read_word)
  );

  assign holding = hold_q && quiet_i;
  assign open = holding || idle_i;
  assign hold_o = hold_q;

  // Writes take one cycle.
  assign write_control = write_i && write_is_register && write_register == RegisterControl;
  assign write_status = write_i && write_is_register && write_register == RegisterStatus;
  assign write_memory = write_i && (write_is_bias || write_is_weight);
  assign memory_data_o = write_data_i;

  for (genvar l = 0; l < LogitLanes; l++) begin : g_bias_strobe
    assign bias_strobe_o[4*l +: 4] =
        (write_i && write_is_bias && open && write_lane == LaneWidth'(l)) ? write_strobe_i : 4'd0;
  end

  for (genvar w = 0; w < RowWords; w++) begin : g_strobe
    assign weight_strobe_o[4*w +: 4] =
        (write_i && write_is_weight && open && write_word == WordWidth'(w)) ? write_strobe_i : 4'd0;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      hold_q             <= 1'b0;
      write_while_busy_q <= 1'b0;
      images_q           <= 32'd0;
    end else begin
      if (write_control && write_strobe_i[0]) hold_q <= write_data_i[0];
      if (write_memory && !open) begin
        write_while_busy_q <= 1'b1;
      end else if (write_status && write_strobe_i[0] && write_data_i[2]) begin
        write_while_busy_q <= 1'b0;
      end
      if (image_started_i) images_q <= images_q + 32'd1;
    end
  end

  // Reads take two cycles, the time of the memories.
  assign weight_read_o = read_i && read_is_weight && open;
  assign bias_read_o = read_i && read_is_bias && open;

  always_comb begin
    register_exists = 1'b1;
    register_data = 32'd0;
    case (read_register)
      RegisterId:       register_data = Id;
      RegisterVersion:  register_data = Version;
      RegisterControl:  register_data = {31'd0, hold_q};
      RegisterStatus:   register_data = {29'd0, write_while_busy_q, holding, idle_i};
      RegisterImages:   register_data = images_q;
      RegisterFeatures: register_data = 32'(Features);
      RegisterClasses:  register_data = 32'(Classes);
      RegisterLanes:    register_data = Lanes;
      RegisterLogits:   register_data = 32'(LogitLanes);
      default:          register_exists = 1'b0;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) read_valid_q <= 1'b0;
    else read_valid_q <= read_i;
  end

  always_ff @(posedge clk_i) begin
    if (read_i) begin
      read_error_q       <= !((read_is_register && register_exists)
                             || weight_read_o || bias_read_o);
      read_from_bias_q   <= bias_read_o;
      read_from_weight_q <= weight_read_o;
      read_word_q        <= read_word;
      read_lane_q        <= read_lane;
      register_data_q    <= read_is_register ? register_data : 32'd0;
    end
  end

  assign read_valid_o = read_valid_q;
  assign weight_data = weight_row_i[32*read_word_q +: 32];
  assign bias_data = bias_i[32*read_lane_q +: 32];
  assign read_data_o = read_from_weight_q ? weight_data
      : (read_from_bias_q ? bias_data : register_data_q);
  assign error_o = read_valid_q ? read_error_q
      : !(write_control || write_status || (write_memory && open));
endmodule
