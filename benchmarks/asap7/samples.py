# SPDX-License-Identifier: Apache-2.0
"""The samples of the area model: single layers by name, seeded, so that they are the same everywhere.

A name says all. `16x32-g8-z50-u8-p2-1000` is a pointwise layer with that matrix of `benchmarks.cmvm.matrices`, inputs of 8
bits without sign, a register every 2 adder levels (`clock`: as the clock allows; `close`: with less to spare), for 1000 MHz.
`dw16-...` is a depthwise layer with windows of 3x3. Behind the matrix may stand, in this order: `-2t`, where each weight gets
a second power of two; `-k3`, windows of 3x3; `-h16`, images of 16x16 pixels (8x8 without); `-b2`, blocks of 2x2 pixels a
transfer. In place of the matrix may stand `max16`, `pool16`, `mean16` or `add16`: a max pool, a global pool, an average pool
and a residual add of 16 channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from hsflow_harden.build import build_structure
from hsflow_harden.clocking import levels_to_expect
from hsflow_harden.lower import HookLowering
from hsflow_harden.rates import Blocks
from hsflow_harden.structure import Structure

from benchmarks.cmvm.matrices import Matrix, parse
from hsflow.ir.graph import Add, AveragePool, Conv, FeatureMap, Graph, GraphLayer, MaxPool, Po2Weight
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.pipeline import ClockCut, Cut, LevelCut
from hsflow.ir.tensor import ONE_PIXEL, Block, Constant, Padding, Shape, TensorFormat, Window
from hsflow.lowering import LoweringGoal
from hsflow.plugins import load_plugins
from hsflow.technology import Delays

MARGIN = 0.1
LAYER = "layer"
_HELD_OUT = 3
_LEVELS = 8
_OUTPUT = (8, False, 4)
_NAME = re.compile(
    r"(?P<what>(?:dw\d+|\d+x\d+)-\w+-[zr]\d+|[a-z]+\d+)(?P<twice>-2t)?(?P<window>-k3)?(?:-h(?P<size>\d+))?(?:-b(?P<block>\d))?"
    r"-(?P<sign>[su])(?P<width>\d+)-(?:p(?P<levels>\d)|(?P<by>clock|close))-(?P<clock>\d+)"
)
_BOUNDS = {
    "clock": Delays(
        59.0, 16.3, 95.0, 34.1, 19.0, 40.0, 40.0, math.inf, gate=35.0, compare=150.0, requantize=280.0
    ),
    "close": Delays(
        59.0, 16.3, 92.0, 34.1, 19.0, 20.0, 20.0, 84.0, gate=35.0, compare=330.0, requantize=260.0
    ),
}
"""By which samples are cut, whatever bounds the technology has: what was measured stays true of them."""

_WINDOW = Window((3, 3), padding=Padding.same_on_all_sides(1, 1))


@dataclass(frozen=True)
class Sample:
    """Hold one layer as a network, for a clock in MHz, with the cut that puts its registers."""

    name: str
    graph: Graph
    clock_mhz: int
    cut: Cut
    block: Block

    @property
    def is_held_out(self) -> bool:
        """Tell whether the model is not fitted to this sample: one of three, by its name's hash."""
        return sha256(self.name.encode()).digest()[0] % _HELD_OUT == 0

    def structure(self) -> Structure:
        """Return the hardened layer."""
        goal = LoweringGoal(adder_levels_per_stage=levels_to_expect(self.cut))
        lower = HookLowering(load_plugins({}).hook.hsflow_lower_layer, goal)
        blocks: Blocks = {INPUT_NAME: self.block, LAYER: self._output_block}
        return build_structure(self.graph, lower, self.cut, blocks=blocks)

    @property
    def _output_block(self) -> Block:
        shape = self.graph.output.shape
        return self.block if shape.height % self.block.rows == 0 else ONE_PIXEL


def build(name: str) -> Sample:
    """Return the sample of that name.

    Raises:
        ValueError: if the name describes none.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"a sample's name must be like 16x32-g8-z50-u8-p2-1000, not {name!r}")
    size, side = int(match["size"] or 8), int(match["block"] or 1)
    layer, channels = _layer(match, size)
    form = TensorFormat.uniform(int(match["width"]), match["sign"] == "s", 4, channels)
    graph = Graph("sample", FeatureMap(Shape(channels, size, size), form), (layer,))
    return Sample(name, graph, int(match["clock"]), _cut(match), Block(side, side))


def _cut(match: re.Match[str]) -> Cut:
    clock = float(match["clock"])
    return (
        ClockCut(clock, MARGIN, _BOUNDS[match["by"]])
        if match["by"]
        else LevelCut(int(match["levels"]), clock)
    )


def _layer(match: re.Match[str], size: int) -> tuple[GraphLayer, int]:
    """Return the layer and its input's channels."""
    if "-" in match["what"]:
        return _convolution(match)
    kind, channels = re.sub(r"\d", "", match["what"]), int(re.sub(r"\D", "", match["what"]))
    output = TensorFormat.uniform(*_OUTPUT, channels)
    pool = Window((2, 2), (2, 2))
    made: dict[str, GraphLayer] = {
        "max": MaxPool(LAYER, INPUT_NAME, pool),
        "mean": AveragePool(LAYER, INPUT_NAME, pool, output),
        "pool": AveragePool(LAYER, INPUT_NAME, Window((size, size)), output),
        "add": Add(LAYER, (INPUT_NAME, INPUT_NAME), output),
    }
    return made[kind], channels


def _convolution(match: re.Match[str]) -> tuple[Conv, int]:
    spec = parse(match["what"])
    generator = np.random.default_rng(len(match[0]))
    depthwise, taps = spec.channels is not None, 9 if spec.channels or match["window"] else 1
    channels = spec.channels or spec.inputs // taps
    matrix = spec.build()
    if depthwise:
        matrix = np.stack([matrix[9 * c : 9 * c + 9, c] for c in range(channels)], axis=1)
    terms = [matrix, *([_second(matrix, generator)] if match["twice"] else [])]
    weight = _weight(np.stack([_spread(term, channels, depthwise, taps) for term in terms]))
    outputs = weight.shape[0]
    bias = generator.integers(-2000, 2001, outputs, dtype=np.int64)
    fraction = 7 + max(0, (spec.inputs if not depthwise else 9).bit_length() // 2 - 2)
    fractions = tuple(int(f) for f in fraction + generator.integers(-1, 2, outputs))
    groups, window = channels if depthwise else 1, _WINDOW if taps > 1 else Window()
    output = TensorFormat.uniform(*_OUTPUT, outputs)
    conv = Conv(LAYER, INPUT_NAME, weight, fractions, Constant(bias), window, groups, (0,) * channels, output)
    return conv, channels


def _second(matrix: Matrix, generator: np.random.Generator) -> Matrix:
    """Return second terms, one to three powers of two below the first; none where that would be no integer."""
    below = generator.integers(1, 4, matrix.shape)
    signs = generator.integers(0, 2, matrix.shape) * 2 - 1
    return signs * (np.abs(matrix) >> below)


def _spread(matrix: Matrix, channels: int, depthwise: bool, taps: int) -> Matrix:
    """Return weights of shape (outputs, inputs a group, height, width), given (taps * inputs, outputs)."""
    side = round(taps**0.5)
    inputs = 1 if depthwise else channels
    return matrix.T.reshape(matrix.shape[1], side, side, inputs).transpose(0, 3, 1, 2)


def _weight(terms: Matrix) -> Po2Weight:
    sign = np.sign(terms).astype(np.int8)
    exponent = np.log2(np.maximum(np.abs(terms), 1)).astype(np.int8)
    return Po2Weight(Constant(sign), Constant(exponent), _LEVELS)


def names() -> list[str]:
    """Return all samples."""
    return list(_names())


def _names() -> Iterator[str]:
    for matrices, formats, cuts in _CHOSEN:
        for matrix in matrices.split():
            for form in formats.split():
                yield from (f"{matrix}-{form}-{cut}" for cut in cuts.split())


_CHOSEN = (
    ("8x16-g8-z0 16x16-g8-z50 24x24-g8-z33 16x32-g8-z80", "u8", "p2-1000"),
    ("16x24-g8-z50", "u4 s6 u10 s8", "p2-1000"),
    ("16x24-g8-z33", "u8 s8", "p1-1000 p4-1000 clock-500 clock-1000"),
    ("32x16-g8-z50", "u8 s8", "p1-500 clock-1000 p2-1500 p4-500"),
    ("24x16-u8-z50 24x16-t-z50 24x16-g4-z50 24x16-g15-z33", "u8", "p2-1000 clock-1000"),
    ("16x16-g8-z33-2t 24x12-g8-z50-2t 12x24-g8-z0-2t", "u8 s8", "clock-1000"),
    ("32x32-g8-z50 48x24-g8-z50 24x48-g8-z33", "u8", "clock-1000"),
    ("64x64-g8-z80 64x32-g8-z50 32x64-g8-z50", "u8", "p2-1000"),
    ("dw8-g8-z0 dw16-g8-z33 dw12-g8-z0-2t", "u8 s8", "clock-1000 p2-1000"),
    ("dw8-g8-z33-h16 dw4-g8-z33-h32", "u8", "p2-500"),
    ("27x16-g8-z33-k3 36x8-g8-z50-k3 72x8-g8-z50-k3", "u8", "clock-1000 p1-1000"),
    ("8x8-g8-z50-b2 dw4-g8-z33-b2", "u8", "clock-1000"),
    ("max8 max16", "u8 s6", "p2-1000"),
    ("pool16 mean16 add24 add16", "u8", "p2-1000"),
    ("pool12 pool24 add12", "s8 u6", "p2-1000"),
    ("mean24", "u6", "p2-1000"),
    ("16x96-g8-z0 24x144-g8-z0 32x128-g8-z33 144x24-g8-z0 dw96-g8-z0", "u8 s8", "close-1000"),
    ("16x96-g8-z33 24x96-g8-z50 96x16-g8-z50 dw32-g8-z0", "u8", "clock-1000"),
)  # fmt: skip
