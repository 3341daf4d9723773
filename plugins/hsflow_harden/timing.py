# SPDX-License-Identifier: Apache-2.0
"""The clock-exact model of a stream of pixels through the network, computed before any RTL exists.

All streams run freely: the source offers a pixel in every cycle that the initiation interval allows, and the sink always
takes. Then no layer ever stalls, and each layer's output times follow from its input times alone. A time is the
cycle of a transfer, counted from the transfer of the first image's first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray
from hsflow.ir.tensor import Shape, Window

STREAM_REGISTER_LATENCY = 1
WINDOW_LATENCY = 1
ACCUMULATE_LATENCY = 1
FIFO_LATENCY = 1


@dataclass(frozen=True)
class WindowSchedule:
    """Hold the steps of the window former for one image: step n takes in pixel n, or pads after the image's end.

    `triggers[k]` is the step that completes output pixel k; `steps` counts an image's steps.
    """

    pixels: int
    triggers: IntArray

    @property
    def steps(self) -> int:
        """Return the steps from an image's first to its last one."""
        return max(self.pixels, int(self.triggers[-1]) + 1)

    @property
    def initiation_interval(self) -> int:
        """Return the steps from image to image: the padding overlaps the next image's first pixels."""
        return max(self.pixels, self.steps - self.pixels)


def window_schedule(window: Window, source: Shape, where: str) -> WindowSchedule:
    """Return the steps of the window former on an image of shape `source`.

    Raises:
        ModelError: if the padding of both sides together exceeds the kernel's extent less one.
    """
    pad, (extent_rows, extent_columns) = window.padding, window.extent
    if pad.top + pad.bottom >= extent_rows or pad.left + pad.right >= extent_columns:
        raise ModelError(
            "the padding is wider than the stream structure supports",
            where=where,
            got=f"padding {pad} around a kernel that spans {extent_rows}x{extent_columns}",
            expected="top + bottom and left + right below the kernel's span",
            hint="pad the image before it enters the chip, or use a larger kernel",
        )
    rows, columns = window.output_size(source.height, source.width)
    bottom = np.arange(rows, dtype=np.int64) * window.stride[0] - pad.top + extent_rows - 1
    right = np.arange(columns, dtype=np.int64) * window.stride[1] - pad.left + extent_columns - 1
    triggers = (bottom[:, np.newaxis] * source.width + right).reshape(-1)
    return WindowSchedule(source.pixels, triggers)


def window_times(schedule: WindowSchedule, arrivals: IntArray) -> IntArray:
    """Return when each window is complete, for `arrivals` of shape (images, pixels); shape (images, outputs).

    Mirrors `hsflow_window`: after an image's last pixel a step takes the next image's pixel if it is there; a step
    without a pixel is made only while none of the next image has been taken.
    """
    images, pixels = arrivals.shape
    complete = np.empty((images, schedule.triggers.size), dtype=np.int64)
    now, ahead = -1, 0
    for image in range(images):
        times = np.full(schedule.steps, now, dtype=np.int64)
        first, ahead = ahead, 0
        for step in range(first, schedule.steps):
            now += 1
            if step < pixels:
                now = max(now, int(arrivals[image, step]))
            elif image + 1 < images and ahead < pixels:
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
