// SPDX-License-Identifier: Apache-2.0
//
// hsflow_frame_guard: makes whole images of a packet stream from outside.
//
// Contract
//   * Exactly `Pixels` pixels an image leave at the output, whatever arrives.
//   * A packet of `Pixels` beats passes unchanged with latency 0; its verdict is drop = 0.
//   * A packet that ends early is filled up with zero pixels; its verdict is drop = 1.
//   * A packet that does not end at its last pixel gives an image with verdict drop = 1; its further
//     beats up to `last_i` are swallowed, one a cycle.
//   * One verdict for each image that left, shown from the cycle after its last pixel's transfer. Two
//     verdicts may wait; if they do, the next image's last pixel is held back.
//   * `error_o` is high for one cycle for each bad packet, the cycle after it was found.
//   * No valid waits for a ready; a pixel that is shown stays until it is taken.
module hsflow_frame_guard #(
  parameter int Width  = 8,
  parameter int Pixels = 16
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  input  logic             last_i,

  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o,

  output logic             verdict_valid_o,
  input  logic             verdict_ready_i,
  output logic             verdict_drop_o,

  output logic             error_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Width < 1 || Pixels < 1) begin : g_illegal
    $error("hsflow_frame_guard: Width and Pixels must be at least 1");
  end
`endif

  // The packet ended early: zeros come out. The packet is too long: nothing comes out.
  logic fill_q, swallow_q;
  logic final_pixel, verdict_free, open, pixel, beat, too_short, too_long;

  // The queue's room is a register and only grows until this pixel's transfer, so valid_o holds.
  assign open    = ~swallow_q & (~final_pixel | verdict_free);
  assign valid_o = open & (fill_q | valid_i);
  assign ready_o = swallow_q | (open & ~fill_q & ready_i);
  assign data_o  = fill_q ? '0 : data_i;

  assign pixel     = valid_o & ready_i;
  assign beat      = valid_i & ready_o;
  assign too_short = beat & ~swallow_q & last_i & ~final_pixel;
  assign too_long  = beat & ~swallow_q & ~last_i & final_pixel;

  if (Pixels == 1) begin : g_single
    assign final_pixel = 1'b1;
  end else begin : g_count
    localparam int CountWidth = $clog2(Pixels);
    logic [CountWidth-1:0] count_q;

    assign final_pixel = (count_q == CountWidth'(Pixels - 1));

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        count_q <= '0;
      end else if (pixel) begin
        count_q <= final_pixel ? '0 : count_q + CountWidth'(1);
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fill_q    <= 1'b0;
      swallow_q <= 1'b0;
      error_o   <= 1'b0;
    end else begin
      error_o <= too_short | too_long;
      if (too_short) begin
        fill_q <= 1'b1;
      end else if (pixel && final_pixel) begin
        fill_q <= 1'b0;
      end
      if (too_long) begin
        swallow_q <= 1'b1;
      end else if (beat && last_i) begin
        swallow_q <= 1'b0;
      end
    end
  end

  hsflow_stream_fifo #(
    .Width(1),
    .Depth(2)
  ) u_verdict (
    .clk_i,
    .rst_ni,
    .valid_i(pixel & final_pixel),
    .ready_o(verdict_free),
    .data_i (fill_q | too_long),
    .valid_o(verdict_valid_o),
    .ready_i(verdict_ready_i),
    .data_o (verdict_drop_o)
  );

endmodule
