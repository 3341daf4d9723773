// SPDX-License-Identifier: Apache-2.0
//
// Network 'tiny'
// 5 hardened layers, 1x4x4 in, 2x1x1 out,
// latency 37 cycles, one image every 16 cycles.
module tiny__network (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic valid_i,
  output logic ready_o,
  input  logic [7:0] data_i,

  output logic valid_o,
  input  logic ready_i,
  output logic [15:0] data_o
);

  logic image_valid, image_ready;
  logic [7:0] image_data;
  logic stem_conv__out_valid, stem_conv__out_ready;
  logic [15:0] stem_conv__out_data;
  logic stem_conv__out__fork1a_valid, stem_conv__out__fork1a_ready;
  logic [15:0] stem_conv__out__fork1a_data;
  logic stem_conv__out__fork1b_valid, stem_conv__out__fork1b_ready;
  logic [15:0] stem_conv__out__fork1b_data;
  logic left__out_valid, left__out_ready;
  logic [15:0] left__out_data;
  logic add2__fifo0_valid, add2__fifo0_ready;
  logic [15:0] add2__fifo0_data;
  logic add2__out_valid, add2__out_ready;
  logic [15:0] add2__out_data;
  logic max3__out_valid, max3__out_ready;
  logic [15:0] max3__out_data;
  logic average4__out_valid, average4__out_ready;
  logic [15:0] average4__out_data;

  assign image_valid = valid_i;
  assign ready_o = image_ready;
  assign image_data = data_i;

  tiny_stem_conv u_stem_conv (
    .clk_i,
    .rst_ni,
    .valid_i(image_valid),
    .ready_o(image_ready),
    .data_i (image_data),
    .valid_o(stem_conv__out_valid),
    .ready_i(stem_conv__out_ready),
    .data_o (stem_conv__out_data)
  );

  hsflow_stream_fork #(
    .Width(16)
  ) u_stem_conv__out__fork1 (
    .clk_i,
    .rst_ni,
    .valid_i (stem_conv__out_valid),
    .ready_o (stem_conv__out_ready),
    .data_i  (stem_conv__out_data),
    .valid0_o(stem_conv__out__fork1a_valid),
    .ready0_i(stem_conv__out__fork1a_ready),
    .valid1_o(stem_conv__out__fork1b_valid),
    .ready1_i(stem_conv__out__fork1b_ready),
    .data_o  (stem_conv__out__fork1a_data)
  );
  assign stem_conv__out__fork1b_data = stem_conv__out__fork1a_data;

  tiny_left u_left (
    .clk_i,
    .rst_ni,
    .valid_i(stem_conv__out__fork1a_valid),
    .ready_o(stem_conv__out__fork1a_ready),
    .data_i (stem_conv__out__fork1a_data),
    .valid_o(left__out_valid),
    .ready_i(left__out_ready),
    .data_o (left__out_data)
  );

  // As deep as the other side of the join is late.
  hsflow_stream_fifo #(
    .Width(16),
    .Depth(4)
  ) u_add2__fifo0 (
    .clk_i,
    .rst_ni,
    .valid_i(stem_conv__out__fork1b_valid),
    .ready_o(stem_conv__out__fork1b_ready),
    .data_i (stem_conv__out__fork1b_data),
    .valid_o(add2__fifo0_valid),
    .ready_i(add2__fifo0_ready),
    .data_o (add2__fifo0_data)
  );

  tiny_add2 u_add2 (
    .clk_i,
    .rst_ni,
    .valid0_i(add2__fifo0_valid),
    .ready0_o(add2__fifo0_ready),
    .data0_i (add2__fifo0_data),
    .valid1_i(left__out_valid),
    .ready1_o(left__out_ready),
    .data1_i (left__out_data),
    .valid_o(add2__out_valid),
    .ready_i(add2__out_ready),
    .data_o (add2__out_data)
  );

  tiny_max3 u_max3 (
    .clk_i,
    .rst_ni,
    .valid_i(add2__out_valid),
    .ready_o(add2__out_ready),
    .data_i (add2__out_data),
    .valid_o(max3__out_valid),
    .ready_i(max3__out_ready),
    .data_o (max3__out_data)
  );

  tiny_average4 u_average4 (
    .clk_i,
    .rst_ni,
    .valid_i(max3__out_valid),
    .ready_o(max3__out_ready),
    .data_i (max3__out_data),
    .valid_o(average4__out_valid),
    .ready_i(average4__out_ready),
    .data_o (average4__out_data)
  );

  assign valid_o = average4__out_valid;
  assign average4__out_ready = ready_i;
  assign data_o = average4__out_data;

endmodule
