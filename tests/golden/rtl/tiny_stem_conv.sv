// SPDX-License-Identifier: Apache-2.0
//
// Layer 'stem.conv'
// convolution 3x3, 1x4x4 -> 2x4x4, u8.8 -> u8.11, 6 adders, depth 3, latency 3.
module tiny_stem_conv (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid_i,
  output logic ready_o,
  input  logic [7:0] data_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  localparam int Latency = 3;

  logic gathered_valid, gathered_ready;
  logic [71:0] gathered;
  hsflow_window #(
    .PixelWidth    (8),
    .Height        (4),
    .Width         (4),
    .BlockHeight   (1),
    .BlockWidth    (1),
    .KernelHeight  (3),
    .KernelWidth   (3),
    .StrideHeight  (1),
    .StrideWidth   (1),
    .DilationHeight(1),
    .DilationWidth (1),
    .PadTop        (1),
    .PadBottom     (1),
    .PadLeft       (1),
    .PadRight      (1),
    .PadValue      (8'h6d)
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
  tiny_stem_conv__kernel u_kernel (
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
