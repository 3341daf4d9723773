# SPDX-License-Identifier: Apache-2.0
"""Drive whole chips through their AXI ports, many in one testbench: weights by AXI4-Lite, then frames of any length.

A generated harness around each chip plays the NPU's memory image after every reset, shuts the pixel stream until that
is done, and prints each cycle of `error_o`. The pixel stream carries tlast above tdata, the result stream tlast above
tuser above tdata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from hsflow_harden.emit_network import network_module
from hsflow_npu.stage import MEMORY_IMAGE, add_npu
from network_bench import harden, words
from simulator import CORES
from stream_bench import Bench, Log, inputs, outputs, traffic

from hsflow.design import Design, DesignFile, FileRole
from hsflow.ir.graph import LOGIT_WIDTH, Graph
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import ONE_PIXEL, Block

LIBRARY = [
    path
    for core in ("axil", "npu", "pool", "requantize", "stream", "window")
    for path in sorted((CORES / core / "rtl").glob("*.sv"))
]
Frame = tuple[int, int]
"""The number of an image, and how many beats its frame has more (or, if negative, less) than it should."""


@dataclass(frozen=True)
class Chip:
    """One chip to simulate: its graph, its images, the frames in which they are sent, and the traffic.

    A beat carries the pixels of `block`. With `plain` the hardened layers are a register, and the graph must be one
    that changes nothing before its classifier.
    """

    graph: Graph
    images: np.ndarray
    frames: tuple[Frame, ...] = ()
    ends: tuple[str, str] = ("full", "full")
    lanes: int | None = None
    logit_lanes: int | None = None
    block: Block = ONE_PIXEL
    plain: bool = False

    @cached_property
    def design(self) -> Design:
        hardened = pass_through if self.plain else harden
        return add_npu(hardened(self.graph, block=self.block), self.lanes, self.logit_lanes)

    @property
    def sent(self) -> tuple[Frame, ...]:
        return self.frames or tuple((number, 0) for number in range(len(self.images)))

    @property
    def bad_frames(self) -> int:
        return sum(extra != 0 for _, extra in self.sent)

    @property
    def input_bits(self) -> int:
        """Return the bits of a block, in whole bytes."""
        return -(-self._block_bits // 8) * 8

    @property
    def _block_bits(self) -> int:
        return self.block.pixels * self.graph.input.pixel_width

    @property
    def output_bits(self) -> int:
        if self.design.npu:
            return LOGIT_WIDTH * self.design.npu.logit_lanes
        return -(-self.design.output_block.pixels * self.graph.output.pixel_width // 8) * 8

    def beats(self) -> list[int]:
        """Return the pixel stream; the bits between block and byte boundary are set, as they mean nothing."""
        junk = (1 << self.input_bits) - (1 << self._block_bits)
        return [
            word | junk | (last << self.input_bits)
            for frame in self.sent
            for word, last in self._frame(frame)
        ]

    def _frame(self, frame: Frame) -> Iterator[tuple[int, int]]:
        number, extra = frame
        blocks = words(self.images[number : number + 1], self.graph.input, self.block)
        length = len(blocks) + extra
        for index in range(length):
            yield blocks[index % len(blocks)], int(index == length - 1)

    def expected(self) -> list[int]:
        """Return the result stream of all frames that have the right length."""
        kept = [number for number, extra in self.sent if extra == 0]
        results = interpret(self.graph, self.images)[kept]
        if self.design.npu:
            return [beat for logits in results for beat in _packet(logits, self.design.npu.logit_lanes)]
        block = self.design.output_block
        beats, count = words(results, self.graph.output, block), block.beats(self.graph.output.shape)
        lasts = [int((index + 1) % count == 0) << (self.output_bits + 16) for index in range(len(beats))]
        return [beat | last for beat, last in zip(beats, lasts, strict=True)]


def _packet(logits: np.ndarray, lanes: int) -> list[int]:
    values = [int(logit) & 0xFFFF_FFFF for logit in logits]
    beats = [
        sum(value << (LOGIT_WIDTH * lane) for lane, value in enumerate(values[start : start + lanes]))
        for start in range(0, len(values), lanes)
    ]
    bits = LOGIT_WIDTH * lanes
    beats[-1] |= int(logits.argmax()) << bits | 1 << (bits + 16)
    return beats


def pass_through(graph: Graph, block: Block) -> Design:
    """Return a hand-made design whose hardened layers are one register of a block."""
    bits, name = block.pixels * graph.input.pixel_width, network_module(graph.name)
    text = _REGISTER.replace("@NAME@", name).replace("@TOP@", str(bits - 1)).replace("@BITS@", str(bits))
    file = DesignFile(f"rtl/{name}.sv", text, FileRole.RTL)
    beats = block.beats(graph.input.shape)
    return Design(graph.name, graph, (file,), (), beats, beats, input_block=block, output_block=block)


_REGISTER = """\
// SPDX-License-Identifier: Apache-2.0
module @NAME@ (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic valid_i,
  output logic ready_o,
  input  logic [@TOP@:0] data_i,
  output logic valid_o,
  input  logic ready_i,
  output logic [@TOP@:0] data_o
);
  hsflow_stream_register #(
    .Width(@BITS@)
  ) u_register (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
    .valid_o,
    .ready_i,
    .data_o
  );
endmodule
"""


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
        design = chip.design
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
    bench.source(f"in{number}", chip.input_bits + 1, beats, patterns[0])
    bench.sink(f"out{number}", chip.output_bits + 17, len(results), patterns[1])
    ports = f"{inputs(f'in{number}')}, {outputs(f'out{number}')}"
    bench.instance(f"harness{number}", f"harness{number}", {}, ports)


def _harness(number: int, chip: Chip, design: Design) -> str:
    values = {
        "NUMBER": number,
        "TOP": design.name,
        "IN": chip.input_bits,
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
