// SPDX-License-Identifier: Apache-2.0
//
// hsflow_add_pixels: the sum of one channel over `Pixels` pixels, in so many pipeline stages.
//
// Contract
//   data_i holds Pixels numbers of Width bits side by side, two's complement if Signed; data_o is
//   their sum in SumWidth bits: exact where MaxWidth leaves room for it, else modulo 2**MaxWidth,
//   Stages cycles later, of those in which enable_i is high.
//
// A balanced tree: each level adds the sums of the level before in pairs, one bit wider. Each of
// the first Stages * LevelsPerStage levels whose number LevelsPerStage divides has a register.
module hsflow_add_pixels #(
  parameter int Pixels         = 4,
  parameter int Width          = 8,
  parameter bit Signed         = 1'b0,
  parameter int MaxWidth       = 10,
  parameter int LevelsPerStage = 2,
  parameter int Stages         = 0,
  localparam int SumWidth =
      (Width + $clog2(Pixels) < MaxWidth) ? Width + $clog2(Pixels) : MaxWidth
) (
  input  logic                    clk_i,
  input  logic                    enable_i,
  input  logic [Pixels*Width-1:0] data_i,
  output logic [SumWidth-1:0]     data_o
);

`ifndef __ICARUS__ // It has no elaboration tasks.
  if (Pixels < 1 || Width < 1 || MaxWidth < Width || LevelsPerStage < 1) begin : g_illegal
    $error("hsflow_add_pixels: sizes must be at least 1 and MaxWidth at least Width");
  end
  if (Stages < 0 || Stages * LevelsPerStage > $clog2(Pixels)) begin : g_illegal_stages
    $error("hsflow_add_pixels: there are not as many levels as Stages need");
  end
`endif

  localparam int Levels = $clog2(Pixels);

  if (Stages == 0) begin : g_combinational
    logic unused;
    assign unused = clk_i && enable_i;
  end

  for (genvar l = 0; l <= Levels; l++) begin : g_level
    // A level has half as many sums as the one before, rounded up.
    localparam int Sums = (Pixels + (1 << l) - 1) >> l;
    localparam int Bits = (Width + l < MaxWidth) ? Width + l : MaxWidth;
    logic [Sums*Bits-1:0] added, sums;

    if (l == 0) begin : g_first
      assign added = data_i;
    end else begin : g_next
      localparam int Terms    = (Pixels + (1 << (l - 1)) - 1) >> (l - 1);
      localparam int TermBits = (Width + l - 1 < MaxWidth) ? Width + l - 1 : MaxWidth;
      logic [Terms*Bits-1:0] terms;

      for (genvar i = 0; i < Terms; i++) begin : g_term
        if (Bits > TermBits) begin : g_extend
          assign terms[i*Bits +: Bits] = {
            Signed ? g_level[l-1].sums[i*TermBits + TermBits - 1] : 1'b0,
            g_level[l-1].sums[i*TermBits +: TermBits]
          };
        end else begin : g_same
          assign terms[i*Bits +: Bits] = g_level[l-1].sums[i*TermBits +: TermBits];
        end
      end

      for (genvar i = 0; i < Sums; i++) begin : g_sum
        if (2 * i + 1 < Terms) begin : g_pair
          assign added[i*Bits +: Bits] =
              terms[2*i*Bits +: Bits] + terms[(2*i + 1)*Bits +: Bits];
        end else begin : g_odd
          assign added[i*Bits +: Bits] = terms[2*i*Bits +: Bits];
        end
      end
    end

    if (l > 0 && l <= Stages * LevelsPerStage && l % LevelsPerStage == 0) begin : g_register
      always_ff @(posedge clk_i) begin
        if (enable_i) sums <= added;
      end
    end else begin : g_wire
      assign sums = added;
    end
  end

  assign data_o = g_level[Levels].sums;

endmodule
