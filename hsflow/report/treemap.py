# SPDX-License-Identifier: Apache-2.0
"""Where the boxes of a treemap lie: each as large as its part of the whole, and as square as that allows.

The method is Bruls, Huizing and van Wijk's ("Squarified Treemaps", 2000): boxes are put in rows along the shorter side, and a
row is full when one more box would make its worst one longer and thinner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hsflow.report.content import Region, RegionGroup, Treemap

_SMALLEST_SHARE = 1e-5
T = TypeVar("T", Region, RegionGroup)

ASPECT = 2.4
"""The width of a treemap by its height."""


@dataclass(frozen=True)
class Rectangle:
    """Hold a rectangle in units of any kind."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Box:
    """Hold where a group lies, and where each of its regions lies in it, in percent of what it lies in."""

    group: RegionGroup
    place: Rectangle
    regions: tuple[tuple[Region, Rectangle], ...]


def boxes(treemap: Treemap) -> list[Box]:
    """Return the boxes of all groups that can be seen, the largest first."""
    groups = _visible(treemap.groups)
    whole = Rectangle(0.0, 0.0, ASPECT, 1.0)
    places = squarified([group.value for group in groups], whole)
    return [_box(group, place, whole) for group, place in zip(groups, places, strict=True)]


def _box(group: RegionGroup, place: Rectangle, whole: Rectangle) -> Box:
    regions = _visible(group.regions)
    own = Rectangle(0.0, 0.0, place.width, place.height)
    inner = squarified([region.value for region in regions], own)
    return Box(
        group, _percent(place, whole), tuple((region, _percent(rectangle, own)) for region, rectangle in zip(regions, inner, strict=True))
    )  # fmt: skip


def _visible(parts: Sequence[T]) -> list[T]:
    """Return the parts that are large enough to be drawn, the largest first."""
    least = _SMALLEST_SHARE * sum(part.value for part in parts)
    return sorted((part for part in parts if part.value > least), key=lambda part: -part.value)


def _percent(part: Rectangle, whole: Rectangle) -> Rectangle:
    across, down = 100 / whole.width, 100 / whole.height
    return Rectangle(part.x * across, part.y * down, part.width * across, part.height * down)


def squarified(values: Sequence[float], place: Rectangle) -> list[Rectangle]:
    """Return a rectangle in `place` for each value; values are the largest first, and none is smaller than can be seen."""
    found, left, rest = list[Rectangle](), list(values), place
    while left:
        scale = (
            rest.width * rest.height / sum(left)
        )  # anew for each row, so that the last one ends where the place does
        areas = [value * scale for value in left]
        count = _row_length(areas, min(rest.width, rest.height))
        placed, rest = _laid(areas[:count], rest)
        found.extend(placed)
        left = left[count:]
    return found


def _row_length(areas: Sequence[float], side: float) -> int:
    """Return how many of the next areas make up the best row along a side."""
    count = 1
    while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
        count += 1
    return count


def _worst(row: Sequence[float], side: float) -> float:
    """Return the ratio of the longer to the shorter side of a row's worst box."""
    depth = sum(row) / side
    return max(max(depth * depth / area, area / (depth * depth)) for area in row)


def _laid(row: Sequence[float], rest: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Return the boxes of a row along the shorter side, and what is left beside them."""
    upright = rest.width >= rest.height
    side = rest.height if upright else rest.width
    depth, start, found = sum(row) / side, 0.0, []
    for area in row:
        length = area / depth
        if upright:
            found.append(Rectangle(rest.x, rest.y + start, depth, length))
        else:
            found.append(Rectangle(rest.x + start, rest.y, length, depth))
        start += length
    if upright:
        return found, Rectangle(rest.x + depth, rest.y, max(rest.width - depth, 0.0), rest.height)
    return found, Rectangle(rest.x, rest.y + depth, rest.width, max(rest.height - depth, 0.0))
