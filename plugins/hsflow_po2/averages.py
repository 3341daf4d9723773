# SPDX-License-Identifier: Apache-2.0
"""Move what an average pool cannot divide by into the weights behind it.

Hardware divides a sum of n values by `2**k`, k = ceil(log2(n)), so the pool's output is `mean * n / 2**k`. The next
layer's weights are multiplied by `2**k / n` before they are quantized.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hsflow.errors import ModelError
from hsflow.ir.network import INPUT_NAME, Add, AveragePool, Conv, Dense, MaxPool, Network, NetworkLayer
from hsflow.ir.tensor import Constant, Window


def divisor(window: Window) -> int:
    """Return the power of two by which hardware divides a window's sum."""
    return 1 << (window.taps - 1).bit_length()


def absorb_averages(network: Network) -> Network:
    """Return `network` with weights for average pools that divide by a power of two.

    Raises:
        ModelError: if feature maps of unequal remainders are added, so that no weight could absorb them.
    """
    gains = {INPUT_NAME: 1.0}
    layers: list[NetworkLayer] = []
    for layer in network.layers:
        gain = gains[layer.sources[0]]
        layers.append(_scaled(layer, gain) if isinstance(layer, Conv | Dense) and gain != 1 else layer)
        gains[layer.name] = _gain(layer, [gains[source] for source in layer.sources])
    return replace(network, layers=tuple(layers))


def _gain(layer: NetworkLayer, sources: list[float]) -> float:
    """Return the true value over the one that hardware holds."""
    match layer:
        case AveragePool():
            return sources[0] * divisor(layer.window) / layer.window.taps
        case MaxPool():
            return sources[0]
        case Add():
            if sources[0] != sources[1]:
                raise ModelError(
                    "an average over a window that is no power of two feeds an addition",
                    where=layer.name,
                    got=f"remainders {sources[0]:g} and {sources[1]:g}",
                    expected="equal ones",
                    hint="pool over 2, 4, 8, ... pixels, or put a convolution between pool and addition",
                )
            return sources[0]
        case Conv() | Dense():
            return 1.0


def _scaled(layer: Conv | Dense, gain: float) -> Conv | Dense:
    weight = Constant((layer.weight.array.astype(np.float64) * gain).astype(np.float32))
    if isinstance(layer, Dense):
        return replace(layer, weight=weight)
    return replace(layer, weight=weight, pad_values=tuple(value / gain for value in layer.pad_values))
