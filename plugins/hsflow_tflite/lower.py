# SPDX-License-Identifier: Apache-2.0
"""Lower a TFLite file to a float `Network`: weights as they were before they were quantized, to half a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hsflow.errors import ModelError
from hsflow.importing.dataflow import MAX_PIXELS, Operator, shown
from hsflow.importing.fold import BRIGHTEST_PIXEL
from hsflow.ir.network import Network
from hsflow.ir.tensor import Shape
from hsflow_tflite.operators import CHANNELS_LAST, HANDLERS, PASSING, Flow
from hsflow_tflite.reader import Model, Tensor, read_model

LOWEST = {"UINT8": 0, "INT8": -128}
"""What the pixel 0 is in the image's 8-bit types."""


def lower_file(
    path: Path,
    *,
    name: str = "network",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Network:
    """Return the float network in a TFLite file, which takes raw pixels.

    Args:
        path: the file.
        name: the network's name.
        mean: what the model expects subtracted from pixels 0..1; None leaves it to the scale of an 8-bit input, whose 256
            values are the 256 pixels.
        std: what they are divided by; likewise.

    Raises:
        HsflowError: if the package `tflite` is not installed.
        ModelError: if the file is damaged, or names every operator that is not supported.
    """
    model = read_model(path)
    image = model.tensors[model.input]
    channels_first = _is_channels_first(model)
    flow = Flow(
        _image_shape(image, channels_first),
        constants={key: each.data for key, each in model.tensors.items() if each.data is not None},
        operators=model.operators,
        passing=PASSING,
        output=model.output,
        tensors=model.tensors,
        channels_first=channels_first,
    )
    flow.run(HANDLERS, model.input)
    means, stds = _preprocessing(image, mean, std)
    return flow.network(name, mean=means, std=stds)


def _is_channels_first(model: Model) -> bool:
    """Tell whether the first thing that happens to the image is that its channels become the last dimension."""
    readers = [operator for operator in model.operators if model.input in operator.inputs]
    while len(readers) == 1 and readers[0].kind == "QUANTIZE" and readers[0].outputs:
        readers = [each for each in model.operators if readers[0].outputs[0] in each.inputs]
    return bool(readers) and all(_puts_channels_last(model, operator) for operator in readers)


def _puts_channels_last(model: Model, operator: Operator) -> bool:
    if operator.kind != "TRANSPOSE" or len(operator.inputs) != 2:
        return False
    order = model.tensors[operator.inputs[1]].data if operator.inputs[1] else None
    return order is not None and tuple(order.ravel()[:5].tolist()) == CHANNELS_LAST


def _image_shape(image: Tensor, channels_first: bool) -> Shape:
    sizes = image.shape[1:]
    if len(sizes) == 1:
        sizes = (1, 1, *sizes)  # features without a place: an image of one pixel
    if len(sizes) != 3 or min(sizes) < 1 or int(np.prod(sizes, dtype=object)) > MAX_PIXELS:
        raise ModelError(
            "the input is no image",
            where=shown(image.name),
            got=f"shape {image.shape}",
            expected=f"(1, height, width, channels), at most {MAX_PIXELS:,} values",
        )
    return Shape(*sizes) if channels_first else Shape(sizes[2], sizes[0], sizes[1])


def _preprocessing(
    image: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Sequence[float], Sequence[float]]:
    """Return `mean` and `std`, where they are not given those of an 8-bit input: `scale * (integer - zero)`."""
    if mean is not None and std is not None:
        return mean, std
    if image.kind not in LOWEST or image.scales.size != 1 or not image.scales[0] > 0:
        raise ModelError(
            "the file does not tell how its input is scaled",
            where=shown(image.name),
            got=f"an input of type {image.kind}",
            expected="mean and std in [load], as (pixel / 255 - mean) / std",
            hint="for values -1..1 mean = [0.5], std = [0.5]; for 0..1 [0.0] and [1.0]; for 0..255 [0.0] and "
            f"[{1 / BRIGHTEST_PIXEL}]",
        )
    zero = float(image.zeros[0]) - LOWEST[image.kind]
    found = zero / BRIGHTEST_PIXEL, 1 / (BRIGHTEST_PIXEL * float(image.scales[0]))
    return (found[0],) if mean is None else mean, (found[1],) if std is None else std
