// SPDX-License-Identifier: Apache-2.0
// One bank of a weight or bias memory: a simple dual-port RAM, up to four bytes wide.
//
// It has one write port with a strobe a byte and one read port whose data follow the address by a
// cycle and hold while `read_i` is low. The contents are undefined until they are written.
module hsflow_npu_memory #(
  parameter int Depth = 16,
  parameter int Bytes = 4,
  // Derived; do not override.
  parameter int AddressWidth = (Depth > 1) ? $clog2(Depth) : 1
) (
  input  logic                    clk_i,
  input  logic [Bytes-1:0]        write_strobe_i,
  input  logic [AddressWidth-1:0] write_address_i,
  input  logic [8*Bytes-1:0]      write_data_i,
  input  logic                    read_i,
  input  logic [AddressWidth-1:0] read_address_i,
  output logic [8*Bytes-1:0]      read_data_o
);
  logic [8*Bytes-1:0] memory [0:Depth-1];
  logic [8*Bytes-1:0] read_data_q;

  for (genvar b = 0; b < Bytes; b++) begin : g_byte
    always_ff @(posedge clk_i) begin
      if (write_strobe_i[b]) memory[write_address_i][8*b +: 8] <= write_data_i[8*b +: 8];
    end
  end

  always_ff @(posedge clk_i) begin
    if (read_i) read_data_q <= memory[read_address_i];
  end

  assign read_data_o = read_data_q;
endmodule
