// SPDX-License-Identifier: Apache-2.0
//
// hsflow_axil_slave: an AXI4-Lite slave (32-bit data) in front of a simple register bus.
//
// Contract, AXI side
//   * Write address and write data may come in any order; one of each is held. Response OKAY, or SLVERR
//     if `error_i` was high in the cycle of the completion.
//   * Every ready and valid comes from a register, payloads hold until their transfer.
//
// Contract, register side
//   * One access at a time; reads and writes take turns when both wait, so `error_i` serves both.
//   * Write: `write_o` with address, data and strobes holds until the first cycle with `write_ready_i`,
//     which completes it; if `write_ready_i` is already high that is one cycle.
//   * Read: `read_o` is high for one cycle; the first cycle with `read_valid_i`, the same or a later
//     one, completes it. `read_address_o` holds until then.
//   * The registers must complete an access without waiting for another one.
module hsflow_axil_slave #(
  parameter int AddressWidth = 12
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    awvalid_i,
  output logic                    awready_o,
  input  logic [AddressWidth-1:0] awaddr_i,
  input  logic                    wvalid_i,
  output logic                    wready_o,
  input  logic [31:0]             wdata_i,
  input  logic [3:0]              wstrb_i,
  output logic                    bvalid_o,
  input  logic                    bready_i,
  output logic [1:0]              bresp_o,

  input  logic                    arvalid_i,
  output logic                    arready_o,
  input  logic [AddressWidth-1:0] araddr_i,
  output logic                    rvalid_o,
  input  logic                    rready_i,
  output logic [31:0]             rdata_o,
  output logic [1:0]              rresp_o,

  output logic                    write_o,
  input  logic                    write_ready_i,
  output logic [AddressWidth-1:0] write_address_o,
  output logic [31:0]             write_data_o,
  output logic [3:0]              write_strobe_o,

  output logic                    read_o,
  output logic [AddressWidth-1:0] read_address_o,
  input  logic                    read_valid_i,
  input  logic [31:0]             read_data_i,

  input  logic                    error_i
);

  localparam logic [1:0] Idle  = 2'd0;
  localparam logic [1:0] Write = 2'd1;
  localparam logic [1:0] Read  = 2'd2;
  localparam logic [1:0] Wait  = 2'd3;

  logic [1:0] state_q, state_d;
  logic prefer_read_q, write_pending, read_pending, write_done, read_done;

  // A channel's ready is low while its register holds an access that is not completed.
  assign write_pending = ~awready_o & ~wready_o & ~bvalid_o;
  assign read_pending  = ~arready_o & ~rvalid_o;

  assign write_o    = (state_q == Write);
  assign read_o     = (state_q == Read);
  assign write_done = write_o & write_ready_i;
  assign read_done  = (read_o | (state_q == Wait)) & read_valid_i;

  always_comb begin
    state_d = state_q;
    case (state_q)
      Idle: begin
        if (write_pending && !(read_pending && prefer_read_q)) begin
          state_d = Write;
        end else if (read_pending) begin
          state_d = Read;
        end
      end
      Write:   if (write_ready_i) state_d = Idle;
      Read:    state_d = read_valid_i ? Idle : Wait;
      default: if (read_valid_i) state_d = Idle;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q       <= Idle;
      prefer_read_q <= 1'b0;
    end else begin
      state_q <= state_d;
      if (write_done) prefer_read_q <= 1'b1;
      if (read_done) prefer_read_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      awready_o <= 1'b1;
      wready_o  <= 1'b1;
      arready_o <= 1'b1;
    end else begin
      if (write_done) begin
        awready_o <= 1'b1;
        wready_o  <= 1'b1;
      end else begin
        if (awvalid_i) awready_o <= 1'b0;
        if (wvalid_i) wready_o <= 1'b0;
      end
      if (read_done) begin
        arready_o <= 1'b1;
      end else if (arvalid_i) begin
        arready_o <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (awready_o) write_address_o <= awaddr_i;
    if (wready_o) begin
      write_data_o   <= wdata_i;
      write_strobe_o <= wstrb_i;
    end
    if (arready_o) read_address_o <= araddr_i;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      bvalid_o <= 1'b0;
      rvalid_o <= 1'b0;
    end else begin
      bvalid_o <= write_done | (bvalid_o & ~bready_i);
      rvalid_o <= read_done | (rvalid_o & ~rready_i);
    end
  end

  always_ff @(posedge clk_i) begin
    if (write_done) bresp_o <= {error_i, 1'b0};
    if (read_done) begin
      rresp_o <= {error_i, 1'b0};
      rdata_o <= read_data_i;
    end
  end

endmodule
