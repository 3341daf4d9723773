// SPDX-License-Identifier: Apache-2.0
//
// hsflow_npu: the last dense layer, on an array of multipliers whose weights are written at any
// time.
//
// Contract
//   * An image is `Tokens` vectors of `Channels` activations, channel 0 in the low bits; feature
//     t * Channels + c is channel c of vector t. The next image is taken while one computes.
//   * Each image leaves as a packet of B = ceil(Classes / LogitLanes) beats: `data_o` holds signed
//     32-bit logits of LogitLanes classes, in class order from the low bits on, 0 past the last
//     class; `user_o` is the argmax (lowest index of equals) in the last beat and 0 before it;
//     `last_o` marks the last beat.
//   * With T = ceil(Classes / ClassLanes) tiles of classes,
//     G = ceil(Tokens * Channels / FeatureLanes) groups of features,
//     C = ceil(ClassLanes / LogitLanes) cycles in which a tile leaves, and
//     D = B - floor((T - 1) * ClassLanes / LogitLanes) in which the last one does:
//       initiation interval  max(Tokens, (T - 1) * max(G, C) + max(G, D))
//       first logit          G + ceil(log4(FeatureLanes)) + ceil(log4(LogitLanes)) + 6 cycles after
//                            the last vector's; one more if T > 1 and LogitLanes does not divide
//                            ClassLanes; and max(G, C) for each tile that has left before the
//                            first beat is full, ceil(LogitLanes / ClassLanes) - 1 of them
//   * `valid_o` and the payload come from registers; `ready_o` depends on no input of the cycle.
//   * Weights and biases are undefined until they are written; hsflow_npu_registers says when
//     they can be, hsflow_npu_decoder where. The bases in bytes are
//       BiasBase    max(4096, BiasStride * 2**clog2(B))
//       WeightBase  max(2 * BiasBase, RowStride * 2**clog2(T * G)), with
//       BiasStride  4 * 2**clog2(LogitLanes)
//       RowStride   4 * 2**clog2(ceil(ClassLanes * FeatureLanes / 4))
//   * Row t * G + g of the weights holds in byte p * FeatureLanes + q the weight of feature
//     g * FeatureLanes + q for class t * ClassLanes + p,
//     or 0 where there is none.
module hsflow_npu #(
  parameter int Tokens = 1,
  parameter int Channels = 16,
  parameter int Classes = 10,
  parameter int ClassLanes = 2,
  parameter int FeatureLanes = 1,
  parameter int LogitLanes = 1,
  parameter int ActivationWidth = 8,
  parameter bit ActivationSigned = 1'b0,
  // Bits of the bus address; at least clog2(2 * WeightBase).
  parameter int AddressWidth = 32
) (
  input  logic                                clk_i,
  input  logic                                rst_ni,

  input  logic                                valid_i,
  output logic                                ready_o,
  input  logic [Channels*ActivationWidth-1:0] data_i,

  output logic                                valid_o,
  input  logic                                ready_i,
  output logic [32*LogitLanes-1:0]            data_o,
  output logic [15:0]                         user_o,
  output logic                                last_o,

  input  logic [AddressWidth-1:0]             s_axil_awaddr,
  input  logic                                s_axil_awvalid,
  output logic                                s_axil_awready,
  input  logic [31:0]                         s_axil_wdata,
  input  logic [3:0]                          s_axil_wstrb,
  input  logic                                s_axil_wvalid,
  output logic                                s_axil_wready,
  output logic [1:0]                          s_axil_bresp,
  output logic                                s_axil_bvalid,
  input  logic                                s_axil_bready,
  input  logic [AddressWidth-1:0]             s_axil_araddr,
  input  logic                                s_axil_arvalid,
  output logic                                s_axil_arready,
  output logic [31:0]                         s_axil_rdata,
  output logic [1:0]                          s_axil_rresp,
  output logic                                s_axil_rvalid,
  input  logic                                s_axil_rready
);
  localparam int Features = Tokens * Channels;
  localparam int Groups = (Features + FeatureLanes - 1) / FeatureLanes;
  localparam int Tiles = (Classes + ClassLanes - 1) / ClassLanes;
  localparam int Rows = Tiles * Groups;
  localparam int RowBytes = ClassLanes * FeatureLanes;
  localparam int RowWords = (RowBytes + 3) / 4;
  localparam int TreeStages = ($clog2(FeatureLanes) + 1) / 2;
  localparam int RowWidth = (Rows > 1) ? $clog2(Rows) : 1;
  localparam int Beats = (Classes + LogitLanes - 1) / LogitLanes;
  localparam int BeatWidth = (Beats > 1) ? $clog2(Beats) : 1;

  localparam int BiasWindow = 4 << ($clog2(LogitLanes) + $clog2(Beats));
  localparam int BiasBase = (BiasWindow > 4096) ? BiasWindow : 4096;
  localparam int WeightWindow = 4 << ($clog2(RowWords) + $clog2(Rows));
  localparam int WeightBase = (WeightWindow > 2 * BiasBase) ? WeightWindow : 2 * BiasBase;

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Tokens < 1 || Channels < 1 || Classes < 1 || ClassLanes < 1 || FeatureLanes < 1
      || LogitLanes < 1) begin : g_illegal_size
    $error("hsflow_npu: sizes and lanes must be at least 1");
  end
  if (Classes > 65536 || ClassLanes > Classes || FeatureLanes > Features) begin : g_illegal_lanes
    $error("hsflow_npu: at most 65536 classes, no more lanes than classes or features");
  end
  if (ActivationWidth < 1 || ActivationWidth > 16) begin : g_illegal_activation
    $error("hsflow_npu: activations must have 1 to 16 bits");
  end
  if (AddressWidth < $clog2(WeightBase) + 1 || AddressWidth > 32) begin : g_illegal_address
    $error("hsflow_npu: AddressWidth must reach all of the memory map and be at most 32");
  end
`endif

  // Bus.
  logic                    bus_write;
  logic [AddressWidth-1:0] bus_write_address;
  logic [31:0]             bus_write_data;
  logic [3:0]              bus_write_strobe;
  logic                    bus_read;
  logic [AddressWidth-1:0] bus_read_address;
  logic [31:0]             bus_read_data;
  logic                    bus_read_valid;
  logic                    bus_error;

  // Control of the array. `advance` stops all of it while a finished row waits for the drain.
  logic                    hold;
  logic                    take;
  logic                    rotate;
  logic                    advance;
  logic                    input_full;
  logic                    input_empty;
  logic                    sequencer_busy;
  logic                    accumulate;
  logic                    first;
  logic                    last;
  logic                    row_done_q;
  logic                    load;
  logic                    load_ready;
  logic                    drain_busy;
  logic                    quiet;
  logic                    idle;

  // Memories and data.
  logic [31:0]                             memory_data;
  logic [4*RowWords-1:0]                   weight_strobe;
  logic [RowWidth-1:0]                     weight_write_row;
  logic                                    weight_bus_read;
  logic [RowWidth-1:0]                     weight_bus_row;
  logic [RowWidth-1:0]                     array_row;
  logic [RowWidth-1:0]                     weight_read_row;
  logic [32*RowWords-1:0]                  weight_row;
  logic [4*LogitLanes-1:0]                 bias_strobe;
  logic [BeatWidth-1:0]                    bias_write_beat;
  logic                                    bias_bus_read;
  logic [BeatWidth-1:0]                    bias_bus_beat;
  logic [BeatWidth-1:0]                    drain_beat;
  logic [BeatWidth-1:0]                    bias_read_beat;
  logic [32*LogitLanes-1:0]                bias;
  logic [FeatureLanes*ActivationWidth-1:0] activation;
  logic [32*ClassLanes-1:0]                row_sums;

  // Results.
  logic                     logit_busy;
  logic                     logit_valid;
  logic                     logit_ready;
  logic [32*LogitLanes-1:0] logit;
  logic [15:0]              logit_user;
  logic                     logit_last;

  hsflow_axil_slave #(
    .AddressWidth(AddressWidth)
  ) u_axil_slave (
    .clk_i,
    .rst_ni,
    .awaddr_i(s_axil_awaddr),
    .awvalid_i(s_axil_awvalid),
    .awready_o(s_axil_awready),
    .wdata_i(s_axil_wdata),
    .wstrb_i(s_axil_wstrb),
    .wvalid_i(s_axil_wvalid),
    .wready_o(s_axil_wready),
    .bresp_o(s_axil_bresp),
    .bvalid_o(s_axil_bvalid),
    .bready_i(s_axil_bready),
    .araddr_i(s_axil_araddr),
    .arvalid_i(s_axil_arvalid),
    .arready_o(s_axil_arready),
    .rdata_o(s_axil_rdata),
    .rresp_o(s_axil_rresp),
    .rvalid_o(s_axil_rvalid),
    .rready_i(s_axil_rready),
    .write_o(bus_write),
    .write_address_o(bus_write_address),
    .write_data_o(bus_write_data),
    .write_strobe_o(bus_write_strobe),
    .write_ready_i(1'b1),
    .read_o(bus_read),
    .read_address_o(bus_read_address),
    .read_data_i(bus_read_data),
    .read_valid_i(bus_read_valid),
    .error_i(bus_error)
  );

  hsflow_npu_registers #(
    .Features(Features),
    .Classes(Classes),
    .ClassLanes(ClassLanes),
    .FeatureLanes(FeatureLanes),
    .LogitLanes(LogitLanes),
    .Rows(Rows),
    .RowWords(RowWords),
    .BiasBase(BiasBase),
    .WeightBase(WeightBase)
  ) u_registers (
    .clk_i,
    .rst_ni,
    .write_i(bus_write),
    .write_address_i(32'(bus_write_address)),
    .write_data_i(bus_write_data),
    .write_strobe_i(bus_write_strobe),
    .read_i(bus_read),
    .read_address_i(32'(bus_read_address)),
    .read_data_o(bus_read_data),
    .read_valid_o(bus_read_valid),
    .error_o(bus_error),
    .image_started_i(take),
    .quiet_i(quiet),
    .idle_i(idle),
    .hold_o(hold),
    .memory_data_o(memory_data),
    .weight_strobe_o(weight_strobe),
    .weight_write_row_o(weight_write_row),
    .weight_read_o(weight_bus_read),
    .weight_read_row_o(weight_bus_row),
    .weight_row_i(weight_row),
    .bias_strobe_o(bias_strobe),
    .bias_write_beat_o(bias_write_beat),
    .bias_read_o(bias_bus_read),
    .bias_read_beat_o(bias_bus_beat),
    .bias_i(bias)
  );

  hsflow_npu_input #(
    .Tokens(Tokens),
    .Channels(Channels),
    .FeatureLanes(FeatureLanes),
    .ActivationWidth(ActivationWidth)
  ) u_input (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
    .full_o(input_full),
    .empty_o(input_empty),
    .take_i(take),
    .rotate_i(rotate),
    .activation_o(activation)
  );

  hsflow_npu_sequencer #(
    .Tiles(Tiles),
    .Groups(Groups),
    .Delay(2 + TreeStages)
  ) u_sequencer (
    .clk_i,
    .rst_ni,
    .advance_i(advance),
    .hold_i(hold),
    .full_i(input_full),
    .take_o(take),
    .rotate_o(rotate),
    .row_o(array_row),
    .accumulate_o(accumulate),
    .first_o(first),
    .last_o(last),
    .busy_o(sequencer_busy)
  );

  // The bus reads the memories only while the array does not, so they share the read port.
  assign weight_read_row = weight_bus_read ? weight_bus_row : array_row;
  assign bias_read_beat = bias_bus_read ? bias_bus_beat : drain_beat;

  for (genvar w = 0; w < RowWords; w++) begin : g_weight
    localparam int Bytes = (RowBytes - 4 * w > 4) ? 4 : RowBytes - 4 * w;

    hsflow_npu_memory #(
      .Depth(Rows),
      .Bytes(Bytes)
    ) u_memory (
      .clk_i,
      .write_strobe_i(weight_strobe[4*w +: Bytes]),
      .write_address_i(weight_write_row),
      .write_data_i(memory_data[8*Bytes-1:0]),
      .read_i(advance || weight_bus_read),
      .read_address_i(weight_read_row),
      .read_data_o(weight_row[32*w +: 8*Bytes])
    );

    if (Bytes < 4) begin : g_gap
      logic unused_strobe;
      assign weight_row[32*w + 8*Bytes +: 8*(4-Bytes)] = '0;
      assign unused_strobe = |weight_strobe[4*w + Bytes +: 4-Bytes];
    end
  end

  for (genvar l = 0; l < LogitLanes; l++) begin : g_bias
    // Beats that have a class in this lane: all, or all but the last one.
    localparam int Biases = (Classes - l + LogitLanes - 1) / LogitLanes;

    if (Biases < 1) begin : g_none
      logic unused_strobe;
      assign bias[32*l +: 32] = '0;
      assign unused_strobe = |bias_strobe[4*l +: 4];
    end else begin : g_some
      localparam int AddressBits = (Biases > 1) ? $clog2(Biases) : 1;

      hsflow_npu_memory #(
        .Depth(Biases),
        .Bytes(4)
      ) u_memory (
        .clk_i,
        .write_strobe_i(bias_strobe[4*l +: 4]),
        .write_address_i(bias_write_beat[AddressBits-1:0]),
        .write_data_i(memory_data),
        .read_i(1'b1),
        .read_address_i(bias_read_beat[AddressBits-1:0]),
        .read_data_o(bias[32*l +: 32])
      );
    end
  end

  for (genvar p = 0; p < ClassLanes; p++) begin : g_lane
    hsflow_npu_lane #(
      .FeatureLanes(FeatureLanes),
      .ActivationWidth(ActivationWidth),
      .ActivationSigned(ActivationSigned)
    ) u_lane (
      .clk_i,
      .advance_i(advance),
      .weight_i(weight_row[8*FeatureLanes*p +: 8*FeatureLanes]),
      .activation_i(activation),
      .accumulate_i(accumulate),
      .first_i(first),
      .sum_o(row_sums[32*p +: 32])
    );
  end

  assign advance = !row_done_q || load_ready;
  assign load = row_done_q && load_ready;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) row_done_q <= 1'b0;
    else if (advance) row_done_q <= accumulate && last;
  end

  if (LogitLanes == 1) begin : g_drain
    hsflow_npu_drain #(
      .Classes(Classes),
      .ClassLanes(ClassLanes)
    ) u_drain (
      .clk_i,
      .rst_ni,
      .load_i(load),
      .load_ready_o(load_ready),
      .row_i(row_sums),
      .bias_class_o(drain_beat),
      .bias_i(bias),
      .row_valid_o(drain_busy),
      .valid_o(logit_valid),
      .ready_i(logit_ready),
      .data_o(logit),
      .user_o(logit_user),
      .last_o(logit_last)
    );

    assign logit_busy = logit_valid;
  end else begin : g_drain_wide
    hsflow_npu_drain_wide #(
      .Classes(Classes),
      .ClassLanes(ClassLanes),
      .LogitLanes(LogitLanes)
    ) u_drain (
      .clk_i,
      .rst_ni,
      .load_i(load),
      .load_ready_o(load_ready),
      .row_i(row_sums),
      .bias_beat_o(drain_beat),
      .bias_i(bias),
      .row_valid_o(drain_busy),
      .busy_o(logit_busy),
      .valid_o(logit_valid),
      .ready_i(logit_ready),
      .data_o(logit),
      .user_o(logit_user),
      .last_o(logit_last)
    );
  end

  hsflow_stream_register #(
    .Width(32 * LogitLanes + 17)
  ) u_output (
    .clk_i,
    .rst_ni,
    .valid_i(logit_valid),
    .ready_o(logit_ready),
    .data_i({logit_last, logit_user, logit}),
    .valid_o,
    .ready_i,
    .data_o({last_o, user_o, data_o})
  );

  assign quiet = !sequencer_busy && !row_done_q && !drain_busy;
  assign idle = quiet && input_empty && !logit_busy && !valid_o;
endmodule
