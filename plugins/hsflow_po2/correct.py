# SPDX-License-Identifier: Apache-2.0
"""Correct biases after rounding: each layer's mean output becomes the float network's again, first layer first.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hsflow.ir.network import INPUT_NAME, PIXEL_FRACTION, Conv, Dense
from hsflow_po2.simulate import AverageModule, QuantizedModule


@torch.no_grad()
def correct_biases(quantized: QuantizedModule, reference: AverageModule, images: Tensor) -> None:
    """Shift the biases of `quantized` in place until its layers' means over `images` are those of `reference`."""
    pixels = images.float() / (1 << PIXEL_FRACTION)
    wanted, found = {INPUT_NAME: pixels}, {INPUT_NAME: pixels}
    for layer in quantized.network.layers:
        target = reference.compute(layer, [wanted[source] for source in layer.sources])
        value = quantized.compute(layer, [found[source] for source in layer.sources])
        if isinstance(layer, Conv | Dense):
            quantized.parameters_of(layer).bias.add_(_channel_means(target) - _channel_means(value))
            value = quantized.compute(layer, [found[source] for source in layer.sources])
        wanted[layer.name] = reference.finish(layer, target)
        found[layer.name] = quantized.finish(layer, value)
    quantized.refresh()


def _channel_means(value: Tensor) -> Tensor:
    return value.transpose(0, 1).flatten(1).mean(dim=1)
