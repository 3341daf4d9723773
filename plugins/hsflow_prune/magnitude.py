# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning: exact zeros and a mask where weights, or whole filters, are smallest.

What was pruned before stays pruned. Of equal magnitudes the earlier weight goes first, so the result is exact and
the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.ir.network import Conv, Network, NetworkLayer
from hsflow.ir.tensor import Constant

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]


def prune(
    network: Network, sparsity: float, granularity: str, scope: str, skip: Sequence[str] = ()
) -> Network:
    """Return `network` with the share `sparsity` of its convolutions' weights at zero.

    Args:
        network: what to thin out; `Dense`, which stays programmable, is left alone.
        sparsity: share of the weights, 0 to 1, rounded up to whole pieces; a channel's filter counts as one piece.
        granularity: "unstructured" or "channel"; the last filter of a layer always stays.
        scope: "global" compares over all layers, "layer" takes the share in each layer.
        skip: names of layers that stay as they are; where none is left, so does the network.
    """
    convs = [layer for layer in network.layers if isinstance(layer, Conv) and layer.name not in skip]
    by_channel = granularity == "channel"
    scores = [_channel_scores(conv) if by_channel else _weight_scores(conv) for conv in convs]
    if not convs:
        return network
    groups = [range(len(convs))] if scope == "global" else [range(i, i + 1) for i in range(len(convs))]
    kept: dict[str, Mask] = {}
    for group in groups:
        masks = _keep([scores[i] for i in group], sparsity)
        kept.update({convs[i].name: mask for i, mask in zip(group, masks, strict=True)})
    layers = tuple(_masked(layer, kept, by_channel) for layer in network.layers)
    return replace(network, layers=layers)


def zero_fraction(network: Network) -> float:
    """Return the share of the convolutions' weights that are exactly zero."""
    weights = [layer.weight.array for layer in network.layers if isinstance(layer, Conv)]
    total = sum(weight.size for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / total if total else 0.0


def _weight_scores(conv: Conv) -> Scores:
    return np.asarray(_present(conv), dtype=np.float64)


def _channel_scores(conv: Conv) -> Scores:
    """Return the root mean square of each filter; the largest is infinite, so that it stays."""
    filters = _present(conv).reshape(conv.weight.array.shape[0], -1)
    scores: Scores = np.sqrt((filters**2).mean(axis=1))
    scores[scores.argmax()] = np.inf
    return scores


def _present(conv: Conv) -> NDArray[Any]:
    magnitudes = np.abs(conv.weight.array.astype(np.float64))
    return magnitudes if conv.mask is None else magnitudes * conv.mask.array


def _keep(scores: list[Scores], sparsity: float) -> list[Mask]:
    """Return masks that drop the smallest `ceil(sparsity * count)` of all scores together."""
    everything = np.concatenate([score.ravel() for score in scores])
    dropped = int(np.ceil(sparsity * everything.size - 1e-9))
    order = np.argsort(everything, kind="stable")[:dropped]
    mask = np.ones(everything.size, dtype=np.bool_)
    mask[order[np.isfinite(everything[order])]] = False
    ends = np.cumsum([score.size for score in scores])[:-1]
    return [part.reshape(score.shape) for part, score in zip(np.split(mask, ends), scores, strict=True)]


def _masked(layer: NetworkLayer, kept: dict[str, Mask], by_channel: bool) -> NetworkLayer:
    if not isinstance(layer, Conv) or layer.name not in kept:
        return layer
    keep = kept[layer.name]
    wide = np.broadcast_to(keep.reshape(-1, 1, 1, 1), layer.weight.array.shape) if by_channel else keep
    mask = wide if layer.mask is None else wide & layer.mask.array
    weight = np.where(mask, layer.weight.array, np.float32(0))
    return replace(layer, weight=Constant(weight), mask=Constant(mask))
