# SPDX-License-Identifier: Apache-2.0
"""Choose an NPU's lanes: as few as keep up with the layers before it.

A layer is given as a configuration, of which tokens, channels, classes and activations count and the lanes do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .configuration import MAX_LANES, NpuConfiguration, ceil_div


def with_fewest_multipliers(
    layer: NpuConfiguration, interval: int, logit_lanes: int | None = None
) -> NpuConfiguration:
    """Return the NPU with the fewest multipliers, then the fewest logit lanes, that keeps up with `interval`.

    Of equals it has the most class lanes, which share their activations. `logit_lanes` sets the logit lanes instead. Where no NPU keeps up, the
    result is the one with the fewest multipliers among the fastest.
    """
    target = max(interval, fastest(layer, logit_lanes).initiation_interval)
    arrays = list(_arrays(layer, target, logit_lanes))
    fewest = min(classes * features for classes, features in arrays)
    chosen = [
        _with_fewest_logits(replace(layer, class_lanes=classes, feature_lanes=features), target, logit_lanes)
        for classes, features in arrays
        if classes * features == fewest
    ]
    return min(chosen, key=lambda npu: (npu.logit_lanes, -npu.class_lanes))


def with_multipliers(
    layer: NpuConfiguration, multipliers: int, interval: int, logit_lanes: int | None = None
) -> NpuConfiguration:
    """Return the NPU with at most `multipliers`, spent on classes first.

    Without `logit_lanes` it has the fewest logit lanes with which it keeps up with `interval`, or else those that never
    let the array wait.
    """
    npu = NpuConfiguration.from_lanes(
        multipliers, tokens=layer.tokens, channels=layer.channels, classes=layer.classes,
        activation_width=layer.activation_width, activation_signed=layer.activation_signed,
    )  # fmt: skip
    unhindered = replace(npu, logit_lanes=npu.class_lanes)
    return _with_fewest_logits(npu, max(interval, unhindered.initiation_interval), logit_lanes)


def fastest(layer: NpuConfiguration, logit_lanes: int | None = None) -> NpuConfiguration:
    """Return the NPU with every lane that there can be."""
    classes, features = min(layer.classes, MAX_LANES), min(layer.features, MAX_LANES)
    return replace(layer, class_lanes=classes, feature_lanes=features, logit_lanes=logit_lanes or classes)


def _arrays(layer: NpuConfiguration, interval: int, logit_lanes: int | None) -> Iterator[tuple[int, int]]:
    """Yield (class lanes, fewest feature lanes) that keep up, with as many logit lanes as need be or those given."""
    for class_lanes in range(1, min(layer.classes, MAX_LANES) + 1):
        tiles = ceil_div(layer.classes, class_lanes)
        inner = last = 1
        if logit_lanes:
            inner = ceil_div(class_lanes, logit_lanes)
            last = ceil_div(layer.classes, logit_lanes) - (tiles - 1) * class_lanes // logit_lanes
        groups = _most_groups(tiles, inner, last, interval)
        feature_lanes = ceil_div(layer.features, groups) if groups else MAX_LANES + 1
        if feature_lanes <= MAX_LANES:
            yield class_lanes, feature_lanes


def _most_groups(tiles: int, inner: int, last: int, interval: int) -> int:
    """Return the largest G with (tiles - 1) * max(G, inner) + max(G, last) <= interval, 0 if there is none."""
    if tiles == 1:
        return interval if last <= interval else 0
    groups = interval // tiles
    if groups >= max(inner, last):
        return groups
    if last > inner:
        groups = (interval - last) // (tiles - 1)
        return groups if groups >= inner else 0
    groups = interval - (tiles - 1) * inner
    return groups if groups >= last else 0


def _with_fewest_logits(npu: NpuConfiguration, interval: int, logit_lanes: int | None) -> NpuConfiguration:
    """Return `npu` with `logit_lanes`, or with the fewest that keep up with `interval`, which some must."""
    if logit_lanes:
        return replace(npu, logit_lanes=logit_lanes)
    fewest = ceil_div(npu.classes, interval)
    candidates = (replace(npu, logit_lanes=lanes) for lanes in range(fewest, npu.classes + 1))
    return next(candidate for candidate in candidates if candidate.initiation_interval <= interval)
