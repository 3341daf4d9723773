// SPDX-License-Identifier: Apache-2.0
//
// hsflow_tb_registers: a register file with memory, made-up delays and an error region.
//
// The upper half of the addresses answers with an error. Writes take 1 to 3 cycles, reads 0 to 3 cycles
// (by the address). A register that was never written reads as {~address, address}.
// Log lines: "print write <Name> <address> <data> <strobe>" and "print read <Name> <address>", once for each
// access.
module hsflow_tb_registers #(
  parameter     Name         = "registers",
  parameter int AddressWidth = 8
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    write_i,
  output logic                    write_ready_o,
  input  logic [AddressWidth-1:0] write_address_i,
  input  logic [31:0]             write_data_i,
  input  logic [3:0]              write_strobe_i,

  input  logic                    read_i,
  input  logic [AddressWidth-1:0] read_address_i,
  output logic                    read_valid_o,
  output logic [31:0]             read_data_o,

  output logic                    error_o
);

  localparam int Registers = 1 << AddressWidth;

  logic [31:0] memory_q [0:Registers-1];
  logic [1:0]  write_count_q, read_count_q;
  logic        reading_q;

  assign write_ready_o = write_i && (write_count_q >= write_address_i[3:2] || write_count_q == 2);
  assign read_valid_o  = reading_q ? (read_count_q == read_address_i[3:2])
                                   : (read_i && read_address_i[3:2] == 0);
  // Outside the completion data and error are wrong on purpose.
  assign read_data_o = read_valid_o ? memory_q[read_address_i] : 32'hdeadbeef;
  assign error_o     = write_i ? write_ready_o & write_address_i[AddressWidth-1] :
                                 ~read_valid_o | read_address_i[AddressWidth-1];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      write_count_q <= '0;
      read_count_q  <= '0;
      reading_q     <= 1'b0;
      for (int i = 0; i < Registers; i++) memory_q[i] <= {~16'(i), 16'(i)};
    end else begin
      write_count_q <= (write_i && !write_ready_o) ? write_count_q + 2'd1 : 2'd0;
      read_count_q  <= (reading_q || read_i) ? read_count_q + 2'd1 : 2'd0;
      reading_q     <= (reading_q || read_i) && !read_valid_o;
      if (read_valid_o) read_count_q <= '0;
      if (write_i && write_ready_o) begin
        for (int b = 0; b < 4; b++) begin
          if (write_strobe_i[b]) memory_q[write_address_i][8*b +: 8] <= write_data_i[8*b +: 8];
        end
      end
    end
  end

  always @(posedge clk_i) begin
    if (write_i && write_ready_o) begin
      $display("print write %0s %h %h %h", Name, write_address_i, write_data_i, write_strobe_i);
    end
    if (read_i) $display("print read %0s %h", Name, read_address_i);
  end

endmodule
