// SPDX-License-Identifier: Apache-2.0
// An NPU with an AXI4-Lite master that plays the commands of a file, for tests.
//
// Reads <Name>.commands (Commands hexadecimal words of 80 bits: operation, strobes, address,
// data) from the current folder. The input stream is shut until operation Open. Each command that
// reads or writes logs "print <Name> <operation> <cycle> <address> <data> <response>".
module hsflow_npu_bench #(
  parameter      Name = "npu",
  parameter int  Commands = 1,
  parameter int  Tokens = 1,
  parameter int  Channels = 1,
  parameter int  Classes = 1,
  parameter int  ClassLanes = 1,
  parameter int  FeatureLanes = 1,
  parameter int  LogitLanes = 1,
  parameter int  ActivationWidth = 8,
  parameter bit  ActivationSigned = 1'b0,
  parameter int  AddressWidth = 32
) (
  input  logic                                clk_i,
  input  logic                                rst_ni,
  input  int                                  cycle_i,
  input  logic                                valid_i,
  output logic                                ready_o,
  input  logic [Channels*ActivationWidth-1:0] data_i,
  output logic                                valid_o,
  input  logic                                ready_i,
  output logic [32*LogitLanes+16:0]           data_o,
  output logic                                done_o
);
  localparam logic [7:0] Write = 8'd1;  // write `data` to `address`
  localparam logic [7:0] Read = 8'd2;   // read `address`
  localparam logic [7:0] Poll = 8'd3;   // read `address` until one of the bits `data` is set
  localparam logic [7:0] Open = 8'd4;   // let the input stream through
  localparam logic [7:0] Beats = 8'd5;  // wait until `data` beats have left

  logic [79:0] commands [0:Commands-1];
  logic [79:0] command;
  logic [7:0]  operation;
  logic [3:0]  strobe;
  logic [31:0] address;
  logic [31:0] data;
  int          index_q;
  int          beats_q;
  logic        started_q;
  logic        open_q;
  logic        awvalid_q;
  logic        wvalid_q;
  logic        arvalid_q;
  logic        awready;
  logic        wready;
  logic        bvalid;
  logic        arready;
  logic        rvalid;
  logic [1:0]  bresp;
  logic [1:0]  rresp;
  logic [31:0] rdata;
  logic        ready;

  initial $readmemh({Name, ".commands"}, commands);

  assign done_o = index_q >= Commands;
  assign command = done_o ? 80'd0 : commands[index_q];
  assign operation = command[79:72];
  assign strobe = command[67:64];
  assign address = command[63:32];
  assign data = command[31:0];
  assign ready_o = ready && open_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      index_q   <= 0;
      beats_q   <= 0;
      started_q <= 1'b0;
      open_q    <= 1'b0;
      awvalid_q <= 1'b0;
      wvalid_q  <= 1'b0;
      arvalid_q <= 1'b0;
    end else begin
      if (valid_o && ready_i) beats_q <= beats_q + 1;
      if (awready) awvalid_q <= 1'b0;
      if (wready) wvalid_q <= 1'b0;
      if (arready) arvalid_q <= 1'b0;
      if (operation == Open) begin
        open_q  <= 1'b1;
        index_q <= index_q + 1;
      end
      if (operation == Beats && beats_q >= data) index_q <= index_q + 1;
      if (!started_q && operation == Write) begin
        started_q <= 1'b1;
        awvalid_q <= 1'b1;
        wvalid_q  <= 1'b1;
      end
      if (!started_q && (operation == Read || operation == Poll)) begin
        started_q <= 1'b1;
        arvalid_q <= 1'b1;
      end
      if (bvalid) begin
        started_q <= 1'b0;
        index_q   <= index_q + 1;
        $display("print %0s write %0d %h %h %0d", Name, cycle_i, address, data, bresp);
      end
      if (rvalid) begin
        started_q <= 1'b0;
        if (operation == Read || (rdata & data) != 32'd0) begin
          index_q <= index_q + 1;
          $display("print %0s read %0d %h %h %0d", Name, cycle_i, address, rdata, rresp);
        end
      end
    end
  end

  hsflow_npu #(
    .Tokens(Tokens),
    .Channels(Channels),
    .Classes(Classes),
    .ClassLanes(ClassLanes),
    .FeatureLanes(FeatureLanes),
    .LogitLanes(LogitLanes),
    .ActivationWidth(ActivationWidth),
    .ActivationSigned(ActivationSigned),
    .AddressWidth(AddressWidth)
  ) u_npu (
    .clk_i,
    .rst_ni,
    .valid_i(valid_i && open_q),
    .ready_o(ready),
    .data_i,
    .valid_o,
    .ready_i,
    .data_o(data_o[32*LogitLanes-1:0]),
    .user_o(data_o[32*LogitLanes +: 16]),
    .last_o(data_o[32*LogitLanes+16]),
    .s_axil_awaddr(address[AddressWidth-1:0]),
    .s_axil_awvalid(awvalid_q),
    .s_axil_awready(awready),
    .s_axil_wdata(data),
    .s_axil_wstrb(strobe),
    .s_axil_wvalid(wvalid_q),
    .s_axil_wready(wready),
    .s_axil_bresp(bresp),
    .s_axil_bvalid(bvalid),
    .s_axil_bready(1'b1),
    .s_axil_araddr(address[AddressWidth-1:0]),
    .s_axil_arvalid(arvalid_q),
    .s_axil_arready(arready),
    .s_axil_rdata(rdata),
    .s_axil_rresp(rresp),
    .s_axil_rvalid(rvalid),
    .s_axil_rready(1'b1)
  );
endmodule
