# SPDX-License-Identifier: Apache-2.0
"""What pooling windows become where the last, partial one counts: torch's and ONNX's ceil_mode."""

from __future__ import annotations

from dataclasses import replace

from hsflow.importing.assembly import check_window
from hsflow.ir.tensor import Shape, Window


def rounded_up(window: Window, shape: Shape) -> Window:
    """Return `window` with padding added below and to the right until the last stride fits.

    A window that would begin in the padding is left out, as both frameworks do.
    """
    check_window(window)
    pad = window.padding
    below = _missing(shape.height, pad.top, pad.bottom, window.extent[0], window.stride[0])
    right = _missing(shape.width, pad.left, pad.right, window.extent[1], window.stride[1])
    return replace(window, padding=replace(pad, bottom=pad.bottom + below, right=pad.right + right))


def _missing(size: int, before: int, after: int, extent: int, stride: int) -> int:
    span = size + before + after - extent
    steps = -(-span // stride)
    if steps * stride >= size + before:
        steps -= 1
    return max(0, steps * stride - span)
