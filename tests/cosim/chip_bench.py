# SPDX-License-Identifier: Apache-2.0
"""Drive whole chips through their AXI ports, many in one testbench: weights by AXI4-Lite, then frames of any length.

A generated harness around each chip plays the NPU's memory image after every reset, shuts the pixel stream until that
is done, and prints each cycle of `error_o`. The pixel stream carries tlast above tdata, the result stream tlast above
tuser above tdata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hsflow_npu.stage import MEMORY_IMAGE, add_npu
from network_bench import harden, words
from simulator import CORES
from stream_bench import Bench, Log, inputs, outputs, traffic

from hsflow.design import Design, FileRole
from hsflow.ir.graph import LOGIT_WIDTH, Graph
from hsflow.ir.interp import interpret

LIBRARY = [
    path
    for core in ("axil", "npu", "pool", "requantize", "stream", "window")
    for path in sorted((CORES / core / "rtl").glob("*.sv"))
]
Frame = tuple[int, int]
"""The number of an image, and how many pixels its frame has more (or, if negative, less) than it should."""


@dataclass(frozen=True)
class Chip:
    """One chip to simulate: its graph, its images, the frames in which they are sent, and the traffic."""

    graph: Graph
    images: np.ndarray
    frames: tuple[Frame, ...] = ()
    ends: tuple[str, str] = ("full", "full")
    lanes: int | None = None

    @property
    def sent(self) -> tuple[Frame, ...]:
        return self.frames or tuple((number, 0) for number in range(len(self.images)))

    @property
    def bad_frames(self) -> int:
        return sum(extra != 0 for _, extra in self.sent)

    @property
    def output_bits(self) -> int:
        return LOGIT_WIDTH if self.graph.classifier else self.graph.output.beat_width

    def beats(self) -> list[int]:
        """Return the pixel stream; the bits between pixel and byte boundary are set, as they mean nothing."""
        source = self.graph.input
        junk = (1 << source.beat_width) - (1 << source.pixel_width)
        return [
            word | junk | (last << source.beat_width)
            for frame in self.sent
            for word, last in self._frame(frame)
        ]

    def _frame(self, frame: Frame) -> Iterator[tuple[int, int]]:
        number, extra = frame
        pixels = words(self.images[number : number + 1], self.graph.input)
        length = len(pixels) + extra
        for index in range(length):
            yield pixels[index % len(pixels)], int(index == length - 1)

    def expected(self) -> list[int]:
        """Return the result stream of all frames that have the right length."""
        kept = [number for number, extra in self.sent if extra == 0]
        results = interpret(self.graph, self.images)[kept]
        if self.graph.classifier is None:
            beats = words(results, self.graph.output)
            pixels = self.graph.output.shape.pixels
            lasts = [int((index + 1) % pixels == 0) << (self.output_bits + 16) for index in range(len(beats))]
            return [beat | last for beat, last in zip(beats, lasts, strict=True)]
        return [beat for logits in results for beat in _packet(logits)]


def _packet(logits: np.ndarray) -> list[int]:
    beats = [int(logit) & 0xFFFF_FFFF for logit in logits]
    beats[-1] |= int(logits.argmax()) << LOGIT_WIDTH | 1 << (LOGIT_WIDTH + 16)
    return beats


@dataclass(frozen=True)
class Run:
    """What a simulation of chips showed; chip n has the streams `in<n>` and `out<n>`."""

    log: Log
    designs: tuple[Design, ...]

    def errors(self, number: int) -> int:
        return sum(line == f"error {number}" for line in self.log.prints)

    def refused(self, number: int) -> int:
        return sum(line == f"refused {number}" for line in self.log.prints)


def build_bench(
    chips: Sequence[Chip], workdir: Path, edits: Mapping[str, str] | None = None
) -> tuple[Bench, list[Path], tuple[Design, ...]]:
    """Write the chips' RTL and harnesses; `edits` replaces text in generated files, each of which must occur."""
    bench, sources, designs = Bench(), list(LIBRARY), []
    unseen = set(edits or {})
    for number, chip in enumerate(chips):
        design = add_npu(harden(chip.graph), chip.lanes)
        designs.append(design)
        for file in design.files:
            text = file.text
            for old, new in (edits or {}).items():
                unseen -= {old} if old in text else set()
                text = text.replace(old, new)
            if file.role is FileRole.RTL:
                path = workdir / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                sources.append(path)
            elif file.path == MEMORY_IMAGE:
                bench.files[f"npu{number}.words"] = text.replace(" ", "")
        harness = workdir / f"harness{number}.sv"
        harness.write_text(_harness(number, chip, design), encoding="ascii")
        sources.append(harness)
        _connect(bench, number, chip)
    assert not unseen, f"nothing to edit: {unseen}"
    return bench, sources, tuple(designs)


def simulate_chips(chips: Sequence[Chip], workdir: Path, edits: Mapping[str, str] | None = None) -> Run:
    """Simulate all chips together."""
    bench, sources, designs = build_bench(chips, workdir, edits)
    return Run(bench.simulate(sources, workdir), designs)


def _connect(bench: Bench, number: int, chip: Chip) -> None:
    patterns = [traffic(kind, f"{chip.graph.name} {end}") for end, kind in enumerate(chip.ends)]
    beats, results = chip.beats(), chip.expected()
    bench.source(f"in{number}", chip.graph.input.beat_width + 1, beats, patterns[0])
    bench.sink(f"out{number}", chip.output_bits + 17, len(results), patterns[1])
    ports = f"{inputs(f'in{number}')}, {outputs(f'out{number}')}"
    bench.instance(f"harness{number}", f"harness{number}", {}, ports)


def _harness(number: int, chip: Chip, design: Design) -> str:
    values = {
        "NUMBER": number,
        "TOP": design.name,
        "IN": chip.graph.input.beat_width,
        "OUT": chip.output_bits,
        "WRITER": "  wire loaded = 1'b1;",
        "PORTS": "",
    }
    if design.npu:
        image = next(file.text for file in design.files if file.path == MEMORY_IMAGE)
        values |= {"WRITER": _WRITER, "PORTS": _PORTS}
        values |= {"WORDS": len(image.splitlines()), "ADDRESS": design.npu.address_width}
    text = _HARNESS
    for name in ("WRITER", "PORTS", *values):
        text = text.replace(f"@{name}@", str(values[name]))
    return text


_HARNESS = """\
// SPDX-License-Identifier: Apache-2.0
module harness@NUMBER@ (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic valid_i,
  output logic ready_o,
  input  logic [@IN@:0] data_i,
  output logic valid_o,
  input  logic ready_i,
  output logic [@OUT@+16:0] data_o
);
@WRITER@
  logic ready, error;
  assign ready_o = ready & loaded;
  always @(posedge clk_i) if (rst_ni && error !== 1'b0) $display("print error @NUMBER@");
  @TOP@ u_chip (
    .aclk(clk_i),
    .aresetn(rst_ni),
    .s_axis_tdata(data_i[@IN@-1:0]),
    .s_axis_tvalid(valid_i & loaded),
    .s_axis_tready(ready),
    .s_axis_tlast(data_i[@IN@]),
    .m_axis_tdata(data_o[@OUT@-1:0]),
    .m_axis_tvalid(valid_o),
    .m_axis_tready(ready_i),
    .m_axis_tlast(data_o[@OUT@+16]),
    .m_axis_tuser(data_o[@OUT@+:16]),
@PORTS@
    .error_o(error)
  );
endmodule
"""

_WRITER = """\
  logic [63:0] words [0:@WORDS@-1];
  logic [63:0] word;
  int index_q;
  logic busy_q, awvalid_q, wvalid_q, awready, wready, bvalid;
  logic [1:0] bresp;
  wire loaded = index_q == @WORDS@;
  initial $readmemh("npu@NUMBER@.words", words);
  assign word = loaded ? 64'd0 : words[index_q];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      index_q   <= 0;
      busy_q    <= 1'b0;
      awvalid_q <= 1'b0;
      wvalid_q  <= 1'b0;
    end else begin
      if (awready) awvalid_q <= 1'b0;
      if (wready) wvalid_q <= 1'b0;
      if (!busy_q && !loaded) begin
        busy_q    <= 1'b1;
        awvalid_q <= 1'b1;
        wvalid_q  <= 1'b1;
      end
      if (bvalid) begin
        busy_q  <= 1'b0;
        index_q <= index_q + 1;
        if (bresp !== 2'b00) $display("print refused @NUMBER@");
      end
    end
  end
"""

_PORTS = """\
    .s_axil_awaddr(word[32+:@ADDRESS@]),
    .s_axil_awvalid(awvalid_q),
    .s_axil_awready(awready),
    .s_axil_wdata(word[31:0]),
    .s_axil_wstrb(4'b1111),
    .s_axil_wvalid(wvalid_q),
    .s_axil_wready(wready),
    .s_axil_bresp(bresp),
    .s_axil_bvalid(bvalid),
    .s_axil_bready(1'b1),
    .s_axil_araddr('0),
    .s_axil_arvalid(1'b0),
    .s_axil_arready(),
    .s_axil_rdata(),
    .s_axil_rresp(),
    .s_axil_rvalid(),
    .s_axil_rready(1'b1),
"""
