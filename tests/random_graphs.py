# SPDX-License-Identifier: Apache-2.0
"""Random legal integer graphs, reproducible from a seed: the common input of the emulator's and the RTL's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsflow.fixedpoint import Interval
from hsflow.ir.graph import Add, AveragePool, Conv, Dense, FeatureMap, Graph, GraphLayer, MaxPool, Po2Weight
from hsflow.ir.tensor import Constant, Padding, Shape, TensorFormat, Window
from hsflow.ir.verify import verify


@dataclass
class GraphBuilder:
    """Add layers with random weights and formats to a graph, each reading the last one unless told otherwise."""

    shape: Shape
    seed: int = 0
    width: int = 8
    signed: bool = False

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        source = FeatureMap(
            self.shape, TensorFormat.uniform(self.width, self.signed, self.width, self.shape.channels)
        )
        self.maps = {"input": source}
        self.layers: list[GraphLayer] = []
        self.source = source

    @property
    def last(self) -> str:
        """Return the name of the newest feature map."""
        return self.layers[-1].name if self.layers else "input"

    def format(self, channels: int, width: int = 8, signed: bool = False, fraction: int = 4) -> TensorFormat:
        """Return a format with per-channel fractions near `fraction` and ranges that are sometimes cut."""
        whole = Interval.of_format(width, signed)
        high = [
            whole.high if self.rng.random() < 0.6 else int(self.rng.integers(0, whole.high + 1))
            for _ in range(channels)
        ]
        low = [min(whole.low, bound) for bound in high]
        fractions = tuple(int(f) for f in fraction + self.rng.integers(-1, 2, channels))
        return TensorFormat(width, signed, fractions, tuple(low), tuple(high))

    def conv(
        self,
        outputs: int,
        window: Window | None = None,
        *,
        groups: int = 1,
        zeros: float = 0.4,
        levels: int = 8,
        terms: int = 1,
        output: TensorFormat | None = None,
        name: str | None = None,
        source: str | None = None,
        weight: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> GraphBuilder:
        """Add a convolution."""
        window = window or Window()
        source = source or self.last
        channels = self._map(source).shape.channels
        size = (terms, outputs, channels // groups, *window.kernel)
        sign, exponent = weight or self._weights(size, zeros, levels)
        form = self._map(source).format
        whole = Interval.of_format(form.width, form.signed)
        padded = window.padding != Padding()
        pads = (
            self.rng.integers(whole.low, whole.high + 1, channels)
            if padded
            else np.zeros(channels, dtype=int)
        )
        layer = Conv(
            name=name or f"conv{len(self.layers)}",
            source=source,
            weight=Po2Weight(Constant(sign.astype(np.int8)), Constant(exponent.astype(np.int8)), levels),
            weight_fractions=tuple(int(f) for f in levels + self.rng.integers(0, 3, outputs)),
            bias=Constant(self.rng.integers(-3000, 3001, outputs, dtype=np.int64)),
            window=window,
            groups=groups,
            pad_values=tuple(int(value) for value in pads),
            output=output or self.format(outputs, fraction=form.finest_fraction + 2),
        )
        return self._append(layer)

    def _weights(self, size: Sequence[int], zeros: float, levels: int) -> tuple[np.ndarray, np.ndarray]:
        sign = self.rng.choice([-1, 1], size)
        sign = np.where(self.rng.random(size) < zeros, 0, sign)
        return sign, np.where(sign == 0, 0, self.rng.integers(0, levels, size))

    def add(self, left: str, right: str, output: TensorFormat | None = None) -> GraphBuilder:
        """Add a residual add."""
        channels = self._map(left).shape.channels
        return self._append(Add(f"add{len(self.layers)}", (left, right), output or self.format(channels)))

    def max_pool(self, window: Window) -> GraphBuilder:
        """Add a max pool."""
        return self._append(MaxPool(f"max{len(self.layers)}", self.last, window))

    def average_pool(self, window: Window, output: TensorFormat | None = None) -> GraphBuilder:
        """Add an average pool."""
        channels, form = self._map(self.last).shape.channels, self._map(self.last).format
        output = output or self.format(channels, signed=form.signed, fraction=form.finest_fraction)
        return self._append(AveragePool(f"average{len(self.layers)}", self.last, window, output))

    def global_pool(self) -> GraphBuilder:
        """Add an average pool over the whole image."""
        shape = self._map(self.last).shape
        return self.average_pool(Window(kernel=(shape.height, shape.width)))

    def dense(self, classes: int) -> GraphBuilder:
        """Add the programmable classifier."""
        features = self._map(self.last).shape.elements
        weight = self.rng.integers(-128, 128, (classes, features)).astype(np.int8)
        bias = self.rng.integers(-100000, 100000, classes).astype(np.int32)
        return self._append(Dense(f"dense{len(self.layers)}", self.last, Constant(weight), Constant(bias), 8))

    def build(self, name: str = "dut") -> Graph:
        """Return the verified graph."""
        classifier = self.layers[-1] if self.layers else None
        count = classifier.weight.array.shape[0] if isinstance(classifier, Dense) else 0
        return verify(Graph(name, self.source, tuple(self.layers), tuple(map(str, range(count)))))

    def _map(self, name: str) -> FeatureMap:
        return Graph("partial", self.source, tuple(self.layers)).feature_maps[name]

    def _append(self, layer: GraphLayer) -> GraphBuilder:
        self.layers.append(layer)
        return self


def square(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
    """Return a square window."""
    return Window((kernel,) * 2, (stride,) * 2, (dilation,) * 2, Padding(padding, padding, padding, padding))


def inverted_residual(builder: GraphBuilder, expansion: int, channels: int, stride: int) -> GraphBuilder:
    """Add MobileNetV2's block: expand, depthwise, project, and add where shapes allow."""
    source = builder.last
    inputs = builder._map(source).shape.channels
    builder.conv(inputs * expansion).conv(inputs * expansion, square(3, stride, 1), groups=inputs * expansion)
    builder.conv(channels, output=builder.format(channels, signed=True))
    if stride == 1 and inputs == channels:
        builder.add(source, builder.last, builder.format(channels, signed=True))
    return builder


def random_images(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """Return images that use the input's whole range, and its extremes often."""
    rng = np.random.default_rng(seed)
    form, shape = graph.input.format, graph.input.shape
    size = (count, shape.channels, shape.height, shape.width)
    low = np.array(form.low).reshape(-1, 1, 1)
    high = np.array(form.high).reshape(-1, 1, 1)
    values = rng.integers(np.broadcast_to(low, size), np.broadcast_to(high, size) + 1)
    extreme = rng.random(size)
    values = np.where(extreme < 0.1, np.broadcast_to(low, size), values)
    return np.where(extreme > 0.9, np.broadcast_to(high, size), values).astype(np.int64)
