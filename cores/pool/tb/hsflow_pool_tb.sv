// SPDX-License-Identifier: Apache-2.0
//
// hsflow_pool_tb: self-checking testbench of hsflow_max, for the FuseSoC target `sim`.
//
// Every pair of 4-bit numbers as two taps of one channel, signed and unsigned, with a second channel that holds
// the same numbers in the other order; and, with registers, as the second and third of three taps that lie
// below them, stalled every other cycle. Prints PASS or FAIL; a failure ends the run with an error.
module hsflow_pool_tb;

  logic [3:0] a, b;
  logic [7:0] plain, signed_, late;
  logic clk, enable;
  int errors;

  hsflow_max #(
    .Channels(2), .Width(4), .Signed(1'b0), .Taps(2)
  ) u_plain (.clk_i(clk), .enable_i(enable), .data_i({a, b, b, a}), .data_o(plain));

  hsflow_max #(
    .Channels(2), .Width(4), .Signed(1'b1), .Taps(2)
  ) u_signed (.clk_i(clk), .enable_i(enable), .data_i({a, b, b, a}), .data_o(signed_));

  hsflow_max #(
    .Channels(2), .Width(4), .Signed(1'b1), .Taps(3), .LevelsPerStage(1), .Stages(2)
  ) u_late (.clk_i(clk), .enable_i(enable), .data_i({a, b, b, a, 8'h88}), .data_o(late));

  function automatic int larger(input int x, input int y);
    larger = (x > y) ? x : y;
  endfunction

  task automatic tick(input logic enabled);
    enable = enabled;
    #1 clk = 1'b1;
    #1 clk = 1'b0;
  endtask

  initial begin
    errors = 0;
    clk    = 1'b0;
    for (int i = 0; i < 16; i++) begin
      for (int j = 0; j < 16; j++) begin
        a = 4'(i);
        b = 4'(j);
        tick(1'b1);
        if (plain !== {2{4'(larger(i, j))}}) errors = errors + 1;
        if (signed_ !== {2{4'(larger((i ^ 8) - 8, (j ^ 8) - 8))}}) errors = errors + 1;
        // What comes while nothing moves must not be seen.
        a = ~a;
        tick(1'b0);
        tick(1'b1);
        if (late !== {2{4'(larger((i ^ 8) - 8, (j ^ 8) - 8))}}) errors = errors + 1;
      end
    end
    if (errors != 0) $fatal(1, "FAIL hsflow_pool_tb");
    $display("PASS hsflow_pool_tb");
    $finish;
  end

endmodule
