// SPDX-License-Identifier: Apache-2.0
// Sends one row of sums a class at a time: adds the bias, finds the argmax, ends the packet.
//
// A row of `ClassLanes` sums is loaded at once and shifted out while the array computes the next
// row. The bias is added here, one adder for all classes, instead of starting each accumulator
// from it: arithmetic modulo 2**32 makes both the same integer. `bias_i` must be the bias of
// class `bias_class_o` of the cycle before.
module hsflow_npu_drain #(
  parameter int Classes = 10,
  parameter int ClassLanes = 1,
  // Derived; do not override.
  parameter int ClassWidth = (Classes > 1) ? $clog2(Classes) : 1
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     load_i,
  output logic                     load_ready_o,
  input  logic [32*ClassLanes-1:0] row_i,
  output logic [ClassWidth-1:0]    bias_class_o,
  input  logic [31:0]              bias_i,
  output logic                     row_valid_o,
  output logic                     valid_o,
  input  logic                     ready_i,
  output logic [31:0]              data_o,
  output logic [15:0]              user_o,
  output logic                     last_o
);
  localparam int LaneWidth = (ClassLanes > 1) ? $clog2(ClassLanes) : 1;
  localparam logic [ClassWidth-1:0] LastClass = ClassWidth'(Classes - 1);
  localparam logic [LaneWidth-1:0] LastLane = LaneWidth'(ClassLanes - 1);

  // The row that leaves, lane by lane.
  logic                     row_valid_q;
  logic [32*ClassLanes-1:0] row_q;
  logic [32*ClassLanes-1:0] row_shifted;
  logic [LaneWidth-1:0]     lane_q;
  logic [ClassWidth-1:0]    class_q;
  logic [ClassWidth-1:0]    class_next;
  logic                     move;
  logic                     row_ends;

  // The logit, and the best one before it.
  logic                  logit_valid_q;
  logic [31:0]           logit_q;
  logic [ClassWidth-1:0] logit_class_q;
  logic                  logit_ready;
  logic [31:0]           best_q;
  logic [ClassWidth-1:0] best_class_q;
  logic                  better;
  logic [ClassWidth-1:0] winner;
  logic                  last;

  assign logit_ready = !logit_valid_q || ready_i;
  assign move = row_valid_q && logit_ready;
  assign row_ends = lane_q == LastLane || class_q == LastClass;
  assign load_ready_o = !row_valid_q || (move && row_ends);
  assign row_valid_o = row_valid_q;
  assign class_next = (class_q == LastClass) ? '0 : class_q + ClassWidth'(1);
  assign bias_class_o = move ? class_next : class_q;

  if (ClassLanes > 1) begin : g_shift
    assign row_shifted = {32'd0, row_q[32*ClassLanes-1:32]};
  end else begin : g_no_shift
    assign row_shifted = row_q;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      row_valid_q <= 1'b0;
      lane_q      <= '0;
      class_q     <= '0;
    end else begin
      row_valid_q <= load_i || (row_valid_q && !(move && row_ends));
      if (move) lane_q <= row_ends ? '0 : lane_q + LaneWidth'(1);
      if (move) class_q <= class_next;
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i) row_q <= row_i;
    else if (move) row_q <= row_shifted;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) logit_valid_q <= 1'b0;
    else if (logit_ready) logit_valid_q <= row_valid_q;
  end

  always_ff @(posedge clk_i) begin
    if (move) begin
      logit_q       <= row_q[31:0] + bias_i;
      logit_class_q <= class_q;
    end
  end

  assign better = logit_class_q == '0 || $signed(logit_q) > $signed(best_q);
  assign winner = better ? logit_class_q : best_class_q;
  assign last = logit_class_q == LastClass;

  always_ff @(posedge clk_i) begin
    if (logit_valid_q && ready_i && better) begin
      best_q       <= logit_q;
      best_class_q <= logit_class_q;
    end
  end

  assign valid_o = logit_valid_q;
  assign data_o = logit_q;
  assign user_o = last ? 16'(winner) : 16'd0;
  assign last_o = last;
endmodule
