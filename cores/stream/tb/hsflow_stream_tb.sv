// SPDX-License-Identifier: Apache-2.0
//
// hsflow_stream_tb: self-checking testbench of the stream library, for the FuseSoC target `sim`.
//
// Two chains under random gaps and backpressure:
//   counter -> fork -> (register, FIFO) -> join: both halves must carry the counter;
//   packets of 4, 3, 6, 4, ... beats -> guard -> FIFO -> filter -> accumulate: only the sums of the
//   packets of 4 beats may come out.
// Prints PASS or FAIL; a failure ends the run with an error.
module hsflow_stream_tb;

  localparam int Pixels = 4;
  localparam int Rounds = 200;

  logic clk, rst_n;
  logic [31:0] random_q;
  int pairs_q, sums_q, packet_q, errors_q, cycles_q;
  logic failed;

  initial begin
    clk = 1'b0;
    rst_n = 1'b0;
    #22 rst_n = 1'b1;
  end

  always #5 clk = ~clk;

  // xorshift
  function automatic logic [31:0] next_random(input logic [31:0] x);
    logic [31:0] y, z;
    y = x ^ (x << 13);
    z = y ^ (y >> 17);
    next_random = z ^ (z << 5);
  endfunction

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) random_q <= 32'h1234_5678;
    else random_q <= next_random(random_q);
  end

  // Chain 1.
  logic count_valid, count_ready;
  logic [7:0] count_q, fork_data, low_data, high_data;
  logic valid0, ready0, valid1, ready1, low_valid, low_ready, high_valid, high_ready;
  logic pair_valid, pair_ready;
  logic [15:0] pair_data;

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      count_valid <= 1'b0;
      count_q     <= '0;
      pair_ready  <= 1'b0;
    end else begin
      if (!count_valid || count_ready) count_valid <= random_q[0];
      if (count_valid && count_ready) count_q <= count_q + 8'd1;
      pair_ready <= random_q[3];
    end
  end

  hsflow_stream_fork #(.Width(8)) u_fork (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(count_valid), .ready_o(count_ready), .data_i(count_q),
    .valid0_o(valid0), .ready0_i(ready0), .valid1_o(valid1), .ready1_i(ready1), .data_o(fork_data)
  );

  hsflow_stream_register #(.Width(8)) u_register (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(valid0), .ready_o(ready0), .data_i(fork_data),
    .valid_o(low_valid), .ready_i(low_ready), .data_o(low_data)
  );

  hsflow_stream_fifo #(.Width(8), .Depth(3)) u_fifo (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(valid1), .ready_o(ready1), .data_i(fork_data),
    .valid_o(high_valid), .ready_i(high_ready), .data_o(high_data)
  );

  hsflow_stream_join #(.Width0(8), .Width1(8)) u_join (
    .valid0_i(low_valid), .ready0_o(low_ready), .data0_i(low_data),
    .valid1_i(high_valid), .ready1_o(high_ready), .data1_i(high_data),
    .valid_o(pair_valid), .ready_i(pair_ready), .data_o(pair_data)
  );

  // Chain 2. Beat b of packet p carries p + b.
  logic beat_valid, beat_ready, beat_last;
  logic [7:0] beat_data;
  int beat_q, length;
  logic pixel_valid, pixel_ready, held_valid, held_ready, kept_valid, kept_ready, kept_last;
  logic [7:0] pixel_data, held_data, kept_data;
  logic verdict_valid, verdict_ready, verdict_drop, packet_error;
  logic drop_valid, drop_ready, drop;
  logic sum_valid, sum_ready;
  logic [9:0] sum_data;
  int held_q, kept_packet_q, error_pulses_q;

  always_comb begin
    case (packet_q % 4)
      1:       length = Pixels - 1;
      2:       length = Pixels + 2;
      default: length = Pixels;
    endcase
  end

  assign beat_data = 8'(packet_q % 64 + beat_q);
  assign beat_last = (beat_q == length - 1);

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      beat_valid <= 1'b0;
      packet_q   <= 0;
      beat_q     <= 0;
      held_q     <= 0;
      sum_ready  <= 1'b0;
    end else begin
      if (!beat_valid || beat_ready) beat_valid <= random_q[7] | random_q[9];
      if (beat_valid && beat_ready) begin
        beat_q <= beat_last ? 0 : beat_q + 1;
        if (beat_last) packet_q <= packet_q + 1;
      end
      if (held_valid && held_ready) held_q <= (held_q == Pixels - 1) ? 0 : held_q + 1;
      sum_ready <= random_q[12];
    end
  end

  hsflow_frame_guard #(.Width(8), .Pixels(Pixels)) u_guard (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(beat_valid), .ready_o(beat_ready), .data_i(beat_data), .last_i(beat_last),
    .valid_o(pixel_valid), .ready_i(pixel_ready), .data_o(pixel_data),
    .verdict_valid_o(verdict_valid), .verdict_ready_i(verdict_ready), .verdict_drop_o(verdict_drop),
    .error_o(packet_error)
  );

  hsflow_stream_fifo #(.Width(8), .Depth(6)) u_pixels (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(pixel_valid), .ready_o(pixel_ready), .data_i(pixel_data),
    .valid_o(held_valid), .ready_i(held_ready), .data_o(held_data)
  );

  hsflow_stream_fifo #(.Width(1), .Depth(1)) u_verdicts (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(verdict_valid), .ready_o(verdict_ready), .data_i(verdict_drop),
    .valid_o(drop_valid), .ready_i(drop_ready), .data_o(drop)
  );

  hsflow_frame_filter #(.Width(8)) u_filter (
    .valid_i(held_valid), .ready_o(held_ready), .data_i(held_data), .last_i(held_q == Pixels - 1),
    .verdict_valid_i(drop_valid), .verdict_ready_o(drop_ready), .verdict_drop_i(drop),
    .valid_o(kept_valid), .ready_i(kept_ready), .data_o(kept_data), .last_o(kept_last)
  );

  hsflow_accumulate #(
    .Channels(1), .InWidth(8), .Signed(1'b0), .Pixels(Pixels), .OutWidth(10)
  ) u_accumulate (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(kept_valid), .ready_o(kept_ready), .data_i(kept_data),
    .valid_o(sum_valid), .ready_i(sum_ready), .data_o(sum_data)
  );

  // Checks. Of four packets the first and the last are good.
  logic pair_wrong, sum_wrong, last_wrong;

  assign pair_wrong = pair_valid & pair_ready & (pair_data != {2{8'(pairs_q)}});
  assign sum_wrong  = sum_valid & sum_ready & (sum_data != 10'(4 * (kept_packet_q % 64) + 6));
  assign last_wrong = kept_valid & (kept_last != (held_q == Pixels - 1));

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      pairs_q        <= 0;
      sums_q         <= 0;
      kept_packet_q  <= 0;
      errors_q       <= 0;
      error_pulses_q <= 0;
      cycles_q       <= 0;
    end else begin
      cycles_q <= cycles_q + 1;
      if (pair_valid && pair_ready) pairs_q <= pairs_q + 1;
      if (sum_valid && sum_ready) begin
        sums_q        <= sums_q + 1;
        kept_packet_q <= kept_packet_q + ((kept_packet_q % 4 == 0) ? 3 : 1);
      end
      if (packet_error) error_pulses_q <= error_pulses_q + 1;
      if (pair_wrong || sum_wrong || last_wrong) errors_q <= errors_q + 1;
    end
  end

  assign failed = (errors_q != 0) || (pairs_q < Rounds) || (error_pulses_q < Rounds / 2);

  always @(posedge clk) begin
    if (sums_q == Rounds || cycles_q == 100 * Rounds) begin
      if (failed || sums_q != Rounds) $fatal(1, "FAIL hsflow_stream_tb");
      $display("PASS hsflow_stream_tb");
      $finish;
    end
  end

endmodule
