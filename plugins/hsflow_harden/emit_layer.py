# SPDX-License-Identifier: Apache-2.0
"""RTL of one layer: window former, tiles, requantizers and stream register."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hsflow.design import DesignFile, FileRole, LayerCost
from hsflow.fixedpoint import Interval
from hsflow.ir.graph import Conv, MaxPool
from hsflow.templates import render
from hsflow_harden.emit_kernel import emit_kernel
from hsflow_harden.emit_tile import output_slices, output_width
from hsflow_harden.kernel import Kernel, Operand, Requantizer, Tile, requantizer_output
from hsflow_harden.names import comment
from hsflow_harden.structure import StreamLayer


@dataclass(frozen=True)
class _Channel:
    """Hold what the template needs of one output channel; `sum` is empty where no weight is left."""

    sum: str
    width: int
    bias: str
    shift: int
    low: int
    high: int
    bits: int
    negate: bool
    constant: str


EmitKernel = Callable[[Tile, tuple[Operand, ...], str], Iterable[DesignFile]]


def emit_layer(layer: StreamLayer, cost: LayerCost, emit: EmitKernel = emit_kernel) -> Iterator[DesignFile]:
    """Yield the RTL files of one layer: its tiles as `emit` writes them, its kernel, then its module."""
    title = comment(layer.layer.name)
    tiles = layer.kernel.tiles if layer.kernel else ()
    operands = layer.kernel.operands if layer.kernel else ()
    for number, tile in enumerate(tiles):
        yield from emit(tile, operands, f"Layer {title}, tile {number}")
    kernel = kernel_module(layer)
    yield DesignFile(f"rtl/{kernel}.sv", _kernel_text(layer, title), FileRole.RTL)
    yield DesignFile(f"rtl/{layer.module}.sv", _layer_text(layer, cost, title), FileRole.RTL)


def kernel_module(layer: StreamLayer) -> str:
    """Return the name of the module that makes one pixel of the layer's output."""
    return f"{layer.module}__kernel"


def _layer_text(layer: StreamLayer, cost: LayerCost, title: str) -> str:
    source = layer.sources[0]
    return render(
        "hsflow_harden",
        "layer.sv.j2",
        title=title,
        module=layer.module,
        kind=cost.kind,
        shapes=f"{source.shape} -> {layer.output.shape}",
        formats=f"{' and '.join(str(s.format) for s in layer.sources)} -> {layer.output.format}",
        adders=cost.adders,
        depth=cost.adder_depth,
        latency=layer.kernel_latency,
        former=layer.former,
        widths=[feature_map.pixel_width for feature_map in layer.sources],
        gathered_width=_gathered_width(layer),
        operand_width=_operand_width(layer),
        output_width=layer.output.pixel_width,
        channels=source.shape.channels,
        input_bits=source.format.width,
        input_signed=source.format.signed,
        pixels=source.shape.pixels,
        accumulator=layer.accumulator,
        height=source.shape.height,
        width=source.shape.width,
        window=layer.window,
        pad_value=_pad_value(layer),
        source_block=layer.source_block,
        block=layer.block,
        copies=layer.block.pixels,
        patch=layer.patch if layer.former == "window" else (),
        gaps=_has_gaps(layer),
    )


def _kernel_text(layer: StreamLayer, title: str) -> str:
    source, kernel = layer.sources[0], layer.kernel
    return render(
        "hsflow_harden",
        "kernel.sv.j2",
        title=title,
        module=kernel_module(layer),
        operands=len(kernel.operands) if kernel else layer.window.taps * source.shape.channels,
        outputs=layer.output.shape.channels,
        adders=sum(len(tile.pipeline.graph.adders) for tile in kernel.tiles) if kernel else 0,
        latency=layer.kernel_latency,
        operand_width=_operand_width(layer),
        output_width=layer.output.pixel_width,
        unused=_unused(layer),
        stages=kernel.stages if kernel else 0,
        tiles=[_tile_context(kernel, tile) for tile in kernel.tiles] if kernel else [],
        comparator=layer.comparator,
        input_signed=source.format.signed,
        channels_out=list(_channels(kernel)) if kernel else [],
    )


def _operand_width(layer: StreamLayer) -> int:
    if layer.kernel:
        return sum(operand.width for operand in layer.kernel.operands)
    return layer.sources[0].pixel_width * layer.window.taps


def _gathered_width(layer: StreamLayer) -> int:
    """Return the bits that the former gathers for all copies of the kernel."""
    match layer.former:
        case "accumulate":
            return _operand_width(layer)
        case "window":
            return layer.patch[0] * layer.patch[1] * layer.sources[0].pixel_width
    return layer.source_block.pixels * sum(source.pixel_width for source in layer.sources)


def _has_gaps(layer: StreamLayer) -> bool:
    """Tell whether some pixels of the patch lie between the taps of all windows."""
    if layer.former != "window":
        return False
    window = layer.window
    sides = zip(
        window.kernel,
        window.stride,
        window.dilation,
        (layer.block.rows, layer.block.columns),
        layer.patch,
        strict=True,
    )
    return any(
        len({copy * stride + tap * dilation for copy in range(copies) for tap in range(taps)}) < size
        for taps, stride, dilation, copies, size in sides
    )


def _pad_value(layer: StreamLayer) -> str:
    """Return the pixel that stands for padding, as a sized hexadecimal literal, channel 0 lowest."""
    form = layer.sources[0].format
    values: Iterable[int] = [0] * form.channels
    if isinstance(layer.layer, Conv):
        values = layer.layer.pad_values
    elif isinstance(layer.layer, MaxPool):
        values = form.low
    mask = (1 << form.width) - 1
    pixel = sum((value & mask) << (form.width * channel) for channel, value in enumerate(values))
    return f"{form.width * form.channels}'h{pixel:x}"


def _tile_context(kernel: Kernel, tile: Tile) -> dict[str, object]:
    # Verilog concatenations name the highest bits first.
    slices = [f"data_i[{low}+:{width}]" for low, width in _runs(kernel, tile.operands)]
    return {"module": tile.module, "slices": slices[::-1], "output_width": output_width(tile)}


def _runs(kernel: Kernel, chosen: Iterable[int]) -> list[tuple[int, int]]:
    """Return (lowest bit, width) of each run of neighbouring operands."""
    runs: list[tuple[int, int]] = []
    for index in chosen:
        operand = kernel.operands[index]
        if runs and sum(runs[-1]) == operand.offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + operand.width)
        else:
            runs.append((operand.offset, operand.width))
    return runs


def _unused(layer: StreamLayer) -> list[str]:
    if layer.kernel is None:
        return []
    used = {operand for tile in layer.kernel.tiles for operand in tile.operands}
    spare = [index for index in range(len(layer.kernel.operands)) if index not in used]
    return [f"data_i[{low}+:{width}]" for low, width in _runs(layer.kernel, spare)]


def _channels(kernel: Kernel) -> Iterator[_Channel]:
    slices = [output_slices(tile) for tile in kernel.tiles]
    for requantizer in kernel.requantizers:
        yield _channel(kernel, requantizer, slices)


def _channel(kernel: Kernel, requantizer: Requantizer, slices: list[list[tuple[int, int]]]) -> _Channel:
    output = requantizer_output(kernel, requantizer)
    sum_, width = "", 0
    if requantizer.source is not None and output.value is not None:
        tile, place = requantizer.source
        low, width = slices[tile][place]
        interval = kernel.tiles[tile].pipeline.graph.intervals[output.value]
        sum_, width = _signed_sum(f"sums{tile}[{low}+:{width}]", width, interval, output.shift)
    return _Channel(
        sum=sum_,
        width=width,
        bias=_literal(requantizer.bias),
        shift=requantizer.shift,
        low=requantizer.low,
        high=requantizer.high,
        bits=kernel.output.width,
        negate=output.negate,
        constant=_constant(requantizer, kernel.output.width),
    )


def _signed_sum(slice_: str, width: int, interval: Interval, shift: int) -> tuple[str, int]:
    """Return the expression and width of a sum as a two's complement number, shifted left by `shift`."""
    parts = [slice_] if interval.signed else ["1'b0", slice_]
    width += not interval.signed
    parts += [f"{shift}'b0"] if shift else []
    return f"{{{', '.join(parts)}}}", width + shift


def _constant(requantizer: Requantizer, width: int) -> str:
    scaled = (
        requantizer.bias >> requantizer.shift
        if requantizer.shift >= 0
        else requantizer.bias << -requantizer.shift
    )
    value = min(max(scaled, requantizer.low), requantizer.high)
    return f"{width}'h{value & ((1 << width) - 1):x}"


def _literal(value: int) -> str:
    """Return a signed 64-bit literal."""
    return f"-64'sd{-value}" if value < 0 else f"64'sd{value}"
