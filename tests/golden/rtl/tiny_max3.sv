// SPDX-License-Identifier: Apache-2.0
//
// Layer 'max3'
// max pool 2x2, stride 2, 2x4x4 -> 2x2x2, u8.3..5 -> u8.3..5, 0 adders, depth 0, latency 1.
module tiny_max3 (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid_i,
  output logic ready_o,
  input  logic [15:0] data_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  localparam int Latency = 1;

  logic gathered_valid, gathered_ready;
  logic [63:0] gathered;
  hsflow_window #(
    .PixelWidth    (16),
    .Height        (4),
    .Width         (4),
    .BlockHeight   (1),
    .BlockWidth    (1),
    .KernelHeight  (2),
    .KernelWidth   (2),
    .StrideHeight  (2),
    .StrideWidth   (2),
    .DilationHeight(1),
    .DilationWidth (1),
    .PadTop        (0),
    .PadBottom     (0),
    .PadLeft       (0),
    .PadRight      (0),
    .PadValue      (16'h0)
  ) u_window (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
    .valid_o(gathered_valid),
    .ready_i(gathered_ready),
    .data_o (gathered)
  );

  // The pipeline advances as a whole unless its end is stuck.
  logic [Latency-1:0] valid_q;
  logic enable, result_ready;
  assign enable         = result_ready | ~valid_q[Latency-1];
  assign gathered_ready = enable;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q <= '0;
    end else if (enable) begin
      valid_q <= Latency'({valid_q, gathered_valid});
    end
  end

  logic [15:0] result;
  tiny_max3__kernel u_kernel (
    .clk_i,
    .enable_i(enable),
    .data_i  (gathered),
    .data_o  (result)
  );

  hsflow_stream_register #(
    .Width(16)
  ) u_register (
    .clk_i,
    .rst_ni,
    .valid_i(valid_q[Latency-1]),
    .ready_o(result_ready),
    .data_i (result),
    .valid_o,
    .ready_i,
    .data_o
  );

endmodule
