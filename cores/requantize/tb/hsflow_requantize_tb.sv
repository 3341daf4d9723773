// SPDX-License-Identifier: Apache-2.0
//
// hsflow_requantize_tb: self-checking testbench of hsflow_requantize, for the FuseSoC target `sim`.
//
// Every 12-bit accumulator through a rounding shift with ReLU, a negated left shift, and a signed range,
// against the formula in 32-bit arithmetic. Prints PASS or FAIL; a failure ends the run with an error.
module hsflow_requantize_tb;

  logic signed [11:0] acc;
  logic [7:0] relu, negated, both;
  int errors;

  hsflow_requantize #(
    .InWidth(12), .Bias(64'sd4), .Shift(3), .Low(0), .High(255), .OutWidth(8), .Negate(1'b0)
  ) u_relu (.acc_i(acc), .data_o(relu));

  hsflow_requantize #(
    .InWidth(12), .Bias(-64'sd7), .Shift(-1), .Low(-128), .High(127), .OutWidth(8), .Negate(1'b1)
  ) u_negated (.acc_i(acc), .data_o(negated));

  hsflow_requantize #(
    .InWidth(12), .Bias(64'sd100), .Shift(4), .Low(-100), .High(99), .OutWidth(8), .Negate(1'b0)
  ) u_both (.acc_i(acc), .data_o(both));

  function automatic int clamp(input int value, input int low, input int high);
    clamp = (value < low) ? low : (value > high) ? high : value;
  endfunction

  initial begin
    errors = 0;
    for (int i = -2048; i < 2048; i++) begin
      acc = 12'(i);
      #1;
      if (relu !== 8'(clamp((i + 4) >>> 3, 0, 255))) errors = errors + 1;
      if (negated !== 8'(clamp((-7 - i) * 2, -128, 127))) errors = errors + 1;
      if (both !== 8'(clamp((i + 100) >>> 4, -100, 99))) errors = errors + 1;
    end
    if (errors != 0) $fatal(1, "FAIL hsflow_requantize_tb");
    $display("PASS hsflow_requantize_tb");
    $finish;
  end

endmodule
