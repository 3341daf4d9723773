# SPDX-License-Identifier: Apache-2.0
"""The boxes of a treemap fill their place, do not overlap, and are as large as their values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsflow.report.content import Region, RegionGroup, Treemap
from hsflow.report.treemap import Rectangle, boxes, squarified

SIZES = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=40).map(lambda sizes: sorted(sizes, reverse=True))


def overlap(a: Rectangle, b: Rectangle) -> float:
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(width, 0.0) * max(height, 0.0)


@given(SIZES, st.floats(0.1, 10.0))
def test_boxes_fill_the_whole_and_do_not_overlap(sizes: list[float], width: float) -> None:
    whole = Rectangle(1.0, 2.0, width, 1.0)
    found = squarified(sizes, whole)
    areas = [box.width * box.height for box in found]
    assert areas == pytest.approx([size * width / sum(sizes) for size in sizes], rel=1e-6)
    tolerance = 1e-9 * width
    for number, box in enumerate(found):
        assert box.x >= 1 - 1e-9 and box.y >= 2 - 1e-9
        assert box.x + box.width <= 1 + width * (1 + 1e-9) and box.y + box.height <= 3 + 1e-9
        assert all(overlap(box, other) <= tolerance for other in found[:number])


def test_equal_boxes_are_nearly_square() -> None:
    found = squarified([1.0] * 24, Rectangle(0.0, 0.0, 2.4, 1.0))
    assert max(max(box.width / box.height, box.height / box.width) for box in found) < 2


def test_nothing_has_no_box() -> None:
    groups = (RegionGroup("empty", (Region(0, 0.0),)), RegionGroup("full", (Region(0, 0.0), Region(1, 2.0))))
    (box,) = boxes(Treemap("c", "d", "u", ("a", "b"), groups))
    assert box.group.label == "full" and [region.kind for region, _ in box.regions] == [1]
    assert boxes(Treemap("c", "d", "u", ("a",), ())) == []
