# SPDX-License-Identifier: Apache-2.0
"""The geometry of the window former on blocks of pixels: what `hsflow_window` computes from its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hsflow.design import LineBuffer
from hsflow.errors import ModelError
from hsflow.ir.graph import FeatureMap
from hsflow.ir.tensor import ONE_PIXEL, Block, Shape, Window


@dataclass(frozen=True)
class Axis:
    """Hold one direction of a window former; the rows and the columns have the same rules.

    `size` is the image's pixels, `block` those of a block, `before` and `after` the padding. A patch is what the
    windows of an output block read. Its pixel n lies `shift + n` pixels into the blocks that begin `above` blocks
    before the patch's own first one, and it is complete `below` blocks after that, or where the image ends.
    """

    size: int
    block: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def out_block(self) -> int:
        """Return the windows of an output block."""
        return max(1, self.block // self.stride)

    @property
    def extent(self) -> int:
        """Return the pixels that a window spans."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def patch(self) -> int:
        """Return the pixels that an output block's windows span."""
        return (self.out_block - 1) * self.stride + self.extent

    @property
    def blocks(self) -> int:
        """Return the blocks of an image."""
        return self.size // self.block

    @property
    def output(self) -> int:
        """Return the windows of an image."""
        return (self.size + self.before + self.after - self.extent) // self.stride + 1

    @property
    def move(self) -> int:
        """Return the blocks from one output block to the next."""
        return self.out_block * self.stride // self.block

    @property
    def last(self) -> int:
        """Return the block at which the last output block's patch lies."""
        return (self.output // self.out_block - 1) * self.move

    @property
    def above(self) -> int:
        """Return the blocks that the padding before the image reaches into."""
        return -(-self.before // self.block)

    @property
    def shift(self) -> int:
        """Return the pixels of those blocks that a patch leaves out."""
        return self.above * self.block - self.before

    @property
    def below(self) -> int:
        """Return the blocks that a patch waits for after its own first one."""
        return min((self.patch - 1 - self.before) // self.block, self.blocks - 1)

    def block_of(self, pixel: int) -> int:
        """Return the block in which a patch's pixel lies, 0 being its own first one."""
        return (pixel + self.shift) // self.block - self.above

    def place_of(self, pixel: int) -> int:
        """Return where in its block a patch's pixel lies."""
        return (pixel + self.shift) % self.block

    @cached_property
    def used(self) -> tuple[int, ...]:
        """Return the patch's pixels that a window reads and that lie in the image for some patch."""
        taps = {
            first * self.stride + tap * self.dilation
            for first in range(self.out_block)
            for tap in range(self.kernel)
        }
        return tuple(n for n in sorted(taps) if -self.last <= self.block_of(n) < self.blocks)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Return the places in a block that are read."""
        return tuple(sorted({self.place_of(n) for n in self.used}))

    @property
    def masked(self) -> int:
        """Return the used pixels that lie outside the image for some patch."""
        return sum(not 0 <= self.block_of(n) < self.blocks - self.last for n in self.used)

    @property
    def waits(self) -> tuple[int, ...]:
        """Return the blocks from each used pixel back to the next one of its place, or to the newest block."""
        waits = []
        for pixel in self.used:
            later = (n for n in self.used if n > pixel and (n - pixel) % self.block == 0)
            below = next((self.block_of(n) for n in later), self.below)
            waits.append(below - self.block_of(pixel))
        return tuple(waits)

    @property
    def ages(self) -> int:
        """Return the registers of all read places together, each as long as its oldest used pixel needs."""
        oldest = {self.place_of(n): self.block_of(n) for n in reversed(self.used)}
        return sum(self.below - block + 1 for block in oldest.values())


def axes(window: Window, source: Shape, block: Block, where: str) -> tuple[Axis, Axis]:
    """Return the rows' and the columns' geometry.

    Raises:
        ModelError: if the blocks do not tile the input or the output, a side of the block is neither a multiple nor
            a divisor of the stride, or the padding of both sides together exceeds the kernel's extent less one.
    """
    _check_padding(window, where)
    _check_tiles(block, (source.height, source.width), where, "input")
    output = window.output_size(source.height, source.width)
    _check_tiles(output_block(window, block, where), output, where, "output")
    pad = window.padding
    sides = (
        (source.height, block.rows, pad.top, pad.bottom),
        (source.width, block.columns, pad.left, pad.right),
    )
    rows, columns = (
        Axis(size, side, kernel, stride, dilation, before, after)
        for (size, side, before, after), kernel, stride, dilation in zip(
            sides, window.kernel, window.stride, window.dilation, strict=True
        )
    )
    return rows, columns


def _check_padding(window: Window, where: str) -> None:
    pad, (rows, columns) = window.padding, window.extent
    if pad.top + pad.bottom >= rows or pad.left + pad.right >= columns:
        raise ModelError(
            "the padding is wider than the stream structure supports",
            where=where,
            got=f"padding {pad} around a kernel that spans {rows}x{columns}",
            expected="top + bottom and left + right below the kernel's span",
            hint="pad the image before it enters the chip, or use a larger kernel",
        )


def _check_tiles(block: Block, size: tuple[int, int], where: str, side: str) -> None:
    if size[0] % block.rows or size[1] % block.columns:
        raise ModelError(
            f"the blocks do not tile the {side}",
            where=where,
            got=f"blocks of {block} pixels, {side} of {size[0]}x{size[1]}",
            expected="blocks whose sides divide the feature map's",
            hint="choose another block for this layer's input",
        )


def output_block(window: Window, block: Block, where: str) -> Block:
    """Return the block that the layer `where` sends when it receives `block`.

    Raises:
        ModelError: if a side of the block is neither a multiple nor a divisor of the stride.
    """
    pairs = tuple(zip((block.rows, block.columns), window.stride, strict=True))
    if any(side % stride and stride % side for side, stride in pairs):
        raise ModelError(
            "the block does not fit the stride",
            where=where,
            got=f"a block of {block} pixels, stride {window.stride[0]}x{window.stride[1]}",
            expected="sides that are multiples or divisors of the stride",
            hint="choose another block for this layer's input",
        )
    rows, columns = (max(1, side // stride) for side, stride in pairs)
    return Block(rows, columns)


def patch_size(window: Window, block: Block, where: str) -> tuple[int, int]:
    """Return the (rows, columns) of the patch that the windows of an output block read; raise as `output_block`."""
    out = output_block(window, block, where)
    (rows, columns), (vertical, horizontal) = window.extent, window.stride
    return (out.rows - 1) * vertical + rows, (out.columns - 1) * horizontal + columns


def former_bits(
    window: Window, source: FeatureMap, block: Block = ONE_PIXEL, where: str = "window"
) -> tuple[int, int]:
    """Return the (register, line buffer) bits of `hsflow_window`; raise ModelError as `axes` does.

    Registers are those of the patch, of its masks, of the control and the pointers of the line buffers.
    """
    rows, columns = axes(window, source.shape, block, where)
    if not columns.places or not rows.used:
        return _control_bits(rows, columns), 0
    lines = line_buffers(window, source, block, where)
    patch = len(rows.used) * columns.ages * source.pixel_width
    pointers = sum(_bits(line.depth) for line in lines)
    registers = patch + pointers + rows.masked + columns.masked + _control_bits(rows, columns)
    return registers, sum(line.depth * line.width for line in lines)


def line_buffers(
    window: Window, source: FeatureMap, block: Block = ONE_PIXEL, where: str = "window"
) -> tuple[LineBuffer, ...]:
    """Return the line buffers of `hsflow_window`; raise ModelError as `axes` does."""
    rows, columns = axes(window, source.shape, block, where)
    width = len(columns.places) * source.pixel_width
    waits = [wait for wait in rows.waits if wait] if width else []
    return tuple(LineBuffer(wait * columns.blocks, width) for wait in waits)


def masked_bits(window: Window, source: FeatureMap, block: Block = ONE_PIXEL, where: str = "window") -> int:
    """Return the bits of the patch that are padding for some patch; raise ModelError as `axes` does."""
    rows, columns = axes(window, source.shape, block, where)
    always = (len(rows.used) - rows.masked) * (len(columns.used) - columns.masked)
    return (len(rows.used) * len(columns.used) - always) * source.pixel_width


def _control_bits(rows: Axis, columns: Axis) -> int:
    blocks = rows.blocks * columns.blocks
    trigger = (rows.below + rows.last) * columns.blocks + columns.below + columns.last
    counters = 3 if trigger >= blocks else 2
    step = _bits(max(trigger, blocks - 1) + 2)
    return counters * step + _bits(rows.last + 2) + _bits(columns.last + 2) + 1


def _bits(values: int) -> int:
    """Return the bits that count to `values` different ones, SystemVerilog's $clog2."""
    return (values - 1).bit_length()
