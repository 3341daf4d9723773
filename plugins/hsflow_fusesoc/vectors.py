# SPDX-License-Identifier: Apache-2.0
"""Stimulus and expected results of a simulation, as the text files that the testbench and the checker read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.beats import output_stream, pixel_order
from hsflow.design import Design, DesignFile, FileRole
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import LOGIT_WIDTH, FeatureMap, Graph
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import Block
from hsflow.results import EXPECTED, LABELS, STIMULUS


@dataclass(frozen=True, eq=False)
class Vectors:
    """Hold the images of a simulation, uint8 of shape (n, channels, height, width), and their labels, shape (n,).

    `graph` says what `design` computes: its own graph, or one with another classifier in its NPU.
    """

    design: Design
    graph: Graph
    images: NDArray[Any]
    labels: NDArray[Any]

    def files(self) -> tuple[DesignFile, ...]:
        """Return stimulus and expected results as files of a core, and the labels if there is a classifier."""
        texts = {STIMULUS: self.stimulus(), EXPECTED: self.expected()}
        if self.graph.classifier is not None:
            texts[LABELS] = self.label_lines()
        return tuple(DesignFile(f"data/{name}", text, FileRole.DATA) for name, text in texts.items())

    def stimulus(self) -> str:
        """Return one beat of pixels a line, in hexadecimal."""
        words = map_words(self.images.astype(np.int64), self.graph.input, self.design.input_block)
        return _lines(f"{word:x}" for word in words)

    def expected(self) -> str:
        """Return one result beat a line: data and user in hexadecimal, last as 0 or 1, by the reference interpreter."""
        return _lines(self._result_beats())

    @cached_property
    def results(self) -> IntArray:
        """Return what the reference interpreter makes of the images."""
        return interpret(self.graph, self.images)

    def label_lines(self) -> str:
        """Return one label a line."""
        return _lines(map(str, self.labels.tolist()))

    def _result_beats(self) -> Iterator[str]:
        beats, users = output_stream(self.design).beats, [0] * len(self.images)
        if self.graph.classifier is None:
            words = map_words(self.results, self.graph.output, self.design.output_block)
        else:
            words = logit_words(self.results, output_stream(self.design).bits // LOGIT_WIDTH)
            users = self.results.argmax(axis=1).tolist()
        for index, word in enumerate(words):
            last = (index + 1) % beats == 0
            yield f"{word:x} {users[index // beats] if last else 0:x} {int(last)}"


def map_words(values: IntArray, feature_map: FeatureMap, block: Block) -> Iterator[int]:
    """Yield each block of (n, channels, height, width) integers as one word: first pixel, channel 0 in the low bits."""
    order = pixel_order(feature_map.shape, block)
    for image in values:
        pixels = image.reshape(feature_map.shape.channels, -1).T
        yield from _packed(pixels[order].reshape(len(order), -1), feature_map.format.width)


def logit_words(logits: IntArray, lanes: int) -> Iterator[int]:
    """Yield (n, classes) logits, `lanes` in a word, the first one in the low bits; an image's last word ends with 0."""
    missing = -logits.shape[1] % lanes
    padded = np.pad(logits, ((0, 0), (0, missing)))
    yield from _packed(padded.reshape(-1, lanes), LOGIT_WIDTH)


def _packed(rows: IntArray, width: int) -> Iterator[int]:
    """Yield each row of integers as one word of fields of `width` bits, the first one in the low bits."""
    bits = (rows[:, :, None] >> np.arange(width)) & 1
    packed = np.packbits(bits.astype(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")
    for row in packed:
        yield int.from_bytes(row.tobytes(), "little")


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)
