// SPDX-License-Identifier: Apache-2.0
//
// hsflow_stream_fifo: a first-in first-out queue of `Depth` words, any Depth >= 1.
//
// Contract
//   * Latency 1: a word taken in cycle t into an empty queue is shown in cycle t + 1.
//   * Full throughput. For Depth >= 2 `ready_o` comes from a register; for Depth = 1 it follows
//     `ready_i` in the same cycle, since one word could not move every cycle otherwise.
//   * `data_o` is read from the memory without a clock, so large queues become distributed memory.
module hsflow_stream_fifo #(
  parameter int Width = 8,
  parameter int Depth = 4
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,

  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Width < 1 || Depth < 1) begin : g_illegal
    $error("hsflow_stream_fifo: Width and Depth must be at least 1");
  end
`endif

  logic push, pop;

  assign push = valid_i & ready_o;
  assign pop  = valid_o & ready_i;

  if (Depth == 1) begin : g_register
    assign ready_o = ~valid_o | ready_i;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        valid_o <= 1'b0;
      end else if (push | pop) begin
        valid_o <= push;
      end
    end

    always_ff @(posedge clk_i) begin
      if (push) data_o <= data_i;
    end
  end else begin : g_memory
    localparam int PointerWidth = $clog2(Depth);
    localparam int CountWidth   = $clog2(Depth + 1);
    localparam logic [PointerWidth-1:0] LastPointer = PointerWidth'(Depth - 1);

    logic [Width-1:0] memory_q [0:Depth-1];
    logic [PointerWidth-1:0] write_q, read_q;
    logic [CountWidth-1:0] count_q;

    assign ready_o = (count_q != CountWidth'(Depth));
    assign valid_o = (count_q != '0);
    assign data_o  = memory_q[read_q];

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        write_q <= '0;
        read_q  <= '0;
        count_q <= '0;
      end else begin
        if (push) write_q <= (write_q == LastPointer) ? '0 : write_q + PointerWidth'(1);
        if (pop) read_q <= (read_q == LastPointer) ? '0 : read_q + PointerWidth'(1);
        if (push && !pop) count_q <= count_q + CountWidth'(1);
        if (!push && pop) count_q <= count_q - CountWidth'(1);
      end
    end

    always_ff @(posedge clk_i) begin
      if (push) memory_q[write_q] <= data_i;
    end
  end

endmodule
