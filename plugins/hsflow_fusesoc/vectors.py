# SPDX-License-Identifier: Apache-2.0
"""Stimulus and expected results of a simulation, as the text files that the testbench and the checker read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.design import DesignFile, FileRole
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import LOGIT_WIDTH, FeatureMap, Graph
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import Shape, TensorFormat
from hsflow.results import EXPECTED, LABELS, STIMULUS


@dataclass(frozen=True, eq=False)
class Vectors:
    """Hold the images of a simulation, uint8 of shape (n, channels, height, width), and their labels, shape (n,)."""

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
        """Return one pixel a line, in hexadecimal."""
        return _lines(f"{word:x}" for word in stream_words(self.images.astype(np.int64), self.graph.input))

    def expected(self) -> str:
        """Return one result beat a line: data and user in hexadecimal, last as 0 or 1, by the reference interpreter."""
        return _lines(_beats(self.graph, self.results))

    @cached_property
    def results(self) -> IntArray:
        """Return what the reference interpreter makes of the images."""
        return interpret(self.graph, self.images)

    def label_lines(self) -> str:
        """Return one label a line."""
        return _lines(map(str, self.labels.tolist()))


def output_map(graph: Graph) -> FeatureMap:
    """Return what leaves the chip: a classifier's logits leave one a beat, in the place of pixels."""
    if graph.classifier is None:
        return graph.output
    classes = graph.output.shape.channels
    return FeatureMap(Shape(1, 1, classes), TensorFormat.uniform(LOGIT_WIDTH, True, 0, 1))


def stream_words(values: IntArray, feature_map: FeatureMap) -> Iterator[int]:
    """Yield each pixel of (n, channels, height, width) integers as one word, channel 0 in the low bits."""
    width = feature_map.format.width
    pixels = values.transpose(0, 2, 3, 1).reshape(-1, feature_map.shape.channels) & ((1 << width) - 1)
    for pixel in pixels.tolist():
        yield sum(value << (width * channel) for channel, value in enumerate(pixel))


def _beats(graph: Graph, results: IntArray) -> Iterator[str]:
    output = output_map(graph)
    beats = output.shape.pixels
    winners = results.argmax(axis=1) if graph.classifier else np.zeros(len(results), dtype=np.int64)
    shaped = results.reshape(-1, 1, 1, beats) if graph.classifier else results
    for index, word in enumerate(stream_words(shaped, output)):
        last = (index + 1) % beats == 0
        yield f"{word:x} {int(winners[index // beats]) if last else 0:x} {int(last)}"


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)
