# SPDX-License-Identifier: Apache-2.0
"""Quantize without training or labels: layer by layer, so that each layer gives what the float layer gave.

The target of a layer comes from the float network, its input from the quantized layers before it, so that each layer
also makes up for what those got wrong. Weights are refitted by least squares, then rounded with compensated errors
(see `compensate.py`), and the bias takes what is left of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from hsflow_torch.module import constant, convolve, stream_order
from hsflow_torch.training import threads
from numpy.typing import NDArray
from torch import Tensor

from hsflow.errors import ModelError
from hsflow.ir import graph as ir
from hsflow.ir.network import (
    INPUT_NAME,
    PIXEL_FRACTION,
    Add,
    AveragePool,
    Conv,
    Dense,
    MaxPool,
    Network,
    NetworkLayer,
)
from hsflow.ir.tensor import Padding
from hsflow.progress import Track, untracked
from hsflow_po2.averages import absorb_averages
from hsflow_po2.budget import allowance
from hsflow_po2.dense import quantize_dense
from hsflow_po2.export import assemble, integer_conv
from hsflow_po2.fit import fit_conv
from hsflow_po2.moments import Halves, choose_pixels, mean_patches, patches
from hsflow_po2.phases import PO2, Phase, further_exponents
from hsflow_po2.scales import Scale, choose_scales
from hsflow_po2.simulate import GUARD_BITS, AverageModule, ChannelFormat
from hsflow_po2.survey import survey

_BATCH = 16


@dataclass(frozen=True)
class ReconstructOptions:
    """Hold how to quantize layer by layer."""

    width: int = 8
    """Bits of a feature map."""

    levels: int = 8
    """Exponents of a window."""

    budget: float = 0.15
    """The largest share of the weights that get a second term."""

    pixels: int = 32768
    """Pixels of all images together that a layer is fitted to."""

    gradient_images: int = 128
    """Images that measure how much the logits mind errors."""

    phases: tuple[Phase, ...] = PO2
    """What an output channel's weights may be multiplied by, besides a power of two."""

    threads: int = 1


def reconstruct(
    network: Network,
    images: NDArray[np.uint8],
    options: ReconstructOptions,
    seed: int,
    *,
    track: Track = untracked,
) -> ir.Graph:
    """Return the integer graph of `network`, fitted to unlabeled `images`, shape (n, channels, height, width)."""
    with threads(options.threads):
        work = Reconstructor(network, torch.from_numpy(np.array(images)), options, seed, track)
        for index in track(range(len(network.layers)), "reconstruction"):
            work.visit(work.network.layers[index])
        return work.graph()


class Reconstructor:
    """Hold the feature maps of the float and the quantized network at one depth."""

    def __init__(
        self,
        network: Network,
        images: Tensor,
        options: ReconstructOptions,
        seed: int,
        track: Track = untracked,
    ) -> None:
        self.network = absorb_averages(_finite(network))
        self.options = options
        self.reference = AverageModule(self.network).eval()
        self.generator = torch.Generator().manual_seed(seed)
        self.survey = survey(self.reference, images, seed, options.gradient_images, track=track)
        self.scales = choose_scales(self.network, self.survey.samples, options.width)
        self.allowance = allowance(self.network, self.survey, options.levels, options.budget, options.phases)
        pixels = images.contiguous(memory_format=torch.channels_last)
        self.wanted: dict[str, Tensor] = {INPUT_NAME: (pixels.float() / (1 << PIXEL_FRACTION)).half()}
        self.found: dict[str, Tensor] = {INPUT_NAME: pixels}
        self.layers: list[ir.GraphLayer] = []

    def graph(self) -> ir.Graph:
        """Return the verified graph of the layers visited, which must be all."""
        return assemble(self.network, self.scales[INPUT_NAME].format, self.layers)

    @torch.no_grad()
    def visit(self, layer: NetworkLayer) -> None:
        """Quantize one layer, whose sources have been visited, and compute its feature maps."""
        if isinstance(layer, Dense):
            self.layers.append(self._dense(layer))
            return
        moments = self._float_pass(layer)
        if isinstance(layer, Conv):
            layer = self._fitted(layer, moments)
        self._quantized_pass(layer)
        if not isinstance(layer, Conv):
            self.layers.append(self._integer_layer(layer))
        self._forget(layer)

    def _batches(self) -> list[slice]:
        return [slice(start, start + _BATCH) for start in range(0, len(self.found[INPUT_NAME]), _BATCH)]

    def _float_pass(self, layer: NetworkLayer) -> Halves:
        """Compute the float layer for all images; gather what fits a convolution to it."""
        shape, parts = self.network.shapes[layer.name], []
        moments = Halves(self.survey.coherence.get(layer.name, 0.0), shape.pixels)
        count = len(self.found[INPUT_NAME])
        pixels = choose_pixels(shape.height, shape.width, count, self.options.pixels, self.generator)
        for batch in self._batches():
            raw = self.reference.compute(
                layer, [self.wanted[source][batch].float() for source in layer.sources]
            )
            if isinstance(layer, Conv):
                self._observe(layer, raw, batch, pixels[batch], moments)
            parts.append(self.reference.finish(layer, raw).half())
        self.wanted[layer.name] = torch.cat(parts)
        return moments

    def _observe(self, layer: Conv, raw: Tensor, batch: slice, pixels: Tensor, moments: Halves) -> None:
        values, layer = self._values(layer.source, batch), self._padded(layer)
        seen = patches(values, layer, pixels, raw.shape[3])
        scale = self.scales[layer.name]
        flat = (raw + self._residual_error(layer, batch)).permute(0, 2, 3, 1).flatten(1, 2)
        taken = flat[torch.arange(len(flat))[:, None], pixels].flatten(0, 1)
        target = (taken - scale.offset) * scale.gain
        moments.add(seen, _by_group(target, layer.groups), len(raw))
        every = (flat.mean(dim=1) - scale.offset) * scale.gain
        moments.add_means(mean_patches(values, layer, *raw.shape[2:]), _by_group(every, layer.groups))

    def _residual_error(self, layer: Conv, batch: slice) -> Tensor:
        """Return what the other side of an addition lacks, if an addition is all that reads the layer."""
        readers = [known for known in self.network.layers if layer.name in known.sources]
        if len(readers) != 1 or not isinstance(readers[0], Add):
            return torch.zeros(1, 1, 1, 1)
        left, right = readers[0].sources
        other = right if left == layer.name else left
        if other == layer.name or other not in self.found:
            return torch.zeros(1, 1, 1, 1)
        scale = self.scales[other]
        found = self._values(other, batch) / scale.gain.view(-1, 1, 1) + scale.offset.view(-1, 1, 1)
        return self.wanted[other][batch].float() - found

    def _values(self, name: str, batch: slice) -> Tensor:
        """Return the quantized feature map in its own scale."""
        return self.found[name][batch].float() / self.scales[name].unit.view(-1, 1, 1)

    def _padded(self, layer: Conv) -> Conv:
        """Return `layer` with the padding values that hardware will use, in the scale of the source."""
        if layer.window.padding == Padding():
            return replace(layer, pad_values=(0.0,) * len(layer.pad_values))
        scale = self.scales[layer.source]
        low, high = (torch.tensor(ends) for ends in (scale.format.low, scale.format.high))
        values = (torch.tensor(layer.pad_values) - scale.offset) * scale.gain * scale.unit
        rounded = torch.floor(values + 0.5).clamp(low, high) / scale.unit
        return replace(layer, pad_values=tuple(rounded.tolist()))

    def _fitted(self, layer: Conv, moments: Halves) -> Conv:
        """Return the convolution with the weights and biases that hardware will use; remember its integers."""
        source, output = self.scales[layer.source], self.scales[layer.name]
        weight = scaled_weight(layer, source, output)
        fit = fit_conv(
            weight,
            moments,
            self.survey.sensitivity[layer.name] / output.gain.square(),
            torch.tensor(output.format.fractions) + GUARD_BITS - source.format.finest_fraction,
            self.allowance.take(layer.name),
            self.options.levels,
            self.options.phases,
        )
        self.allowance.spend(layer.name, fit.second)
        layer = self._padded(layer)
        levels = self.options.levels + further_exponents(self.options.phases)
        self.layers.append(
            integer_conv(layer, weight, fit.rounded, fit.bias, source.format, output.format, levels)
        )
        return replace(layer, weight=constant(fit.rounded.values), bias=constant(fit.bias.float()))

    def _quantized_pass(self, layer: NetworkLayer) -> None:
        output = self.scales[layer.name]
        form = ChannelFormat(output.format)
        parts = []
        for batch in self._batches():
            sources = [self._values(source, batch) for source in layer.sources]
            value = self._quantized(layer, sources)
            parts.append((form(value) * output.unit.view(-1, 1, 1)).to(_integer_type(output)))
        self.found[layer.name] = torch.cat(parts)

    def _quantized(self, layer: NetworkLayer, sources: list[Tensor]) -> Tensor:
        if isinstance(layer, Conv):
            weight, bias = (torch.from_numpy(value.array.copy()) for value in (layer.weight, layer.bias))
            return convolve(sources[0], weight, bias, layer)
        return self.reference.compute(layer, sources)

    def _integer_layer(self, layer: NetworkLayer) -> ir.GraphLayer:
        form = self.scales[layer.name].format
        match layer:
            case Add():
                return ir.Add(layer.name, layer.sources, form)
            case AveragePool():
                return ir.AveragePool(layer.name, layer.source, layer.window, form)
            case MaxPool():
                return ir.MaxPool(layer.name, layer.source, layer.window)
        raise TypeError(type(layer))

    def _dense(self, layer: Dense) -> ir.Dense:
        """Return the programmable layer; its bias makes the mean logits those of the float network."""
        scale = self.scales[layer.source]
        shape = self.network.shapes[layer.source]
        wanted = stream_order(self.wanted[layer.source].float()).double().mean(dim=0)
        found = stream_order(self._values(layer.source, slice(None))).double().mean(dim=0)
        weight, bias = (torch.from_numpy(value.array.copy()).double() for value in (layer.weight, layer.bias))
        scaled = weight / scale.gain.repeat(shape.pixels)
        bias = bias + weight @ wanted - scaled @ found
        source = ir.FeatureMap(shape, scale.format)
        return quantize_dense(layer.name, layer.source, source, scaled.numpy(), bias.numpy())

    def _forget(self, layer: NetworkLayer) -> None:
        """Drop the feature maps that no later layer reads."""
        later = self.network.layers[[known.name for known in self.network.layers].index(layer.name) + 1 :]
        needed = {source for known in later for source in known.sources} | {layer.name, INPUT_NAME}
        for maps in (self.wanted, self.found):
            for name in [name for name in maps if name not in needed]:
                del maps[name]


def _finite(network: Network) -> Network:
    """Refuse a network with a weight or bias that is not finite."""
    for layer in network.layers:
        values = [layer.weight.array, layer.bias.array] if isinstance(layer, Conv | Dense) else []
        if not all(np.isfinite(value).all() for value in values):
            raise ModelError("a weight or bias is not finite", where=layer.name, hint="train again")
    return network


def scaled_weight(layer: Conv, source: Scale, output: Scale) -> Tensor:
    """Return the float weights in the scales of the feature maps on both sides."""
    weight = torch.from_numpy(layer.weight.array.copy()).float()
    if layer.mask is not None:
        weight = weight * torch.from_numpy(layer.mask.array.copy())
    outputs, inputs = weight.shape[:2]
    gains = source.gain.reshape(layer.groups, inputs).repeat_interleave(outputs // layer.groups, dim=0)
    return weight * output.gain.view(-1, 1, 1, 1) / gains.view(outputs, inputs, 1, 1)


def _by_group(values: Tensor, groups: int) -> Tensor:
    """Return (n, outputs) as (groups, n, outputs / groups)."""
    return values.reshape(len(values), groups, -1).transpose(0, 1)


def _integer_type(scale: Scale) -> torch.dtype:
    if scale.format.width > 8:
        return torch.int32
    return torch.int8 if scale.format.signed else torch.uint8
