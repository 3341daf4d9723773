// SPDX-License-Identifier: Apache-2.0
//
// hsflow_line_buffer: a delay line of exactly `Depth` shifts.
//
// Contract
//   * `data_o` is the `data_i` of `Depth` shifts ago. It can be read before (and in) the cycle of the
//     shift that replaces it; it changes only by a shift.
//   * Nothing moves while `shift_i` is low.
//   * The content after reset is not defined; the user masks what it has not written yet.
//
// A circular memory with one pointer, read and written at the same address; one register if Depth = 1.
module hsflow_line_buffer #(
  parameter int Width = 8,
  parameter int Depth = 4
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             shift_i,
  input  logic [Width-1:0] data_i,
  output logic [Width-1:0] data_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Width < 1 || Depth < 1) begin : g_illegal
    $error("hsflow_line_buffer: Width and Depth must be at least 1");
  end
`endif

  if (Depth == 1) begin : g_register
    logic [Width-1:0] data_q;

    always_ff @(posedge clk_i) begin
      if (shift_i) data_q <= data_i;
    end

    assign data_o = data_q;

    // One word needs no pointer, so there is nothing to reset.
    logic unused_rst_n;
    assign unused_rst_n = rst_ni;
  end else begin : g_memory
    localparam int PointerWidth = $clog2(Depth);
    localparam logic [PointerWidth-1:0] LastPointer = PointerWidth'(Depth - 1);

    logic [Width-1:0] memory_q [0:Depth-1];
    logic [PointerWidth-1:0] pointer_q;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        pointer_q <= '0;
      end else if (shift_i) begin
        pointer_q <= (pointer_q == LastPointer) ? '0 : pointer_q + PointerWidth'(1);
      end
    end

    always_ff @(posedge clk_i) begin
      if (shift_i) memory_q[pointer_q] <= data_i;
    end

    assign data_o = memory_q[pointer_q];
  end

endmodule
