# SPDX-License-Identifier: Apache-2.0
"""Share out second terms among layers: each goes where it takes most off the divergence of the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hsflow.ir.network import Conv, Network
from hsflow_po2.codebook import codebook
from hsflow_po2.phases import PO2, Phase
from hsflow_po2.rounding import Po2Rounding, per_output

if TYPE_CHECKING:
    from hsflow_po2.survey import Survey


def expected_gains(
    layer: Conv, source: Tensor, sensitivity: Tensor, levels: int, phases: tuple[Phase, ...] = PO2
) -> Tensor:
    """Return what a second term of each weight would gain, of the weight's shape, flat.

    Rounding errors count as independent, and every input by its variance.

    Args:
        layer: the float convolution.
        source: values of its source, shape (n, channels).
        sensitivity: of each output, see `Survey`.
        levels: exponents of a window.
        phases: what an output's weights may be multiplied by.
    """
    weight = torch.from_numpy(layer.weight.array.copy()).float()
    outputs, inputs = weight.shape[:2]
    variance = source.var(dim=0).reshape(layer.groups, -1)
    seen = variance.repeat_interleave(outputs // layer.groups, dim=0).reshape(outputs, inputs, 1, 1)
    choices = [_rounding_errors(weight, levels, phase) * seen for phase in phases]
    first = torch.stack([one.flatten(1).sum(dim=1) for one, _ in choices]).argmin(dim=0)
    one, two = torch.stack(choices)[first, :, torch.arange(outputs)].unbind(dim=1)
    return ((one - two) * per_output(sensitivity, 4)).flatten()


def _rounding_errors(weight: Tensor, levels: int, phase: Phase) -> Tensor:
    """Return each weight's squared error with one term and with two, shape (2, *weight)."""
    weight = weight / phase.factor
    scale = torch.exp2(per_output(Po2Rounding(levels).place(weight), weight.dim()).float())
    errors = [(codebook(levels, terms).nearest(weight * scale) / scale - weight).square() for terms in (1, 2)]
    return torch.stack(errors) * phase.factor**2


def share_out(gains: dict[str, Tensor], count: int) -> dict[str, int]:
    """Return how many of the `count` best gains are each layer's."""
    if not gains or count <= 0:
        return dict.fromkeys(gains, 0)
    together = torch.cat(list(gains.values()))
    if count >= together.numel():
        return {name: gain.numel() for name, gain in gains.items()}
    threshold = together.kthvalue(together.numel() - count).values
    return {name: int((gain > threshold).sum()) for name, gain in gains.items()}


@dataclass(eq=False)
class Allowance:
    """Hold what is left to spend; what a layer leaves over goes to those after it, in proportion."""

    gains: dict[str, Tensor]
    left: int

    def take(self, name: str) -> int:
        """Return how many second terms the layer may have, all later layers considered."""
        return share_out(self.gains, self.left)[name]

    def spend(self, name: str, count: int) -> None:
        """Note how many the layer took."""
        del self.gains[name]
        self.left -= count


def allowance(
    network: Network, survey: Survey, levels: int, budget: float, phases: tuple[Phase, ...] = PO2
) -> Allowance:
    """Return second terms for the share `budget` of a network's weights."""
    gains = {}
    total = 0
    for layer in network.layers:
        if isinstance(layer, Conv):
            samples = survey.samples[layer.source]
            sensitivity = survey.sensitivity[layer.name]
            gains[layer.name] = expected_gains(layer, samples, sensitivity, levels, phases)
            total += layer.weight.array.size
    return Allowance(gains, int(budget * total))
