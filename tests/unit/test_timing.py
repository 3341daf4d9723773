# SPDX-License-Identifier: Apache-2.0
"""The timing model against a machine that is stepped cycle by cycle, written from the window's contract alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hsflow_harden.blocks import output_block, patch_size
from hsflow_harden.timing import (
    WINDOW_LATENCY,
    WindowSchedule,
    fifo_depth,
    window_schedule,
    window_times,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_graphs import square

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray
from hsflow.ir.tensor import Block, Padding, Shape, Window

UNHURRIED = settings(deadline=None)


def last_step(window: Window, shape: Shape, block: Block) -> list[int]:
    """Return, for each output block, the raster position of the last block it reads, padding columns run over."""
    rows, columns = (completing(window, shape, block, axis) for axis in (0, 1))
    return [row * (shape.width // block.columns) + column for row in rows for column in columns]


def completing(window: Window, shape: Shape, block: Block, axis: int) -> list[int]:
    """Return the row (column) of blocks that each row (column) of output blocks waits for.

    The first one waits for its last pixel, or for the image's end; the others follow at the windows' distance.
    """
    size, before = ((shape.height, window.padding.top), (shape.width, window.padding.left))[axis]
    side, stride = (block.rows, block.columns)[axis], window.stride[axis]
    outputs = max(1, side // stride)
    reach = (outputs - 1) * stride + (window.kernel[axis] - 1) * window.dilation[axis] - before
    first = min(reach, size - 1) // side
    windows = window.output_size(shape.height, shape.width)[axis]
    return [first + index * stride // side for index in range(0, windows, outputs)]


def stepped(window: Window, shape: Shape, block: Block, arrivals: Sequence[Sequence[int]]) -> list[list[int]]:
    """Step a window former cycle by cycle; return the cycle after the step that completes each output.

    In each cycle: with an image open, take its next block if that is there. When it has all blocks but not all steps,
    take the next image's block if it is there, else pad, but pad only while none of the next image has been taken.
    """
    triggers, beats = last_step(window, shape, block), shape.pixels // block.pixels
    steps = max(beats, max(triggers) + 1)
    queue = [(time, image) for image, times in enumerate(arrivals) for time in times]
    image = position = ahead = cycle = taken = 0
    complete: list[list[int]] = [[] for _ in arrivals]
    while image < len(arrivals):
        there = taken < len(queue) and queue[taken][0] <= cycle
        belongs = taken < len(queue) and queue[taken][1] == image
        if position < beats:
            step = there
            assert not there or belongs
            taken += step
        elif there and ahead < beats:
            step, taken, ahead = True, taken + 1, ahead + 1
        else:
            # After the last image nothing follows, so nothing is waited for.
            step = ahead == 0 or taken == len(queue) or ahead == beats
        if step:
            complete[image] += [cycle + 1] * triggers.count(position)
            position += 1
        if position == steps:
            image, position, ahead = image + 1, ahead, 0
        cycle += 1
        assert cycle < 10**5
    return complete


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, Shape, Block]:
    shape = Shape(1, draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    window = Window(kernel, (draw(st.integers(1, 4)), draw(st.integers(1, 4))), dilation)
    rows, columns = window.extent
    top, left = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    bottom, right = draw(st.integers(0, rows - 1 - top)), draw(st.integers(0, columns - 1 - left))
    window = Window(kernel, window.stride, dilation, Padding(top, bottom, left, right))
    output = window.output_size(shape.height, shape.width)
    assume(min(output) >= 1)
    sizes = zip((shape.height, shape.width), window.stride, output, strict=True)
    block = Block(*(draw(st.sampled_from(sides(*parts))) for parts in sizes))
    return window, shape, block


def sides(size: int, stride: int, output: int) -> list[int]:
    """Return the sides that a block can have."""
    tiles = [n for n in range(1, size + 1) if size % n == 0 and output % max(1, n // stride) == 0]
    return [n for n in tiles if n % stride == 0 or stride % n == 0]


def arrival_times(draw: st.DataObject, images: int, pixels: int) -> IntArray:
    gaps = draw.draw(st.sampled_from([st.just(1), st.integers(1, 3), st.sampled_from([1, 1, 1, 9])]))
    between = draw.draw(st.sampled_from([0, 0, 1, 5, 40]))
    times = np.cumsum([draw.draw(gaps) for _ in range(images * pixels)]).reshape(images, pixels)
    return times + np.arange(images)[:, np.newaxis] * between


@UNHURRIED
@given(windows(), st.integers(1, 3), st.data())
def test_window_times_are_those_of_a_stepped_machine(
    case: tuple[Window, Shape, Block], images: int, data: st.DataObject
) -> None:
    window, shape, block = case
    arrivals = arrival_times(data, images, block.beats(shape))
    schedule = window_schedule(window, shape, "here", block)
    found = window_times(schedule, arrivals)
    assert found.tolist() == stepped(window, shape, block, arrivals.tolist())


@UNHURRIED
@given(windows())
def test_schedule_is_that_of_the_last_pixel_read(case: tuple[Window, Shape, Block]) -> None:
    window, shape, block = case
    schedule = window_schedule(window, shape, "here", block)
    assert schedule.triggers.tolist() == last_step(window, shape, block)
    assert sorted(schedule.triggers.tolist()) == schedule.triggers.tolist()
    assert schedule.beats == block.beats(shape) <= schedule.steps < 2 * schedule.beats


@UNHURRIED
@given(windows())
def test_images_can_follow_at_the_initiation_interval_for_ever(case: tuple[Window, Shape, Block]) -> None:
    window, shape, block = case
    schedule = window_schedule(window, shape, "here", block)
    interval = schedule.initiation_interval
    arrivals = np.arange(schedule.beats) + np.arange(6)[:, np.newaxis] * interval
    ends = window_times(schedule, arrivals)[:, -1]
    assert set(np.diff(ends[1:-1]).tolist()) == {interval}


def test_what_lies_outside_a_small_image_is_not_waited_for() -> None:
    schedule = window_schedule(square(3, 1, 1), Shape(1, 1, 1), "here")
    assert schedule.steps == schedule.initiation_interval == 1
    schedule = window_schedule(square(5, 1, 2), Shape(1, 4, 4), "here", Block(4, 2))
    assert schedule.triggers.tolist() == [1, 2]
    schedule = window_schedule(square(5, 1, 2), Shape(1, 4, 4), "here", Block(4, 4))
    assert schedule.triggers.tolist() == [0]


def test_by_hand() -> None:
    window, shape = square(3, 1, 1), Shape(1, 2, 2)
    schedule = window_schedule(window, shape, "here")
    # Output (0, 0) reads pixel (1, 1), step 3; its right neighbours and the row below come from padding.
    assert schedule.triggers.tolist() == [3, 4, 5, 6]
    assert schedule.steps == 7
    assert schedule.initiation_interval == 4
    isolated = window_times(schedule, np.array([[0, 1, 2, 3]]))
    assert isolated.tolist() == [[4, 5, 6, 7]]
    # The second image's first pixel is late: padding does not wait for it.
    late = window_times(schedule, np.array([[0, 1, 2, 3], [20, 21, 22, 23]]))
    assert late[0].tolist() == [4, 5, 6, 7]
    # Once its first pixel was taken for a padding step, the others are waited for.
    begun = window_times(schedule, np.array([[0, 1, 2, 3], [4, 30, 31, 32]]))
    assert begun[0].tolist() == [4, 5, 31, 32]


def test_the_stepped_machine_sees_a_wrong_model() -> None:
    window, shape = square(3, 1, 1), Shape(1, 3, 3)
    arrivals = np.arange(18).reshape(2, 9) * 2
    schedule = window_schedule(window, shape, "here")
    right = stepped(window, shape, Block(), arrivals.tolist())
    assert window_times(schedule, arrivals).tolist() == right
    shifted = WindowSchedule(schedule.beats, schedule.triggers - 1)
    assert window_times(shifted, arrivals).tolist() != right
    assert (window_times(schedule, arrivals) + WINDOW_LATENCY).tolist() != right
    assert window_times(schedule, arrivals + 1).tolist() != right


@pytest.mark.parametrize(
    ("window", "padding"),
    [
        (Window((3, 3)), Padding(2, 1, 0, 0)),
        (Window((3, 3)), Padding(0, 0, 1, 2)),
        (Window((1, 1)), Padding(1, 0, 0, 0)),
        (Window((2, 2), dilation=(3, 1)), Padding(2, 2, 0, 0)),
    ],
)
def test_padding_as_wide_as_the_kernel_is_refused(window: Window, padding: Padding) -> None:
    wide = Window(window.kernel, window.stride, window.dilation, padding)
    with pytest.raises(ModelError, match=r"features\.0: the padding is wider") as caught:
        window_schedule(wide, Shape(1, 8, 8), "features.0")
    assert caught.value.hint
    less = Padding(*(max(0, side - 1) for side in (padding.top, padding.bottom, padding.left, padding.right)))
    window_schedule(Window(window.kernel, window.stride, window.dilation, less), Shape(1, 8, 8), "here")


@pytest.mark.parametrize(
    ("window", "block", "message"),
    [
        (square(3, 1, 1), Block(3, 1), "do not tile the input"),
        (square(3, 1, 1), Block(1, 16), "do not tile the input"),
        (square(3, 1, 0), Block(4, 1), "do not tile the output"),
        (square(3, 3, 1), Block(2, 2), "does not fit the stride"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(window: Window, block: Block, message: str) -> None:
    with pytest.raises(ModelError, match=rf"features\.0: .*{message}") as caught:
        window_schedule(window, Shape(1, 8, 8), "features.0", block)
    assert caught.value.hint


# ---- Blocks


def test_output_blocks_by_hand() -> None:
    assert output_block(square(3, 1, 1), Block(2, 4), "here") == Block(2, 4)
    assert output_block(square(3, 2, 1), Block(2, 4), "here") == Block(1, 2)
    assert output_block(square(3, 2, 1), Block(1, 2), "here") == Block(1, 1)
    assert patch_size(square(3, 2, 1), Block(4, 2), "here") == (5, 3)
    assert patch_size(square(5, 1, 2), Block(), "here") == (5, 5)


# ---- FIFOs


def most_waiting(written: Sequence[int], read: Sequence[int]) -> int:
    """Count, at the end of each cycle, the words in a FIFO whose reads free their place in the next cycle."""
    cycles = range(max([*written, *read]) + 1)
    return max(sum(w <= now for w in written) - sum(r < now for r in read) for now in cycles)


@UNHURRIED
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.data())
def test_fifo_depth_is_the_most_that_waits(gaps: list[int], data: st.DataObject) -> None:
    written = np.cumsum(np.array(gaps) + 1)
    waits = data.draw(st.lists(st.integers(1, 9), min_size=len(gaps), max_size=len(gaps)))
    read: list[int] = []
    for time, wait in zip(written.tolist(), waits, strict=True):
        read.append(max(time + wait, (read[-1] + 1) if read else 0))
    depth = fifo_depth(written, np.array(read))
    assert depth == most_waiting(written.tolist(), read)


def test_fifo_depth_by_hand() -> None:
    written = np.arange(10)
    # A word is read one cycle after it was written: it and the one written meanwhile wait.
    assert fifo_depth(written, written + 1) == 2
    assert fifo_depth(written, written + 4) == 5
    assert fifo_depth(written, written + 100) == 10
    assert fifo_depth(written * 3, written * 3 + 1) == 1
    assert fifo_depth(written, written + 5) != most_waiting(written.tolist(), (written + 4).tolist())
    assert fifo_depth(written.reshape(2, 5), (written + 4).reshape(2, 5)) == 5
