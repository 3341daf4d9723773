# SPDX-License-Identifier: Apache-2.0
"""Configurations of hsflow_window, and a NumPy model of its patches and of its cycles."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from simulator import CORES
from stream_bench import Bench, inputs, outputs, random_words, traffic

from hsflow.ir.graph import FeatureMap
from hsflow.ir.tensor import Block, Padding, TensorFormat, Window
from hsflow.ir.tensor import Shape as ImageShape

SOURCES = sorted((CORES / "window" / "rtl").glob("*.sv"))
Pair = tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """The parameters of hsflow_window; pairs are (vertical, horizontal)."""

    name: str
    size: Pair
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)
    pixel_width: int = 8
    images: int = 4
    block: Pair = (1, 1)

    @property
    def extent(self) -> Pair:
        first, second = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return first, second

    @property
    def output_size(self) -> Pair:
        parts = zip(self.size, self.before, self.after, self.extent, self.stride, strict=True)
        first, second = ((n + p + q - e) // s + 1 for n, p, q, e, s in parts)
        return first, second

    @property
    def out_block(self) -> Pair:
        first, second = (max(1, b // s) for b, s in zip(self.block, self.stride, strict=True))
        return first, second

    @property
    def patch(self) -> Pair:
        parts = zip(self.out_block, self.stride, self.extent, strict=True)
        first, second = ((n - 1) * s + e for n, s, e in parts)
        return first, second

    @property
    def beats(self) -> int:
        return self.size[0] * self.size[1] // (self.block[0] * self.block[1])

    @property
    def is_legal(self) -> bool:
        blocks = zip(self.size, self.block, self.stride, self.output_size, self.out_block, strict=True)
        return all(
            not n % b and (not b % s or not s % b) and out >= 1 and not out % o for n, b, s, out, o in blocks
        )

    @property
    def pad_value(self) -> int:
        return 0xA5C3965A0F1E2D3C & ((1 << self.pixel_width) - 1)

    @property
    def block_bits(self) -> int:
        return self.block[0] * self.block[1] * self.pixel_width

    @property
    def patch_bits(self) -> int:
        return self.patch[0] * self.patch[1] * self.pixel_width

    @property
    def window(self) -> Window:
        (top, left), (bottom, right) = self.before, self.after
        return Window(self.kernel, self.stride, self.dilation, Padding(top, bottom, left, right))

    @property
    def feature_map(self) -> FeatureMap:
        return FeatureMap(ImageShape(1, *self.size), TensorFormat(self.pixel_width, False, (0,), (0,), (0,)))

    @property
    def transfer(self) -> Block:
        return Block(*self.block)

    def parameters(self) -> dict[str, object]:
        pairs = {"": self.size, "Block": self.block, "Kernel": self.kernel}
        pairs |= {"Stride": self.stride, "Dilation": self.dilation}
        values: dict[str, object] = {"PixelWidth": self.pixel_width}
        for key, (vertical, horizontal) in pairs.items():
            values |= {f"{key}Height": vertical, f"{key}Width": horizontal}
        values |= {"PadTop": self.before[0], "PadLeft": self.before[1]}
        values |= {"PadBottom": self.after[0], "PadRight": self.after[1]}
        return values | {"PadValue": f"{self.pixel_width}'h{self.pad_value:x}"}

    def integers(self) -> dict[str, int]:
        """Return the parameters that a command line can give."""
        return {key: value for key, value in self.parameters().items() if isinstance(value, int)}


def same(
    name: str,
    size: Pair,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    block: Pair = (1, 1),
    **more: int,
) -> Shape:
    """Return a square kernel with the padding (kernel - 1) * dilation / 2 on all sides."""
    pad = ((kernel - 1) * dilation // 2,) * 2
    return Shape(name, size, (kernel,) * 2, (stride,) * 2, (dilation,) * 2, pad, pad, block=block, **more)


PIXELS = [
    same("one_pixel", (1, 1), images=7),
    same("one_pixel_k5", (1, 1), kernel=5, images=5),
    same("two_pixels", (1, 2), kernel=5, images=5),
    same("plain", (4, 4)),
    same("odd_stride_2", (5, 7), stride=2),
    same("even_stride_2", (6, 6), stride=2),
    same("one_bit", (5, 5), pixel_width=1),
    same("wide", (3, 4), pixel_width=67),
    same("dilated", (6, 7), dilation=2),
    same("narrow", (5, 1)),
    same("narrower_than_kernel", (6, 2), kernel=5),
    same("flat", (1, 6)),
    same("five", (7, 6), kernel=5),
    Shape("valid_padding", (6, 5)),
    Shape("asymmetric", (6, 6), stride=(2, 2), after=(1, 1)),
    Shape("asymmetric_before", (5, 6), before=(2, 1), after=(0, 1)),
    Shape("all_padding_after", (4, 3), before=(0, 0), after=(2, 2)),
    Shape("stride_over_kernel", (8, 9), (2, 2), (3, 3)),
    Shape("pointwise", (3, 4), (1, 1)),
    Shape("pointwise_stride_2", (5, 5), (1, 1), (2, 2)),
    Shape("one_by_one", (1, 1), (1, 1), images=6),
    Shape("row_kernel", (4, 6), (1, 3), (1, 2), before=(0, 1), after=(0, 1)),
    Shape("column_kernel", (6, 4), (3, 1), (2, 1), before=(1, 0), after=(1, 0)),
    Shape("whole_image", (4, 4), (4, 4)),
    Shape("pool", (6, 6), (2, 2), (2, 2)),
    Shape("mixed", (7, 9), (2, 3), (1, 3), (3, 2), (1, 2), (2, 1), pixel_width=5),
    Shape("only_padding", (1, 3), (2, 2), dilation=(2, 1), before=(1, 0), after=(1, 1)),
]

BLOCKS = [
    same("rows_of_two", (6, 4), block=(2, 1)),
    same("columns_of_two", (4, 6), block=(1, 2)),
    same("square", (8, 8), block=(2, 2)),
    same("stride_2_block_2", (8, 8), stride=2, block=(2, 2)),
    same("stride_2_block_4", (8, 12), stride=2, block=(4, 4)),
    same("stride_2_block_1x2", (6, 8), stride=2, block=(1, 2)),
    same("five_block_4", (8, 8), kernel=5, block=(4, 4)),
    same("five_block_2", (6, 8), kernel=5, block=(2, 2)),
    same("whole_row", (6, 5), block=(1, 5)),
    same("whole_column", (5, 6), block=(5, 1)),
    same("whole", (4, 6), block=(4, 6), images=9),
    same("whole_stride_2", (8, 8), stride=2, block=(8, 8), images=9),
    same("half", (8, 4), block=(4, 4), images=7),
    same("dilated_block_2", (8, 8), dilation=2, block=(2, 2)),
    same("dilated_block_4", (8, 8), dilation=3, block=(4, 2)),
    same("dilated_stride_2", (8, 8), stride=2, dilation=2, block=(2, 4)),
    same("one_bit_block", (6, 6), pixel_width=1, block=(3, 2)),
    same("wide_block", (4, 4), pixel_width=67, block=(2, 2)),
    Shape("pool_block_2", (8, 8), (2, 2), (2, 2), block=(2, 2)),
    Shape("pool_block_1", (4, 8), (2, 2), (2, 2), block=(1, 4)),
    Shape("pointwise_stride_block", (6, 6), (1, 1), (2, 3), block=(2, 6)),
    Shape("stride_over_kernel_block", (12, 12), (2, 1), (3, 3), block=(6, 3)),
    Shape("stride_4_block_2", (8, 8), (3, 3), (4, 4), before=(1, 0), after=(0, 1), block=(2, 2)),
    Shape("asymmetric_block", (8, 8), stride=(2, 2), after=(1, 1), block=(4, 4)),
    Shape("before_block", (8, 6), before=(2, 1), after=(0, 1), block=(2, 3)),
    Shape("after_block", (8, 6), before=(0, 0), after=(2, 2), block=(4, 2)),
    Shape("valid_block", (10, 6), (3, 3), block=(2, 2)),
    Shape("whole_image_block", (6, 6), (6, 6), (6, 6), block=(2, 3)),
    Shape("wide_padding", (4, 4), (5, 5), before=(4, 3), after=(0, 1), block=(2, 2)),
]


def random_pair(generator: random.Random, low: int, *high: int) -> Pair:
    return generator.randint(low, high[0]), generator.randint(low, high[1])


def random_shapes(count: int, seed: int = 20, sides: tuple[int, ...] = (1,), kernel: int = 4) -> list[Shape]:
    """Return reproducible legal shapes whose blocks have sides out of `sides`, 0 being the whole image's."""
    generator = random.Random(seed)
    shapes: list[Shape] = []
    largest = 9 if sides == (1,) else 12
    while len(shapes) < count:
        tops = (largest, kernel, 4, 2)
        size, taps, stride, dilation = (random_pair(generator, 1, top, top) for top in tops)
        extents = [(k - 1) * d + 1 for k, d in zip(taps, dilation, strict=True)]
        total = random_pair(generator, 0, *(extent - 1 for extent in extents))
        before = random_pair(generator, 0, *total)
        after = (total[0] - before[0], total[1] - before[1])
        name, bits = f"random_{len(shapes)}", generator.randint(1, 12)
        first, second = (generator.choice(sides) or length for length in size)
        shape = Shape(
            name, size, taps, stride, dilation, before, after, pixel_width=bits, block=(first, second)
        )
        fits = all(n + pad >= extent for n, pad, extent in zip(size, total, extents, strict=True))
        if fits and shape.is_legal and (sides == (1,) or shape.block != (1, 1)):
            shapes.append(shape)
    return shapes


def pixels_of(shape: Shape) -> list[int]:
    return random_words(shape.pixel_width, shape.images * shape.size[0] * shape.size[1], shape.name)


def images_of(shape: Shape) -> np.ndarray:
    """Return the pixels as an array of images, shape (images, height, width)."""
    return np.array(pixels_of(shape), dtype=object).reshape(shape.images, *shape.size)


def join(shape: Shape, pixels: np.ndarray) -> int:
    """Return pixels side by side in raster order, the first one in the low bits."""
    return sum(int(pixel) << (i * shape.pixel_width) for i, pixel in enumerate(pixels.flat))


def blocks_of(shape: Shape) -> list[int]:
    """Return the words that carry the images."""
    (height, width), (rows, columns) = shape.size, shape.block
    return [
        join(shape, image[y : y + rows, x : x + columns])
        for image in images_of(shape)
        for y in range(0, height, rows)
        for x in range(0, width, columns)
    ]


def expected_patches(shape: Shape) -> list[int]:
    """Cut the patches out of the padded images, one big integer each; what no tap reads is the padding."""
    pads = [(0, 0), *((p, p + max(shape.patch)) for p in shape.before)]
    padded = np.pad(images_of(shape), pads, constant_values=shape.pad_value)
    read = np.zeros(shape.patch, dtype=bool)
    for a, b in np.ndindex(*shape.out_block):
        y, x = a * shape.stride[0], b * shape.stride[1]
        read[y : y + shape.extent[0] : shape.dilation[0], x : x + shape.extent[1] : shape.dilation[1]] = True
    (rows, columns), (height, width) = shape.output_size, shape.patch
    patches = [
        image[y * shape.stride[0] :, x * shape.stride[1] :][:height, :width]
        for image in padded
        for y in range(0, rows, shape.out_block[0])
        for x in range(0, columns, shape.out_block[1])
    ]
    return [join(shape, np.where(read, patch, shape.pad_value)) for patch in patches]


def expected_cycles(shape: Shape) -> list[int]:
    """Return when each patch is shown under full traffic, counted from the first block's transfer."""
    triggers = [
        row * (shape.size[1] // shape.block[1]) + column
        for row in completing_blocks(shape, 0)
        for column in completing_blocks(shape, 1)
    ]
    return [image * shape.beats + trigger + 1 for image in range(shape.images) for trigger in triggers]


def completing_blocks(shape: Shape, axis: int) -> list[int]:
    """Return the row (column) of blocks that completes each row (column) of patches.

    The first patch waits for the last pixel that it reads, or for the image's end; the others follow it at the distance
    of the windows.
    """
    out, stride, block = shape.out_block[axis], shape.stride[axis], shape.block[axis]
    first = (shape.patch[axis] - 1 - shape.before[axis]) // block
    first = min(first, shape.size[axis] // block - 1)
    return [first + y * stride // block for y in range(0, shape.output_size[axis], out)]


def add_window(
    bench: Bench, shape: Shape, name: str, kinds: tuple[str, str], fault: int | None = None
) -> None:
    """Add a source, a window and a sink; with `fault`, a wrong stage before the sink."""
    count = len(expected_patches(shape))
    source = bench.source(f"{name}_in", shape.block_bits, blocks_of(shape), traffic(kinds[0], f"{name} in"))
    pattern = traffic(kinds[1], f"{name} out")
    sink = bench.sink(f"{name}_out", shape.patch_bits, count, pattern, required=fault is None)
    patches = sink
    if fault is not None:
        patches = bench.wire(f"{name}_patches", shape.patch_bits)
        bench.fault(patches, sink, shape.patch_bits, fault)
    bench.instance("hsflow_window", name, shape.parameters(), f"{inputs(source)}, {outputs(patches)}")
