// SPDX-License-Identifier: Apache-2.0
//
// hsflow_window_tb: self-checking testbench of hsflow_window, for the FuseSoC target `sim`.
//
// Images whose pixels are numbered go through a padded window in blocks of 2x2 pixels, under random
// gaps and backpressure; each pixel of a patch is compared with the number that its place in the
// image has, or the padding.
// Prints PASS or FAIL; a failure ends the run with an error. tests/cosim holds the wide sweep.
module hsflow_window_tb;

  localparam int Height  = 6;
  localparam int Width   = 8;
  localparam int Block   = 2;
  localparam int Kernel  = 3;
  localparam int Patch   = Block - 1 + Kernel;
  localparam int Rows    = Height / Block;
  localparam int Columns = Width / Block;
  localparam int Images  = 20;
  localparam logic [15:0] PadValue = 16'hffff;

  logic clk, rst_n, valid_in, ready_in, valid_out, ready_out;
  logic [15:0] block_q;
  logic [Block*Block*16-1:0] pixels;
  logic [Patch*Patch*16-1:0] patch;
  logic [31:0] random_q;
  int row_q, column_q, image_q, errors_q, cycles_q;

  initial begin
    clk = 1'b0;
    rst_n = 1'b0;
    #22 rst_n = 1'b1;
  end

  always #5 clk = ~clk;

  // xorshift
  function automatic logic [31:0] next_random(input logic [31:0] x);
    logic [31:0] y, z;
    y = x ^ (x << 13);
    z = y ^ (y >> 17);
    next_random = z ^ (z << 5);
  endfunction

  hsflow_window #(
    .PixelWidth(16), .Height(Height), .Width(Width), .BlockHeight(Block), .BlockWidth(Block),
    .KernelHeight(Kernel), .KernelWidth(Kernel), .StrideHeight(1), .StrideWidth(1),
    .DilationHeight(1), .DilationWidth(1), .PadTop(1), .PadBottom(1),
    .PadLeft(1), .PadRight(1), .PadValue(PadValue)
  ) u_window (
    .clk_i(clk), .rst_ni(rst_n),
    .valid_i(valid_in), .ready_o(ready_in), .data_i(pixels),
    .valid_o(valid_out), .ready_i(ready_out), .data_o(patch)
  );

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      random_q  <= 32'h1234_5678;
      valid_in  <= 1'b0;
      ready_out <= 1'b0;
      block_q   <= '0;
    end else begin
      random_q  <= next_random(random_q);
      ready_out <= random_q[3] | random_q[5];
      if (!valid_in || ready_in) valid_in <= random_q[0] | random_q[9];
      if (valid_in && ready_in) block_q <= block_q + 16'd1;
    end
  end

  // A pixel's number: its block's number, then its place in the block.
  for (genvar i = 0; i < Block * Block; i++) begin : g_pixel
    assign pixels[i*16 +: 16] = 16'(block_q * 16'(Block * Block)) + 16'(i);
  end

  logic [Patch*Patch-1:0] wrong;

  for (genvar r = 0; r < Patch; r++) begin : g_row
    for (genvar c = 0; c < Patch; c++) begin : g_column
      int y, x;
      logic [15:0] expected;
      assign y = row_q * Block - 1 + r;
      assign x = column_q * Block - 1 + c;
      assign expected = (y < 0 || y >= Height || x < 0 || x >= Width) ? PadValue
          : 16'(((image_q * Rows + y / Block) * Columns + x / Block) * Block * Block
                + y % Block * Block + x % Block);
      assign wrong[r*Patch + c] = (patch[(r*Patch + c)*16 +: 16] != expected);
    end
  end

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      row_q    <= 0;
      column_q <= 0;
      image_q  <= 0;
      errors_q <= 0;
      cycles_q <= 0;
    end else begin
      cycles_q <= cycles_q + 1;
      if (valid_out && ready_out) begin
        if (wrong != '0) errors_q <= errors_q + 1;
        column_q <= (column_q == Columns - 1) ? 0 : column_q + 1;
        if (column_q == Columns - 1) begin
          row_q <= (row_q == Rows - 1) ? 0 : row_q + 1;
          if (row_q == Rows - 1) image_q <= image_q + 1;
        end
      end
    end
  end

  always @(posedge clk) begin
    if (image_q == Images || cycles_q == 10000) begin
      if (image_q != Images || errors_q != 0) $fatal(1, "FAIL hsflow_window_tb");
      $display("PASS hsflow_window_tb");
      $finish;
    end
  end

endmodule
