// SPDX-License-Identifier: Apache-2.0
//
// hsflow_max: the largest of `Taps` pixels, channel by channel, in so many pipeline stages.
//
// Contract
//   data_i holds Taps pixels of Channels numbers, tap-major, channel 0 lowest; data_o is one pixel,
//   Stages cycles later, of those in which enable_i is high. Numbers are two's complement if Signed.
//
// A balanced tree: each level keeps the larger ones of the level before, in pairs. Each of the first
// Stages * LevelsPerStage levels whose number LevelsPerStage divides has a register.
module hsflow_max #(
  parameter int Channels       = 4,
  parameter int Width          = 8,
  parameter bit Signed         = 1'b0,
  parameter int Taps           = 4,
  parameter int LevelsPerStage = 2,
  parameter int Stages         = 0
) (
  input  logic                           clk_i,
  input  logic                           enable_i,
  input  logic [Taps*Channels*Width-1:0] data_i,
  output logic [Channels*Width-1:0]      data_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Channels < 1 || Width < 1 || Taps < 1 || LevelsPerStage < 1) begin : g_illegal
    $error("hsflow_max: sizes must be at least 1");
  end
  if (Stages < 0 || Stages * LevelsPerStage > $clog2(Taps)) begin : g_illegal_stages
    $error("hsflow_max: there are not as many levels as Stages need");
  end
`endif

  localparam int Levels     = $clog2(Taps);
  localparam int PixelWidth = Channels * Width;
  // Flipping the sign bit turns a signed comparison into an unsigned one.
  localparam logic [Width-1:0] Flip = Width'(Signed) << (Width - 1);

  if (Stages == 0) begin : g_combinational
    logic unused;
    assign unused = clk_i && enable_i;
  end

  for (genvar l = 0; l <= Levels; l++) begin : g_level
    // A level has half as many pixels as the one before, rounded up.
    localparam int Pixels = (Taps + (1 << l) - 1) >> l;
    logic [Pixels*PixelWidth-1:0] chosen, pixels;

    if (l == 0) begin : g_first
      assign chosen = data_i;
    end else begin : g_next
      localparam int Before = (Taps + (1 << (l - 1)) - 1) >> (l - 1);

      for (genvar i = 0; i < Pixels; i++) begin : g_pixel
        for (genvar c = 0; c < Channels; c++) begin : g_channel
          localparam int Low = 2 * i * PixelWidth + c * Width;
          if (2 * i + 1 < Before) begin : g_pair
            logic [Width-1:0] one, other;
            assign one   = g_level[l-1].pixels[Low +: Width];
            assign other = g_level[l-1].pixels[Low + PixelWidth +: Width];
            assign chosen[i*PixelWidth + c*Width +: Width] =
                ((other ^ Flip) > (one ^ Flip)) ? other : one;
          end else begin : g_odd
            assign chosen[i*PixelWidth + c*Width +: Width] = g_level[l-1].pixels[Low +: Width];
          end
        end
      end
    end

    if (l > 0 && l <= Stages * LevelsPerStage && l % LevelsPerStage == 0) begin : g_register
      always_ff @(posedge clk_i) begin
        if (enable_i) pixels <= chosen;
      end
    end else begin : g_wire
      assign pixels = chosen;
    end
  end

  assign data_o = g_level[Levels].pixels;

endmodule
