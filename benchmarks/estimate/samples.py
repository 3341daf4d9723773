# SPDX-License-Identifier: Apache-2.0
"""The samples: seeded matrices by name, like those of `benchmarks.cmvm`, with further words.

`64x384-g8-z50` is a matrix of `benchmarks.cmvm.matrices`. Behind it may stand, in this order: `-2t`, where each weight
gets a second power of two; `-a3`, where each input is shifted left by 0 to 3 bits; `-s8` or `-u4`, the inputs' width and
sign (`u8` without); `-p4`, a register every four adder levels, or `-c500`, registers for a clock of 500 MHz (1,000 without).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hsflow_harden.clocking import cut_of

from benchmarks.cmvm.matrices import Matrix, parse
from hsflow.fixedpoint import Interval
from hsflow.ir.pipeline import Cut, LevelCut
from hsflow.ir.placement import Ends

CLOCK_MHZ, MARGIN, CORNER = 1000.0, 0.1, "TT"
HELD_OUT = 3
"""One sample of so many, in the order of the list, is not fitted to."""

_NAME = re.compile(
    r"(?P<matrix>\w+-\w+-[zr]\d+)(?P<twice>-2t)?(?:-a(?P<shift>\d))?(?:-(?P<sign>[su])(?P<width>\d+))?(?:-p(?P<levels>\d))?(?:-c(?P<clock>\d+))?"
)
_SECOND_TERM = 3
"""A second term lies one to so many exponents below the first."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold one matrix, shape (outputs, inputs), the range of its inputs, and where pipeline registers go."""

    name: str
    matrix: Matrix
    inputs: tuple[Interval, ...]
    cut: Cut

    @property
    def ends(self) -> Ends:
        """Return what is around the adders of a pointwise layer."""
        if isinstance(self.cut, LevelCut):
            return Ends()
        delays = self.cut.delays
        return Ends(delays.clk_to_q, delays.requantize + delays.setup)


def build(name: str) -> Sample:
    """Return the sample of that name.

    Raises:
        ValueError: if the name describes none.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"a sample's name must be like 16x96-g8-z50-2t-a3-s8-p4, not {name!r}")
    matrix = parse(match["matrix"]).build()
    generator = np.random.default_rng(len(name))
    if match["twice"]:
        matrix = _with_second_term(matrix, generator)
    if match["shift"]:
        matrix = matrix << generator.integers(0, int(match["shift"]) + 1, len(matrix))[:, np.newaxis]
    interval = Interval.of_format(int(match["width"] or 8), match["sign"] == "s")
    inputs = (interval,) * len(matrix)
    cut = cut_of(int(match["levels"] or 0), float(match["clock"] or CLOCK_MHZ), MARGIN, CORNER)
    return Sample(name, np.ascontiguousarray(matrix.T), inputs, cut)


def _with_second_term(matrix: Matrix, generator: np.random.Generator) -> Matrix:
    """Add to each weight another of one to three powers of two less, or take it away."""
    below = generator.integers(1, _SECOND_TERM + 1, matrix.shape)
    signs = generator.integers(0, 2, matrix.shape) * 2 - 1
    return (matrix << _SECOND_TERM) + signs * (matrix << (_SECOND_TERM - below))


def names() -> list[str]:
    """Return all samples, the quick ones first."""
    return list(dict.fromkeys(_names()))


def is_held_out(name: str) -> bool:
    """Tell whether the estimate's constants are not fitted to this sample."""
    return names().index(name) % HELD_OUT == 1


_SHAPES = (
    "16x8", "16x96", "96x16", "27x32", "24x144", "144x24", "32x192", "192x32", "144x32",
    "64x384", "384x64", "288x64", "96x576", "576x96", "160x960", "960x160",
)  # fmt: skip
_OTHERS = (
    ("16x96 64x384 144x24", "g4", "z0 z50"),
    ("16x96 192x32 64x384 576x96", "t", "z33 z50 z80"),
    ("32x192 192x32", "u8", "z0 z50"),
    ("24x144 384x64", "g15", "z0 z50"),
    ("dw16 dw96", "g8", "z0 z50"),
    ("32x192 144x32", "g8", "r50"),
    ("16x96 32x192 192x32 64x384", "g8", "z0-2t z50-2t"),
    ("24x144 144x32 64x384", "g8", "z50-a3 z0-a3"),
    ("32x192 192x32", "g8", "z50-s8 z50-u4 z50-u12 z50-s16"),
    ("24x144 144x24 64x384 384x64", "g8", "z0-p1 z50-p1 z0-p2 z50-p2 z0-p4 z50-p4"),
    ("16x96 96x16 32x192 192x32 64x384 384x64", "g8", "z0-c500 z50-c500 z50-c800 z80-c500 z80-c800"),
    ("16x96 144x24 dw96", "g4", "z0-c1250 z50-c1250"),
    ("dw96", "g8", "z0-c800 z50-c800 z0-c500"),
    ("320x1280", "g8", "z50 z80"),
    ("16x96 32x192 192x32 96x576 dw96", "g8", "z0-p2 z50-p2 z80-p2"),
)


def _names() -> Iterator[str]:
    for shape in _SHAPES:
        yield from (f"{shape}-g8-{zeros}" for zeros in ("z0", "z50", "z80"))
    for shapes, family, variants in _OTHERS:
        for shape in shapes.split():
            yield from (f"{shape}-{family}-{variant}" for variant in variants.split())
