# SPDX-License-Identifier: Apache-2.0
"""The block of pixels that a transfer carries."""

from __future__ import annotations

import pytest

from hsflow.errors import ModelError
from hsflow.ir.tensor import Block, Shape


def test_one_pixel_is_the_plain_stream() -> None:
    shape = Shape(3, 4, 6)
    assert Block() == Block(1, 1)
    assert Block().pixels == 1
    assert Block().grid(shape) == (4, 6)
    assert Block().beats(shape) == shape.pixels


def test_blocks_tile_the_feature_map() -> None:
    shape = Shape(3, 4, 6)
    assert Block(2, 3).pixels == 6
    assert Block(2, 3).grid(shape) == (2, 2)
    assert Block(2, 3).beats(shape) == 4
    assert Block(4, 6).beats(shape) == 1
    assert str(Block(2, 3)) == "2x3"


@pytest.mark.parametrize("block", [Block(3, 1), Block(1, 4), Block(8, 6)])
def test_blocks_that_do_not_tile_are_refused(block: Block) -> None:
    with pytest.raises(ModelError, match="do not tile") as caught:
        block.grid(Shape(3, 4, 6))
    assert str(block) in str(caught.value)
    assert caught.value.hint
    with pytest.raises(ModelError):
        block.beats(Shape(3, 4, 6))


@pytest.mark.parametrize("sides", [(0, 1), (1, 0), (-1, 2)])
def test_empty_blocks_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="no pixels"):
        Block(*sides)
