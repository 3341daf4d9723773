// SPDX-License-Identifier: Apache-2.0
//
// hsflow_max: the largest of `Taps` pixels, channel by channel. Combinational.
//
// Contract
//   data_i holds Taps pixels of Channels numbers, tap-major, channel 0 lowest; data_o is one pixel. Numbers
//   are two's complement if Signed.
module hsflow_max #(
  parameter int Channels = 4,
  parameter int Width    = 8,
  parameter bit Signed   = 1'b0,
  parameter int Taps     = 4
) (
  input  logic [Taps*Channels*Width-1:0] data_i,
  output logic [Channels*Width-1:0]      data_o
);

  // Flipping the sign bit turns a signed comparison into an unsigned one.
  localparam logic [Width-1:0] Flip = Width'(Signed) << (Width - 1);

  for (genvar c = 0; c < Channels; c++) begin : g_channel
    logic [Width-1:0] highest;
    always_comb begin
      highest = data_i[c*Width+:Width];
      for (int t = 1; t < Taps; t++) begin
        if ((data_i[(t*Channels+c)*Width+:Width] ^ Flip) > (highest ^ Flip)) begin
          highest = data_i[(t*Channels+c)*Width+:Width];
        end
      end
    end
    assign data_o[c*Width+:Width] = highest;
  end

endmodule
