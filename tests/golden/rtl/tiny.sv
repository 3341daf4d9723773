// SPDX-License-Identifier: Apache-2.0
//
// tiny: the chip. Pixels enter by s_axis, one a beat, 16 an image, tlast on the last one.
// Logits leave by m_axis, 2 signed 32-bit beats an image, tuser the winning class on the last one.
// The classifier's weights are written by s_axil at any time (see hsflow_npu).
// An image of another length is dropped and reported by a cycle of error_o.
module tiny (
  input  logic aclk,
  input  logic aresetn,

  input  logic [7:0] s_axis_tdata,
  input  logic s_axis_tvalid,
  output logic s_axis_tready,
  input  logic s_axis_tlast,

  output logic [31:0] m_axis_tdata,
  output logic m_axis_tvalid,
  input  logic m_axis_tready,
  output logic m_axis_tlast,
  output logic [15:0] m_axis_tuser,

  input  logic [13:0] s_axil_awaddr,
  input  logic s_axil_awvalid,
  output logic s_axil_awready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0] s_axil_wstrb,
  input  logic s_axil_wvalid,
  output logic s_axil_wready,
  output logic [1:0] s_axil_bresp,
  output logic s_axil_bvalid,
  input  logic s_axil_bready,
  input  logic [13:0] s_axil_araddr,
  input  logic s_axil_arvalid,
  output logic s_axil_arready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0] s_axil_rresp,
  output logic s_axil_rvalid,
  input  logic s_axil_rready,

  output logic error_o
);

  logic pixel_valid, pixel_ready, pixel_last;
  logic [7:0] pixel;
  hsflow_stream_register #(
    .Width(9)
  ) u_input (
    .clk_i  (aclk),
    .rst_ni (aresetn),
    .valid_i(s_axis_tvalid),
    .ready_o(s_axis_tready),
    .data_i ({s_axis_tlast, s_axis_tdata[7:0]}),
    .valid_o(pixel_valid),
    .ready_i(pixel_ready),
    .data_o ({pixel_last, pixel})
  );

  logic image_valid, image_ready;
  logic [7:0] image;
  logic verdict_valid, verdict_ready, verdict_drop;
  hsflow_frame_guard #(
    .Width (8),
    .Pixels(16)
  ) u_guard (
    .clk_i          (aclk),
    .rst_ni         (aresetn),
    .valid_i        (pixel_valid),
    .ready_o        (pixel_ready),
    .data_i         (pixel),
    .last_i         (pixel_last),
    .valid_o        (image_valid),
    .ready_i        (image_ready),
    .data_o         (image),
    .verdict_valid_o(verdict_valid),
    .verdict_ready_i(verdict_ready),
    .verdict_drop_o (verdict_drop),
    .error_o
  );

  logic features_valid, features_ready;
  logic [15:0] features;
  tiny__network u_network (
    .clk_i  (aclk),
    .rst_ni (aresetn),
    .valid_i(image_valid),
    .ready_o(image_ready),
    .data_i (image),
    .valid_o(features_valid),
    .ready_i(features_ready),
    .data_o (features)
  );

  logic result_valid, result_ready, result_last;
  logic [47:0] result;
  logic [15:0] winner;
  hsflow_npu #(
    .Tokens          (1),
    .Channels        (2),
    .Classes         (2),
    .ClassLanes      (1),
    .FeatureLanes    (1),
    .ActivationWidth (8),
    .ActivationSigned(1'b0),
    .AddressWidth    (14)
  ) u_npu (
    .clk_i  (aclk),
    .rst_ni (aresetn),
    .valid_i(features_valid),
    .ready_o(features_ready),
    .data_i (features),
    .valid_o(result_valid),
    .ready_i(result_ready),
    .data_o (result[31:0]),
    .user_o (winner),
    .last_o (result_last),
    .s_axil_awaddr,
    .s_axil_awvalid,
    .s_axil_awready,
    .s_axil_wdata,
    .s_axil_wstrb,
    .s_axil_wvalid,
    .s_axil_wready,
    .s_axil_bresp,
    .s_axil_bvalid,
    .s_axil_bready,
    .s_axil_araddr,
    .s_axil_arvalid,
    .s_axil_arready,
    .s_axil_rdata,
    .s_axil_rresp,
    .s_axil_rvalid,
    .s_axil_rready
  );
  assign result[47:32] = winner;

  // One verdict waits for every image between guard and filter.
  logic filter_valid, filter_ready, filter_drop;
  hsflow_stream_fifo #(
    .Width(1),
    .Depth(6)
  ) u_verdicts (
    .clk_i  (aclk),
    .rst_ni (aresetn),
    .valid_i(verdict_valid),
    .ready_o(verdict_ready),
    .data_i (verdict_drop),
    .valid_o(filter_valid),
    .ready_i(filter_ready),
    .data_o (filter_drop)
  );

  logic [47:0] kept;
  hsflow_frame_filter #(
    .Width(48)
  ) u_filter (
    .valid_i        (result_valid),
    .ready_o        (result_ready),
    .data_i         (result),
    .last_i         (result_last),
    .verdict_valid_i(filter_valid),
    .verdict_ready_o(filter_ready),
    .verdict_drop_i (filter_drop),
    .valid_o        (m_axis_tvalid),
    .ready_i        (m_axis_tready),
    .data_o         (kept),
    .last_o         (m_axis_tlast)
  );
  assign m_axis_tdata = kept[31:0];
  assign m_axis_tuser = kept[47:32];

endmodule
