// SPDX-License-Identifier: Apache-2.0
// Double buffer of the input vectors: one image fills while the other feeds the multipliers.
//
// `take_i` moves a full image from the fill side to the active side in one cycle; the fill side
// accepts the first vector of the next image in that same cycle. The active side shows
// `FeatureLanes` features in its low bits and rotates by as many with each `rotate_i`, so that
// after `Groups` rotations it is where it began, ready for the next tile of classes. Features
// past the last one are zero.
module hsflow_npu_input #(
  parameter int Tokens = 1,
  parameter int Channels = 8,
  parameter int FeatureLanes = 1,
  parameter int ActivationWidth = 8
) (
  input  logic                                    clk_i,
  input  logic                                    rst_ni,
  input  logic                                    valid_i,
  output logic                                    ready_o,
  input  logic [Channels*ActivationWidth-1:0]     data_i,
  output logic                                    full_o,
  output logic                                    empty_o,
  input  logic                                    take_i,
  input  logic                                    rotate_i,
  output logic [FeatureLanes*ActivationWidth-1:0] activation_o
);
  localparam int VectorBits = Channels * ActivationWidth;
  localparam int ImageBits = Tokens * VectorBits;
  localparam int StepBits = FeatureLanes * ActivationWidth;
  localparam int Groups = (Tokens * Channels + FeatureLanes - 1) / FeatureLanes;
  localparam int PaddedBits = Groups * StepBits;
  localparam int CountWidth = (Tokens > 1) ? $clog2(Tokens) : 1;
  localparam logic [CountWidth-1:0] LastToken = CountWidth'(Tokens - 1);

  logic                  transfer;
  logic                  full_q;
  logic [CountWidth-1:0] token_q;
  logic [ImageBits-1:0]  fill_q;
  logic [PaddedBits-1:0] loaded;
  logic [PaddedBits-1:0] rotated;
  logic [PaddedBits-1:0] active_q;

  assign ready_o = !full_q || take_i;
  assign full_o = full_q;
  assign empty_o = !full_q && token_q == '0;
  assign transfer = valid_i && ready_o;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      full_q  <= 1'b0;
      token_q <= '0;
    end else begin
      full_q <= (transfer && token_q == LastToken) || (full_q && !take_i);
      if (transfer) token_q <= (token_q == LastToken) ? '0 : token_q + CountWidth'(1);
    end
  end

  for (genvar t = 0; t < Tokens; t++) begin : g_token
    always_ff @(posedge clk_i) begin
      if (transfer && token_q == CountWidth'(t)) fill_q[t*VectorBits +: VectorBits] <= data_i;
    end
  end

  if (PaddedBits > ImageBits) begin : g_padding
    assign loaded = {{(PaddedBits - ImageBits){1'b0}}, fill_q};
  end else begin : g_no_padding
    assign loaded = fill_q;
  end

  if (Groups > 1) begin : g_rotate
    assign rotated = {active_q[StepBits-1:0], active_q[PaddedBits-1:StepBits]};
  end else begin : g_still
    assign rotated = active_q;
  end

  always_ff @(posedge clk_i) begin
    if (take_i) active_q <= loaded;
    else if (rotate_i) active_q <= rotated;
  end

  assign activation_o = active_q[StepBits-1:0];
endmodule
