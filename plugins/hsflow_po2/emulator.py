# SPDX-License-Identifier: Apache-2.0
"""A fast emulator: every integer that the interpreter gives, by torch's float arithmetic where that is proved exact.

Each layer proves from its real weights and its input's range that no partial sum exceeds what float32 holds, or else takes
float64 or 64-bit integers. On the CPU a few images at a time pass through the network in one of several threads, so that
their feature maps stay near the processor, and threads never wait for each other within a layer. Memory does not grow
with the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Graph, GraphLayer
from hsflow.ir.interp import check_images
from hsflow.ir.network import INPUT_NAME
from hsflow.progress import Track, untracked
from hsflow_po2.emulator_exact import exact_products
from hsflow_po2.emulator_steps import Step, make_step

CPU_ELEMENTS = 1 << 22
"""Numbers of all feature maps that a layer reads and writes at once: 16 MiB, measured to be the best."""

GPU_ELEMENTS = 1 << 28
"""The same on a GPU: 1 GiB."""

MAPS_BATCH = 8


def emulate(
    graph: Graph,
    images: NDArray[Any],
    *,
    device: str = "cpu",
    batch_size: int | None = None,
    track: Track = untracked,
) -> IntArray:
    """Run `images`, shape (n, channels, height, width), through the graph, as `hsflow.ir.interp.interpret` does.

    Returns:
        int64, (n, classes) after a `Dense` layer, else (n, channels, height, width).

    Raises:
        ModelError: if the images do not fit the graph's input.
    """
    return Emulator(graph, device).run(images, batch_size, track)


def features(
    graph: Graph, images: NDArray[Any], *, device: str = "cpu", track: Track = untracked
) -> IntArray:
    """Return what the classifier reads, in stream order (height, width, channels), int64 of shape (n, features).

    Without a classifier that is the graph's output.

    Raises:
        ModelError: if the images do not fit the graph's input.
    """
    read = graph.layers[-1].name if graph.classifier is None else graph.classifier.source
    maps = Emulator(graph, device, output=read).run(images, track=track)
    return maps.transpose(0, 2, 3, 1).reshape(len(maps), math.prod(maps.shape[1:]))


def feature_maps(
    graph: Graph,
    images: NDArray[Any],
    names: Sequence[str] | None = None,
    *,
    device: str = "cpu",
    batch_size: int = MAPS_BATCH,
) -> Iterator[dict[str, IntArray]]:
    """Yield, for `batch_size` images after the other, what `hsflow.ir.interp.interpret_all` returns.

    Args:
        graph: the network.
        images: shape (n, channels, height, width).
        names: the maps that are wanted, `input` being the image; all, if None.
        device: where they are computed.
        batch_size: how many images' maps are held at a time.

    Raises:
        ModelError: if the images do not fit the graph's input, or it has no map of such a name.
    """
    return Emulator(graph, device, outputs=tuple(graph.feature_maps) if names is None else names).maps(
        images, batch_size
    )


class Emulator:
    """Hold a graph's constants on a device, to run many images up to the feature maps that are wanted.

    Args:
        graph: the network.
        device: torch's name of a device.
        output: the map that `run` returns, by default the last.
        outputs: further maps, for `maps`.
    """

    def __init__(
        self, graph: Graph, device: str = "cpu", *, output: str | None = None, outputs: Sequence[str] = ()
    ) -> None:
        self.graph = graph
        self.device = device
        self.output = output or (outputs[-1] if outputs else graph.layers[-1].name)
        self.outputs = tuple(dict.fromkeys((*outputs, self.output)))
        maps = graph.feature_maps
        _check_names(graph, self.outputs)
        self.steps: list[tuple[GraphLayer, Step]] = [
            (layer, make_step(layer, tuple(maps[source] for source in layer.sources), device))
            for layer in _ancestors(graph, self.outputs)
        ]
        self._dead = _last_readers([layer for layer, _ in self.steps], self.outputs)
        self._elements = max((_elements(graph, layer) for layer, _ in self.steps), default=1)

    def run(self, images: NDArray[Any], batch_size: int | None = None, track: Track = untracked) -> IntArray:
        """Return the map `output` of all images; no more than `batch_size` of them are computed at once.

        Raises:
            ModelError: if the images do not fit the graph's input.
        """
        result = np.empty((len(images), *self._shape(self.output)), dtype=np.int64)
        chunks = self._chunks(images, batch_size)
        with self._workers(len(chunks)) as workers:
            batches = workers(partial(self._batch, names=(self.output,)), chunks)
            done = 0
            for batch in track(batches, "emulating images", len(chunks)):
                values = batch[self.output]
                result[done : done + len(values)] = values
                done += len(values)
        return result

    def maps(self, images: NDArray[Any], batch_size: int = MAPS_BATCH) -> Iterator[dict[str, IntArray]]:
        """Yield the maps `outputs`, int64 as the interpreter's, for `batch_size` images after the other.

        Raises:
            ModelError: if the images do not fit the graph's input.
        """
        check_images(self.graph, images[:0])
        for start in range(0, len(images), batch_size):
            chunks = self._chunks(images[start : start + batch_size], None)
            with self._workers(len(chunks)) as workers:
                parts = list(workers(partial(self._batch, names=self.outputs), chunks))
            yield {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _chunks(self, images: NDArray[Any], batch_size: int | None) -> list[NDArray[Any]]:
        """Return the images in parts that are computed at once: as few as fit the memory, and one a thread at least."""
        check_images(self.graph, images[:0])
        limit = CPU_ELEMENTS if self.device == "cpu" else GPU_ELEMENTS
        size = max(1, limit // self._elements)
        if self.device == "cpu":
            size = min(size, -(-len(images) // torch.get_num_threads()))
        size = max(1, min(size, batch_size or size))
        return [images[start : start + size] for start in range(0, len(images), size)]

    @contextmanager
    def _workers(self, chunks: int) -> Iterator[Callable[..., Iterable[Any]]]:
        """Yield a `map` over as many threads as torch has; each of them computes with one thread of torch's."""
        threads = torch.get_num_threads()
        with exact_products():
            if threads == 1 or chunks < 2 or self.device != "cpu":
                yield map
                return
            pool: Executor = ThreadPoolExecutor(min(threads, chunks), "emulator", torch.set_num_threads, (1,))
            try:
                yield pool.map
            finally:
                pool.shutdown(cancel_futures=True)
                torch.set_num_threads(threads)

    def _batch(self, images: NDArray[Any], names: Sequence[str]) -> dict[str, IntArray]:
        """Return the named maps of some images."""
        with torch.inference_mode(), torch.autocast(torch.device(self.device).type, enabled=False):
            values = {INPUT_NAME: self._input(images)}
            for (layer, step), dead in zip(self.steps, self._dead, strict=True):
                values[layer.name] = step(*(values[source] for source in layer.sources))
                for name in dead:
                    del values[name]
            return {name: self._result(name, values[name]) for name in names}

    def _input(self, images: NDArray[Any]) -> Tensor:
        """Return the images as a float map on the device, after checking every pixel."""
        form = self.graph.input.format
        if images.dtype == np.uint8 and max(form.low) <= 0 and min(form.high) >= 255:
            pixels = np.ascontiguousarray(images)  # any byte is in range, and a byte is quickly moved
        else:
            pixels = check_images(self.graph, images)
        moved = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).to(self.device)
        return moved.permute(0, 2, 3, 1).float().contiguous()

    def _result(self, name: str, values: Tensor) -> IntArray:
        integers: IntArray = values.permute(0, 3, 1, 2).to(torch.int64).cpu().contiguous().numpy()
        return integers.reshape(len(integers), *self._shape(name))

    def _shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an image's map as the interpreter gives it."""
        classifier, shape = self.graph.classifier, self.graph.feature_maps[name].shape
        if classifier is not None and classifier.name == name:
            return (shape.channels,)
        return shape.channels, shape.height, shape.width


def _check_names(graph: Graph, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in graph.feature_maps]
    if unknown:
        raise ModelError(
            "the graph has no such feature map",
            where=graph.name,
            got=", ".join(unknown),
            expected="one of " + ", ".join(graph.feature_maps),
        )


def _ancestors(graph: Graph, names: Sequence[str]) -> list[GraphLayer]:
    """Return the layers that feature maps depend on, their own included, in the graph's order."""
    needed = set(names)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.sources)
    return [layer for layer in graph.layers if layer.name in needed]


def _last_readers(layers: Sequence[GraphLayer], kept: Sequence[str]) -> list[list[str]]:
    """Return, for each layer, the maps that nobody needs after it."""
    last = {source: index for index, layer in enumerate(layers) for source in layer.sources}
    return [
        [name for name, reader in last.items() if reader == index and name not in kept]
        for index in range(len(layers))
    ]


def _elements(graph: Graph, layer: GraphLayer) -> int:
    """Return the numbers that a layer reads and writes for one image."""
    maps = graph.feature_maps
    return sum(maps[name].shape.elements for name in (*layer.sources, layer.name))
