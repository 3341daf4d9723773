# SPDX-License-Identifier: Apache-2.0
"""The testbench of one layer: it plays feature maps into the layer's streams and compares what comes, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsflow.beats import pixel_order
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import FeatureMap
from hsflow.ir.tensor import Block

TOP = "hsflow_layer_bench"
SPARE_CYCLES = 10_000
"""Cycles beyond those of the transfers after which a layer is taken to be stuck."""


@dataclass(frozen=True)
class Stream:
    """Hold the words of a stream as hexadecimal lines, and how many bits a word has."""

    text: str
    words: int
    width: int


def stream_of(values: IntArray, source: FeatureMap, block: Block, words: int | None = None) -> Stream:
    """Return the words that carry feature maps (n, channels, height, width) in blocks, or the first `words` of them."""
    n, channels = values.shape[:2]
    pixels = values.reshape(n, channels, -1).transpose(0, 2, 1)
    beats = pixels[:, pixel_order(source.shape, block)].reshape(-1, block.pixels * channels)[:words]
    bits = (beats[:, :, None] >> np.arange(source.format.width)) & 1
    packed = np.packbits(bits.reshape(len(beats), -1).astype(np.uint8), axis=1, bitorder="little")
    lines = [row.tobytes().hex() + "\n" for row in packed[:, ::-1]]
    return Stream("".join(lines), len(lines), block.pixels * source.pixel_width)


def bench_text(module: str, sources: Sequence[Stream], expected: Stream, stalls: bool) -> str:
    """Return the testbench of a layer; with `stalls` both of its ends pause at random.

    It reads `in0.hex` (a join `in1.hex`, too) and `out.hex`, and ends with one line that tells the words compared, how many
    of them were wrong or missing, the first wrong one or -1, what that one was, bit by bit, and the cycles.
    """
    joined = len(sources) > 1
    ends = [_source_text(number, stream, stalls) for number, stream in enumerate(sources)]
    ports = [_source_ports(number, str(number) if joined else "") for number in range(len(sources))]
    words = max(stream.words for stream in sources) + expected.words
    values = {
        "@SOURCES@": "".join(ends),
        "@PORTS@": "".join(ports),
        "@MODULE@": module,
        "@WIDTH@": str(expected.width),
        "@WORDS@": str(expected.words),
        "@CYCLES@": str(8 * words + SPARE_CYCLES),
        "@STALL@": "lfsr[3]" if stalls else "1'b0",
    }
    text = _BENCH
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _source_text(number: int, stream: Stream, stalls: bool) -> str:
    pause = f"lfsr[{number}]" if stalls else "1'b0"
    text = _SOURCE.replace("@N@", str(number)).replace("@WIDTH@", str(stream.width))
    return text.replace("@WORDS@", str(stream.words)).replace("@PAUSE@", pause)


def _source_ports(number: int, suffix: str) -> str:
    ends = {"valid": "i", "ready": "o", "data": "i"}
    return "".join(f"    .{end}{suffix}_{way}({end}{number}),\n" for end, way in ends.items())


_SOURCE = """\
  logic [@WIDTH@-1:0] words@N@ [@WORDS@];
  logic [@WIDTH@-1:0] data@N@ = '0;
  logic valid@N@ = 1'b0;
  logic ready@N@;
  int sent@N@ = 0;
  initial $readmemh("in@N@.hex", words@N@);
  always_ff @(posedge clk) begin
    if (rst_n && (!valid@N@ || ready@N@)) begin
      valid@N@ <= sent@N@ < @WORDS@ && !@PAUSE@;
      if (sent@N@ < @WORDS@ && !@PAUSE@) begin
        data@N@ <= words@N@[sent@N@];
        sent@N@ <= sent@N@ + 1;
      end
    end
  end

"""

_BENCH = """\
// SPDX-License-Identifier: Apache-2.0
//
// Plays feature maps into one layer and compares what it makes, word for word.
module hsflow_layer_bench;
  logic clk = 1'b0;
  logic rst_n = 1'b1;
  logic [15:0] lfsr = 16'hace1;
  always #5 clk = ~clk;

  // Reset falls: where nothing is unknown at first, an asynchronous reset acts by its edge, clocks being gated.
  initial begin
    #1 rst_n = 1'b0;
    repeat (4) @(posedge clk);
    rst_n <= 1'b1;
  end

@SOURCES@  logic [@WIDTH@-1:0] expected [@WORDS@];
  logic [@WIDTH@-1:0] result;
  logic [@WIDTH@-1:0] wrong_result = '0;
  logic result_valid;
  logic result_ready = 1'b0;
  int got = 0, wrong = 0, first = -1, cycle = 0;
  initial $readmemh("out.hex", expected);

  @MODULE@ u_layer (
    .clk_i(clk),
    .rst_ni(rst_n),
@PORTS@    .valid_o(result_valid),
    .ready_i(result_ready),
    .data_o(result)
  );

  always @(posedge clk) begin
    cycle <= cycle + 1;
    lfsr <= {lfsr[14:0], lfsr[15] ^ lfsr[13] ^ lfsr[12] ^ lfsr[10]};
    result_ready <= !@STALL@;
    if (rst_n && result_valid && result_ready) begin
      // An unknown bit is a wrong one.
      if (result !== expected[got]) begin
        wrong = wrong + 1;
        if (first < 0) begin
          first = got;
          wrong_result = result;
        end
      end
      got = got + 1;
    end
    if (got == @WORDS@ || cycle == @CYCLES@) begin
      $display("hsflow_layer_bench: %0d words, %0d wrong, first %0d, got %b, %0d cycles",
               got, got == @WORDS@ ? wrong : wrong + @WORDS@ - got, first, wrong_result, cycle);
      $finish;
    end
  end
endmodule
"""
