// SPDX-License-Identifier: Apache-2.0
// Sends one row of sums `LogitLanes` classes at a time; hsflow_npu_drain sends one class.
//
// The sums are packed into beats of LogitLanes classes, get their biases, and wait for the largest
// of their beat, found by a registered tree of ceil(log4(LogitLanes)) stages; the largest of all
// beats leaves with the last one, whose lanes past the last class are 0. Lane l of `bias_i` must
// be the bias of class `bias_beat_o` * LogitLanes + l of the cycle before.
module hsflow_npu_drain_wide #(
  parameter int Classes = 10,
  parameter int ClassLanes = 4,
  parameter int LogitLanes = 2,
  // Derived; do not override.
  parameter int Beats = (Classes + LogitLanes - 1) / LogitLanes,
  parameter int BeatWidth = (Beats > 1) ? $clog2(Beats) : 1
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     load_i,
  output logic                     load_ready_o,
  input  logic [32*ClassLanes-1:0] row_i,
  output logic [BeatWidth-1:0]     bias_beat_o,
  input  logic [32*LogitLanes-1:0] bias_i,
  // Sums wait for their biases; logits are on their way.
  output logic                     row_valid_o,
  output logic                     busy_o,
  output logic                     valid_o,
  input  logic                     ready_i,
  output logic [32*LogitLanes-1:0] data_o,
  output logic [15:0]              user_o,
  output logic                     last_o
);
  localparam int Stages = ($clog2(LogitLanes) + 1) / 2;
  localparam int LaneWidth = $clog2(LogitLanes);
  localparam int LastLanes = Classes - (Beats - 1) * LogitLanes;
  localparam logic [BeatWidth-1:0] LastBeat = BeatWidth'(Beats - 1);
  localparam logic [31:0] Lowest = 32'h8000_0000;

  logic                          advance;
  logic                          sum_valid;
  logic [32*LogitLanes-1:0]      sum;

  // The beat that gets its biases, and its logits.
  logic [BeatWidth-1:0]          beat_q;
  logic [BeatWidth-1:0]          beat_next;
  logic                          add;
  logic [32*LogitLanes-1:0]      logit_q;
  logic                          logit_last_q;
  logic [32*LogitLanes-1:0]      candidate;
  logic [LaneWidth*LogitLanes-1:0] lane;

  // The same beats as they go by the tree, the first one in the low bits.
  logic [Stages:0]               valid_q;
  logic [32*LogitLanes*Stages-1:0] delay_q;

  // The beat that leaves, its largest logit, and the largest one of the beats before.
  logic [BeatWidth-1:0]          leaving_q;
  logic [15:0]                   base_q;
  logic [31:0]                   largest;
  logic [LaneWidth-1:0]          largest_lane;
  logic [31:0]                   best_q;
  logic [15:0]                   best_class_q;
  logic                          beats_best;
  logic [15:0]                   winner;
  logic                          leave;

  hsflow_npu_pack #(
    .Classes(Classes),
    .ClassLanes(ClassLanes),
    .LogitLanes(LogitLanes)
  ) u_pack (
    .clk_i,
    .rst_ni,
    .advance_i(advance),
    .load_i,
    .load_ready_o,
    .row_i,
    .busy_o(row_valid_o),
    .valid_o(sum_valid),
    .sum_o(sum)
  );

  assign advance = !valid_o || ready_i;
  assign add = sum_valid && advance;
  assign beat_next = (beat_q == LastBeat) ? '0 : beat_q + BeatWidth'(1);
  assign bias_beat_o = add ? beat_next : beat_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat_q  <= '0;
      valid_q <= '0;
    end else begin
      if (add) beat_q <= beat_next;
      if (advance) valid_q <= {valid_q[Stages-1:0], sum_valid};
    end
  end

  for (genvar i = 0; i < LogitLanes; i++) begin : g_lane
    // A lane without a class in the last beat: 0, and never the largest.
    logic pad;

    assign pad = (i >= LastLanes) && beat_q == LastBeat;
    assign lane[LaneWidth*i +: LaneWidth] = LaneWidth'(i);

    always_ff @(posedge clk_i) begin
      if (add) logit_q[32*i +: 32] <= pad ? 32'd0 : sum[32*i +: 32] + bias_i[32*i +: 32];
    end

    if (i >= LastLanes) begin : g_ends
      assign candidate[32*i +: 32] = logit_last_q ? Lowest : logit_q[32*i +: 32];
    end else begin : g_whole
      assign candidate[32*i +: 32] = logit_q[32*i +: 32];
    end
  end

  always_ff @(posedge clk_i) begin
    if (add) logit_last_q <= beat_q == LastBeat;
  end

  if (LastLanes == LogitLanes) begin : g_no_padding
    logic unused_last;
    assign unused_last = logit_last_q;
  end

  hsflow_npu_argmax #(
    .Terms(LogitLanes),
    .IndexWidth(LaneWidth)
  ) u_argmax (
    .clk_i,
    .advance_i(advance),
    .value_i(candidate),
    .index_i(lane),
    .value_o(largest),
    .index_o(largest_lane)
  );

  if (Stages > 1) begin : g_delay
    always_ff @(posedge clk_i) begin
      if (advance) delay_q <= {delay_q[32*LogitLanes*(Stages-1)-1:0], logit_q};
    end
  end else begin : g_short_delay
    always_ff @(posedge clk_i) begin
      if (advance) delay_q <= logit_q;
    end
  end

  assign leave = valid_o && ready_i;
  assign beats_best = leaving_q == '0 || $signed(largest) > $signed(best_q);
  assign winner = beats_best ? base_q + 16'(largest_lane) : best_class_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      leaving_q <= '0;
      base_q    <= '0;
    end else if (leave) begin
      leaving_q <= last_o ? '0 : leaving_q + BeatWidth'(1);
      base_q    <= last_o ? '0 : base_q + 16'(LogitLanes);
    end
  end

  always_ff @(posedge clk_i) begin
    if (leave && beats_best) best_q <= largest;
    if (leave) best_class_q <= winner;
  end

  assign busy_o = valid_q != '0;
  assign valid_o = valid_q[Stages];
  assign data_o = delay_q[32*LogitLanes*(Stages-1) +: 32*LogitLanes];
  assign last_o = leaving_q == LastBeat;
  assign user_o = last_o ? winner : 16'd0;
endmodule
