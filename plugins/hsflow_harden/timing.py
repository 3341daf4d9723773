# SPDX-License-Identifier: Apache-2.0
"""The clock-exact model of a stream of blocks through the network, computed before any RTL exists.

All streams run freely: the source offers a block in every cycle that the initiation interval allows, and the sink always
takes. Then no layer ever stalls, and each layer's output times follow from its input times alone. A time is the
cycle of a transfer, counted from the transfer of the first image's first block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow.ir.tensor import ONE_PIXEL, Block, Shape, Window
from hsflow_harden.blocks import axes

STREAM_REGISTER_LATENCY = 1
WINDOW_LATENCY = 1
FIFO_LATENCY = 1


@dataclass(frozen=True)
class WindowSchedule:
    """Hold the steps of the window former for one image: step n takes in block n, or pads after the image's end.

    `beats` counts an image's blocks; `triggers[k]` is the step that completes output block k.
    """

    beats: int
    triggers: IntArray

    @property
    def steps(self) -> int:
        """Return the steps from an image's first to its last one."""
        return max(self.beats, int(self.triggers[-1]) + 1)

    @property
    def initiation_interval(self) -> int:
        """Return the cycles from image to image: the padding overlaps the next image's first blocks."""
        return self.beats


def window_schedule(window: Window, source: Shape, where: str, block: Block = ONE_PIXEL) -> WindowSchedule:
    """Return the steps of the window former on an image of shape `source` that comes in blocks of `block`.

    Raises:
        ModelError: if the blocks do not tile the input or the output or do not fit the stride, or if the padding of
            both sides together exceeds the kernel's extent less one.
    """
    rows, columns = axes(window, source, block, where)
    bottom = np.arange(0, rows.last + 1, rows.move, dtype=np.int64) + rows.below
    right = np.arange(0, columns.last + 1, columns.move, dtype=np.int64) + columns.below
    triggers = (bottom[:, np.newaxis] * columns.blocks + right).reshape(-1)
    return WindowSchedule(rows.blocks * columns.blocks, triggers)


def window_times(schedule: WindowSchedule, arrivals: IntArray) -> IntArray:
    """Return when each patch is complete, for `arrivals` of shape (images, beats); shape (images, outputs).

    Mirrors `hsflow_window`: after an image's last block a step takes the next image's block if it is there; a step
    without a block is made only while none of the next image has been taken.
    """
    images, beats = arrivals.shape
    complete = np.empty((images, schedule.triggers.size), dtype=np.int64)
    now, ahead = -1, 0
    for image in range(images):
        times = np.full(schedule.steps, now, dtype=np.int64)
        first, ahead = ahead, 0
        for step in range(first, schedule.steps):
            now += 1
            if step < beats:
                now = max(now, int(arrivals[image, step]))
            elif image + 1 < images and ahead < beats:
                following = int(arrivals[image + 1, ahead])
                if ahead or following <= now:
                    now, ahead = max(now, following), ahead + 1
            times[step] = now
        complete[image] = times[schedule.triggers] + WINDOW_LATENCY
    return complete


def fifo_depth(written: IntArray, read: IntArray) -> int:
    """Return the most pixels that wait at once, given the sorted times at which each is written and read."""
    waiting = np.searchsorted(read.reshape(-1), written.reshape(-1), side="left")
    return int((np.arange(1, written.size + 1) - waiting).max())
