// SPDX-License-Identifier: Apache-2.0
// toy: a stand-in for a generated design. Logit c of an image is bias[c] + (c + 1) * (sum of its pixels), signed
// with a pixel's top bit; the biases are written by AXI4-Lite at 0x1000 + 4 * c, with hsflow_npu's control registers.
module toy #(
  parameter int Pixels = 16,
  parameter int Classes = 4
) (
  input  logic        aclk,
  input  logic        aresetn,
  input  logic [7:0]  s_axis_tdata,
  input  logic        s_axis_tvalid,
  output logic        s_axis_tready,
  input  logic        s_axis_tlast,
  output logic [31:0] m_axis_tdata,
  output logic        m_axis_tvalid,
  input  logic        m_axis_tready,
  output logic        m_axis_tlast,
  output logic [15:0] m_axis_tuser,
  input  logic [12:0] s_axil_awaddr,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  output logic [1:0]  s_axil_bresp,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  input  logic [12:0] s_axil_araddr,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic        error_o
);
  logic [31:0] bias_q [Classes];
  logic signed [31:0] sum_q, held_q;
  logic [31:0] column_q, class_q, images_q;
  logic        busy_q, hold_q;

  // Pixels
  wire last_column = column_q == Pixels - 1;
  wire take = s_axis_tvalid && s_axis_tready;
  assign s_axis_tready = !last_column || (!busy_q && !hold_q);
  wire signed [31:0] next_sum = sum_q + {{24{s_axis_tdata[7]}}, s_axis_tdata};

  // Results
  assign m_axis_tvalid = busy_q;
  assign m_axis_tdata = bias_q[class_q[1:0]] + held_q * $signed(class_q + 32'd1);
  assign m_axis_tlast = class_q == Classes - 1;
  assign m_axis_tuser = m_axis_tlast ? 16'hBEEF : 16'h0;

  always_ff @(posedge aclk or negedge aresetn) begin
    if (!aresetn) begin
      sum_q <= '0;
      held_q <= '0;
      column_q <= '0;
      class_q <= '0;
      images_q <= '0;
      busy_q <= 1'b0;
      error_o <= 1'b0;
    end else begin
      error_o <= take && (s_axis_tlast != last_column);
      if (take) begin
        column_q <= last_column ? '0 : column_q + 32'd1;
        sum_q <= last_column ? '0 : next_sum;
      end
      if (take && last_column) begin
        held_q <= next_sum;
        busy_q <= 1'b1;
        class_q <= '0;
        images_q <= images_q + 32'd1;
      end else if (busy_q && m_axis_tready) begin
        class_q <= class_q + 32'd1;
        busy_q <= !m_axis_tlast;
      end
    end
  end

  // Bus
  wire write = s_axil_awvalid && s_axil_wvalid && (!s_axil_bvalid || s_axil_bready);
  wire read = s_axil_arvalid && (!s_axil_rvalid || s_axil_rready);
  assign s_axil_awready = write;
  assign s_axil_wready = write;
  assign s_axil_arready = read;
  assign s_axil_rresp = 2'b00;

  always_ff @(posedge aclk or negedge aresetn) begin
    if (!aresetn) begin
      hold_q <= 1'b0;
      s_axil_bvalid <= 1'b0;
      s_axil_bresp <= 2'b00;
      s_axil_rvalid <= 1'b0;
      s_axil_rdata <= '0;
    end else begin
      if (s_axil_bready) s_axil_bvalid <= 1'b0;
      if (s_axil_rready) s_axil_rvalid <= 1'b0;
      if (write) begin
        s_axil_bvalid <= 1'b1;
        s_axil_bresp <= (s_axil_wstrb != 4'hF) ? 2'b10 : 2'b00;
        if (s_axil_awaddr == 13'h08) hold_q <= s_axil_wdata[0];
        if (s_axil_awaddr[12]) bias_q[s_axil_awaddr[3:2]] <= s_axil_wdata;
      end
      if (read) begin
        s_axil_rvalid <= 1'b1;
        s_axil_rdata <= (s_axil_araddr == 13'h0C) ? {30'd0, hold_q && !busy_q, !busy_q} :
                        (s_axil_araddr == 13'h10) ? images_q : 32'd0;
      end
    end
  end
endmodule
