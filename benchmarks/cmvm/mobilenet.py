# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2-1.0's convolutions, by its architecture, with seeded Po2 weights (8 levels, half of them zero).

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from hsflow_torch.mobilenet import GROUPS, HEAD_CHANNELS, STEM_CHANNELS

from benchmarks.cmvm.matrices import DEPTHWISE_TAPS, Matrix, block_diagonal, weights
from benchmarks.cmvm.solver import solve
from hsflow.executor import ProcessExecutor

FAMILY = "g8"
ZEROS = 50
DEPTHWISE_CHANNELS = 64
"""Channels of one matrix of a depthwise layer: they share nothing, and one matrix of all would be mostly zeros."""

WORKERS = 2
LIMIT_SECONDS = 300.0
_COLOURS = 3


@dataclass(frozen=True)
class Layer:
    """Describe one convolution; a depthwise one has `inputs` 9 and is its own channel's nine taps each."""

    name: str
    inputs: int
    outputs: int
    depthwise: bool = False

    @property
    def weights(self) -> int:
        """Return the number of weights."""
        return self.inputs * self.outputs

    def matrices(self, seed: int) -> Iterator[Matrix]:
        """Yield the layer's matrix, shape (inputs, outputs); if depthwise, a block-diagonal one for some channels."""
        if not self.depthwise:
            yield weights((self.inputs, self.outputs), FAMILY, ZEROS, seed=seed)
            return
        taps = weights((self.outputs, self.inputs), FAMILY, ZEROS, seed=seed)
        for first in range(0, self.outputs, DEPTHWISE_CHANNELS):
            yield block_diagonal(taps[first : first + DEPTHWISE_CHANNELS])


def layers() -> list[Layer]:
    """Return the 52 convolutions in order: 2,189,760 weights."""
    found = [Layer("stem", DEPTHWISE_TAPS * _COLOURS, STEM_CHANNELS)]
    channels = STEM_CHANNELS
    for group, (expansion, outputs, repetitions, _) in enumerate(GROUPS):
        for number in range(repetitions):
            found += _block(f"block{group}_{number}", channels, expansion, outputs)
            channels = outputs
    return [*found, Layer("last", channels, HEAD_CHANNELS)]


def _block(name: str, inputs: int, expansion: int, outputs: int) -> Iterator[Layer]:
    hidden = inputs * expansion
    if expansion > 1:
        yield Layer(f"{name}_expand", inputs, hidden)
    yield Layer(f"{name}_depthwise", DEPTHWISE_TAPS, hidden, depthwise=True)
    yield Layer(f"{name}_project", hidden, outputs)


@dataclass(frozen=True)
class Solved:
    """Hold what a layer's solution costs, proved; `seconds` is CPU time, `peak_mib` the process's so far."""

    name: str
    nonzeros: int
    adders: int
    full_adder_bits: int
    depth: int
    seconds: float
    peak_mib: float


def solve_layer(task: tuple[int, str]) -> Solved:
    """Solve and prove the layer of a number at an effort."""
    number, effort = task
    layer = layers()[number]
    start = time.process_time()
    graphs, nonzeros = [], 0
    for matrix in layer.matrices(seed=number + 1):
        graphs.append(solve(matrix, effort))
        graphs[-1].prove(matrix.T, layer.name)
        nonzeros += int(np.count_nonzero(matrix))
    return Solved(
        layer.name,
        nonzeros,
        sum(len(graph.adders) for graph in graphs),
        sum(graph.full_adder_bits for graph in graphs),
        max(graph.depth for graph in graphs),
        time.process_time() - start,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def main() -> None:
    """Solve every layer on two cores and print each one and the sums; largest first, so that both cores end together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", default="normal", choices=("low", "normal", "high"))
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--layers", type=int, default=0, help="only so many, the smallest; 0: all")
    arguments = parser.parse_args()
    sizes = [layer.weights for layer in layers()]
    order = sorted(range(len(sizes)), key=lambda number: -sizes[number])[-arguments.layers :]
    start = time.perf_counter()
    solved = []
    tasks = [(number, arguments.effort) for number in order]
    for result in ProcessExecutor(arguments.workers).map(solve_layer, tasks):
        solved.append(result)
        print(_line(result), flush=True)
    wall = time.perf_counter() - start
    print(_summary(solved, wall, arguments.workers))


def _line(result: Solved) -> str:
    cost = f"{result.adders:9} adders {result.full_adder_bits:10} full-adder bits, depth {result.depth:3}"
    return f"{result.name:20}{result.nonzeros:8} nonzeros {cost} {result.seconds:8.2f} s {result.peak_mib:6.0f} MiB"


def _summary(solved: Sequence[Solved], wall: float, workers: int) -> str:
    adders = sum(result.adders for result in solved)
    nonzeros = sum(result.nonzeros for result in solved)
    seconds = sum(result.seconds for result in solved)
    limit = f"{'ok  ' if wall <= LIMIT_SECONDS else 'MISS'} limit {LIMIT_SECONDS:.0f} s"
    cost = f"{len(solved)} layers, {nonzeros} nonzeros, {adders} adders, all proved"
    return f"{cost}\n{seconds:.1f} CPU seconds, {wall:.1f} s on {workers} workers: {limit}"


if __name__ == "__main__":
    main()
