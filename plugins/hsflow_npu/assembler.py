# SPDX-License-Identifier: Apache-2.0
"""Turn a dense layer into the words of the NPU's memories, and back.

Row `tile * groups + group` of the weight memory holds, in byte `p * feature_lanes + q`, the weight of
feature `group * feature_lanes + q` for class `tile * class_lanes + p`. Bytes past the last feature or
class are zero and part of the image, so that every word that the array reads is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsflow.beats import pixel_order
from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray
from hsflow.ir.tensor import Block, Shape

from .configuration import NpuConfiguration

_INT32 = np.iinfo(np.int32)
_INT8 = np.iinfo(np.int8)
_WORD_BYTES = 4


@dataclass(frozen=True)
class MemoryImage:
    """Hold the words that program one NPU: (byte address, 32-bit data), by ascending address."""

    words: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.words)

    def to_hex(self) -> str:
        """Write one line `AAAAAAAA DDDDDDDD` a word, upper-case hexadecimal."""
        return "".join(f"{address:08X} {data:08X}\n" for address, data in self.words)

    @classmethod
    def from_hex(cls, text: str) -> MemoryImage:
        """Read what `to_hex` wrote. Raises ModelError that names the line of any other text."""
        lines = enumerate(text.splitlines(), start=1)
        return cls(tuple(_parse_line(number, line) for number, line in lines))


def _parse_line(number: int, line: str) -> tuple[int, int]:
    address, space, data = line[:8], line[8:9], line[9:]
    digits = set("0123456789ABCDEF")
    if len(line) == 17 and space == " " and digits.issuperset(address + data):
        return int(address, 16), int(data, 16)
    raise ModelError(
        "the memory image has a line that is no word",
        where=f"line {number}",
        got=repr(line[:40]),
        expected="AAAAAAAA DDDDDDDD, upper-case hexadecimal",
        hint="write the file again with MemoryImage.to_hex()",
    )


def feature_order(shape: Shape, block: Block) -> IntArray:
    """Return which feature of a map, in stream order (height, width, channels), arrives at each place, shape (features,).

    Blocks of several pixels bring the pixels of a map in another order than single pixels do.
    """
    pixels = pixel_order(shape, block).reshape(-1, 1)
    return (pixels * shape.channels + np.arange(shape.channels)).ravel()


def assemble(
    weights: NDArray[np.integer], bias: NDArray[np.integer], configuration: NpuConfiguration
) -> MemoryImage:
    """Assemble a layer: `weights` (classes, features) within int8, `bias` (classes,) within int32.

    Features are in the order in which they arrive (see `feature_order`). Raises ModelError for another shape, for values that are no integers or out of range, and for a
    layer with a class whose logit could leave the signed 32-bit range for some input.
    """
    shape = (configuration.classes, configuration.features)
    weights = _checked("weights", weights, shape, _INT8.min, _INT8.max)
    bias = _checked("bias", bias, shape[:1], _INT32.min, _INT32.max)
    _refuse_overflow(weights, bias, configuration)
    rows = _rows(weights, configuration)
    rows_addresses = configuration.weight_base + configuration.row_stride * np.arange(len(rows))[:, None]
    addresses = (rows_addresses + _WORD_BYTES * np.arange(configuration.row_words)).ravel()
    words = [(configuration.bias_address(n), int(b) & 0xFFFFFFFF) for n, b in enumerate(bias)]
    words.extend(zip(addresses.tolist(), rows.ravel().tolist(), strict=True))
    return MemoryImage(tuple(words))


def _checked(
    name: str, values: NDArray[np.integer], shape: tuple[int, ...], lowest: int, highest: int
) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != shape:
        raise ModelError(f"the {name} have the wrong shape", where="npu", got=array.shape, expected=shape)
    if array.dtype.kind not in "iu":
        raise ModelError(f"the {name} are no integers", where="npu", got=array.dtype, expected="integers")
    outside = (array < lowest) | (array > highest)
    if outside.any():
        index = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ModelError(
            f"the {name} leave their range",
            where=f"npu, {name}[{', '.join(map(str, index))}]",
            got=int(array[index]),
            expected=f"{lowest} to {highest}",
        )
    return array.astype(np.int64)


def _refuse_overflow(
    weights: NDArray[np.int64], bias: NDArray[np.int64], configuration: NpuConfiguration
) -> None:
    """Refuse a class that some input could take out of the signed 32-bit range."""
    at_minimum = weights * configuration.activation_minimum
    at_maximum = weights * configuration.activation_maximum
    lowest = bias + np.minimum(at_minimum, at_maximum).sum(axis=1)
    highest = bias + np.maximum(at_minimum, at_maximum).sum(axis=1)
    outside = np.flatnonzero((lowest < _INT32.min) | (highest > _INT32.max))
    if outside.size:
        worst = int(outside[0])
        raise ModelError(
            "a logit could overflow 32 bits",
            where=f"npu, class {worst}",
            got=f"{lowest[worst]} to {highest[worst]}",
            expected=f"{_INT32.min} to {_INT32.max}",
            hint="scale this layer's weights down, or give it narrower activations",
        )


def _rows(weights: NDArray[np.int64], configuration: NpuConfiguration) -> NDArray[np.uint32]:
    """Lay the weights out as (rows, words a row)."""
    tiles, groups = configuration.tiles, configuration.groups
    lanes, positions = configuration.class_lanes, configuration.feature_lanes
    padded = np.zeros((tiles * lanes, groups * positions), np.int8)
    padded[: weights.shape[0], : weights.shape[1]] = weights
    tiled = padded.reshape(tiles, lanes, groups, positions).transpose(0, 2, 1, 3)
    rows = np.zeros((tiles * groups, configuration.row_words * _WORD_BYTES), np.int8)
    rows[:, : lanes * positions] = tiled.reshape(tiles * groups, lanes * positions)
    return rows.view("<u4")


def disassemble(
    image: MemoryImage, configuration: NpuConfiguration
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Recover (weights, bias) from an image.

    Raises ModelError unless the image is exactly what `assemble` makes of them: the same addresses in
    the same order, and zero in the padding.
    """
    data = np.array([data for _, data in image], np.uint32)
    classes = configuration.classes
    rows, words = configuration.compute_cycles, configuration.row_words
    if data.size != classes + rows * words:
        raise ModelError(
            "the memory image has the wrong size",
            where="npu",
            got=f"{data.size} words",
            expected=f"{classes + rows * words} words",
            hint="assemble the layer for this NPU's parameters",
        )
    bias = data[:classes].view(np.int32)
    weights = _weights(data[classes:].reshape(rows, words), configuration)
    _require_same(image, assemble(weights, bias, configuration))
    return weights, bias


def _weights(rows: NDArray[np.uint32], configuration: NpuConfiguration) -> NDArray[np.int8]:
    tiles, groups = configuration.tiles, configuration.groups
    lanes, positions = configuration.class_lanes, configuration.feature_lanes
    row_bytes = np.ascontiguousarray(rows.astype("<u4")).view(np.int8)[:, : lanes * positions]
    tiled = row_bytes.reshape(tiles, groups, lanes, positions).transpose(0, 2, 1, 3)
    padded = tiled.reshape(tiles * lanes, groups * positions)
    return np.ascontiguousarray(padded[: configuration.classes, : configuration.features])


def _require_same(image: MemoryImage, canonical: MemoryImage) -> None:
    for found, expected in zip(image, canonical, strict=True):
        if found != expected:
            raise ModelError(
                "the memory image does not fit the NPU",
                where="npu",
                got=f"{found[0]:08X} {found[1]:08X}",
                expected=f"{expected[0]:08X} {expected[1]:08X}",
                hint="assemble the layer for this NPU's parameters",
            )
