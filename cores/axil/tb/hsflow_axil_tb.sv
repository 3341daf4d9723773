// SPDX-License-Identifier: Apache-2.0
//
// hsflow_axil_tb: self-checking testbench of hsflow_axil_slave, for the FuseSoC target `sim`.
//
// Writes every register of hsflow_tb_registers with data before, with and after the address, then reads
// all of them back. Prints PASS or FAIL; a failure ends the run with an error.
module hsflow_axil_tb;

  localparam int AddressWidth = 6;
  localparam int Registers    = 1 << (AddressWidth - 2);

  logic clk, rst_n;
  logic awvalid, awready, wvalid, wready, bvalid, bready, arvalid, arready, rvalid, rready;
  logic [AddressWidth-1:0] awaddr, araddr;
  logic [31:0] wdata, rdata;
  logic [1:0] bresp, rresp;
  logic write, write_ready, read, read_valid, error;
  logic [AddressWidth-1:0] write_address, read_address;
  logic [31:0] write_data, read_data;
  logic [3:0] write_strobe;
  int issued_q, address_q, written_q, asked_q, answered_q, errors_q, cycles_q;

  initial begin
    clk = 1'b0;
    rst_n = 1'b0;
    #22 rst_n = 1'b1;
  end

  always #5 clk = ~clk;

  hsflow_axil_slave #(.AddressWidth(AddressWidth)) u_slave (
    .clk_i(clk), .rst_ni(rst_n),
    .awvalid_i(awvalid), .awready_o(awready), .awaddr_i(awaddr),
    .wvalid_i(wvalid), .wready_o(wready), .wdata_i(wdata), .wstrb_i(4'hf),
    .bvalid_o(bvalid), .bready_i(bready), .bresp_o(bresp),
    .arvalid_i(arvalid), .arready_o(arready), .araddr_i(araddr),
    .rvalid_o(rvalid), .rready_i(rready), .rdata_o(rdata), .rresp_o(rresp),
    .write_o(write), .write_ready_i(write_ready), .write_address_o(write_address),
    .write_data_o(write_data), .write_strobe_o(write_strobe),
    .read_o(read), .read_address_o(read_address), .read_valid_i(read_valid), .read_data_i(read_data),
    .error_i(error)
  );

  hsflow_tb_registers #(.Name("axil"), .AddressWidth(AddressWidth)) u_registers (
    .clk_i(clk), .rst_ni(rst_n),
    .write_i(write), .write_ready_o(write_ready), .write_address_i(write_address),
    .write_data_i(write_data), .write_strobe_i(write_strobe),
    .read_i(read), .read_address_i(read_address), .read_valid_o(read_valid), .read_data_o(read_data),
    .error_o(error)
  );

  function automatic logic [31:0] pattern(input int index);
    pattern = 32'h9e37_79b9 * 32'(index + 1);
  endfunction

  // The upper half of the registers answers with SLVERR.
  function automatic logic [1:0] expected_response(input int index);
    expected_response = (index >= Registers / 2) ? 2'b10 : 2'b00;
  endfunction

  assign awaddr = AddressWidth'(4 * address_q);
  assign wdata  = pattern(issued_q);
  assign araddr = AddressWidth'(4 * asked_q);

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      awvalid    <= 1'b0;
      wvalid     <= 1'b0;
      arvalid    <= 1'b0;
      bready     <= 1'b0;
      rready     <= 1'b0;
      issued_q   <= 0;
      address_q  <= 0;
      written_q  <= 0;
      asked_q    <= 0;
      answered_q <= 0;
      errors_q   <= 0;
      cycles_q   <= 0;
    end else begin
      cycles_q <= cycles_q + 1;
      bready   <= (cycles_q % 3 != 0);
      rready   <= (cycles_q % 5 != 0);
      // Different periods, so that either side of a write may come first.
      if (!awvalid) awvalid <= (address_q < Registers) && (cycles_q % 7 == 0);
      if (!wvalid) wvalid <= (issued_q < Registers) && (cycles_q % 4 == 0);
      if (!arvalid) arvalid <= (asked_q < Registers) && (written_q == Registers);
      if (awvalid && awready) begin
        awvalid   <= 1'b0;
        address_q <= address_q + 1;
      end
      if (wvalid && wready) begin
        wvalid   <= 1'b0;
        issued_q <= issued_q + 1;
      end
      if (arvalid && arready) begin
        arvalid <= 1'b0;
        asked_q <= asked_q + 1;
      end
      if (bvalid && bready) begin
        written_q <= written_q + 1;
        if (bresp != expected_response(written_q)) errors_q <= errors_q + 1;
      end
      if (rvalid && rready) begin
        answered_q <= answered_q + 1;
        if (rdata != pattern(answered_q) || rresp != expected_response(answered_q)) begin
          errors_q <= errors_q + 1;
        end
      end
    end
  end

  always @(posedge clk) begin
    if (answered_q == Registers || cycles_q == 2000) begin
      if (answered_q != Registers || errors_q != 0) $fatal(1, "FAIL hsflow_axil_tb");
      $display("PASS hsflow_axil_tb");
      $finish;
    end
  end

endmodule
