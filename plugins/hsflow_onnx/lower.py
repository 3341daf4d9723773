# SPDX-License-Identifier: Apache-2.0
"""Lower an ONNX file to a float `Network`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hsflow.errors import ModelError
from hsflow.importing.dataflow import MAX_PIXELS, shown
from hsflow.ir.network import Network
from hsflow.ir.tensor import Shape
from hsflow_onnx.operators import HANDLERS, PASSING, Flow
from hsflow_onnx.reader import Model, read_model


def lower_file(
    path: Path,
    *,
    image: Shape | None = None,
    name: str = "network",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Network:
    """Return the float network in an ONNX file, which takes raw pixels.

    Args:
        path: the file.
        image: the images' shape, for the sizes that the file leaves free.
        name: the network's name.
        mean: what the model expects subtracted from pixels 0..1, one value or one a channel.
        std: what they are divided by; likewise.

    Raises:
        HsflowError: if the package `onnx` is not installed.
        ModelError: if the file is damaged, or names every operator that is not supported.
    """
    model = read_model(path)
    flow = Flow(
        _image_shape(model, image),
        constants=dict(model.constants),
        operators=model.operators,
        passing=PASSING,
        output=model.output,
    )
    flow.run(HANDLERS, model.input)
    return flow.network(name, mean=mean, std=std)


def _image_shape(model: Model, image: Shape | None) -> Shape:
    given = (None, None, None) if image is None else (image.channels, image.height, image.width)
    sizes = model.sizes[1:]
    known = tuple(given[index] if size is None else size for index, size in enumerate(sizes[:3]))
    complete = tuple(size for size in known if size is not None and size >= 1)
    if len(sizes) != 3 or len(complete) != 3 or math.prod(complete) > MAX_PIXELS:
        raise ModelError(
            "the input is no image",
            where=shown(model.input),
            got=f"shape {model.sizes}",
            expected=f"(batch, channels, height, width), at most {MAX_PIXELS:,} values",
        )
    return Shape(*complete)
