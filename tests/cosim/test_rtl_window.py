# SPDX-License-Identifier: Apache-2.0
"""hsflow_window against a NumPy model: every bit, and every cycle where the traffic allows it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from simulator import CORES, lint, run
from stream_bench import Bench, Log, inputs, outputs, random_words, read_log, traffic

WINDOW = CORES / "window" / "rtl"
SOURCES = [WINDOW / "hsflow_window.sv", WINDOW / "hsflow_line_buffer.sv"]


@dataclass(frozen=True)
class Shape:
    """The parameters of hsflow_window; pairs are (vertical, horizontal)."""

    name: str
    size: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    pixel_width: int = 8
    images: int = 4

    @property
    def extent(self) -> tuple[int, int]:
        first, second = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return first, second

    @property
    def output_size(self) -> tuple[int, int]:
        parts = zip(self.size, self.before, self.after, self.extent, self.stride, strict=True)
        first, second = ((n + p + q - e) // s + 1 for n, p, q, e, s in parts)
        return first, second

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def pad_value(self) -> int:
        return 0xA5C3965A0F1E2D3C & ((1 << self.pixel_width) - 1)

    @property
    def window_bits(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.pixel_width

    def parameters(self) -> dict[str, object]:
        pairs = {"": self.size, "Kernel": self.kernel, "Stride": self.stride, "Dilation": self.dilation}
        values: dict[str, object] = {"PixelWidth": self.pixel_width}
        for key, (vertical, horizontal) in pairs.items():
            values |= {f"{key}Height": vertical, f"{key}Width": horizontal}
        values |= {"PadTop": self.before[0], "PadLeft": self.before[1]}
        values |= {"PadBottom": self.after[0], "PadRight": self.after[1]}
        return values | {"PadValue": f"{self.pixel_width}'h{self.pad_value:x}"}


def same(
    name: str, size: tuple[int, int], kernel: int = 3, stride: int = 1, dilation: int = 1, **more: int
) -> Shape:
    """Return a square kernel with the padding (kernel - 1) * dilation / 2 on all sides."""
    pad = ((kernel - 1) * dilation // 2,) * 2
    return Shape(name, size, (kernel,) * 2, (stride,) * 2, (dilation,) * 2, pad, pad, **more)


DIRECTED = [
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
]


def random_pair(generator: random.Random, low: int, *high: int) -> tuple[int, int]:
    return generator.randint(low, high[0]), generator.randint(low, high[1])


def random_shapes(count: int, seed: int = 20) -> list[Shape]:
    """Return reproducible legal shapes."""
    generator = random.Random(seed)
    shapes: list[Shape] = []
    while len(shapes) < count:
        size, kernel, stride, dilation = (random_pair(generator, 1, top, top) for top in (9, 4, 4, 2))
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        total = random_pair(generator, 0, *(extent - 1 for extent in extents))
        before = random_pair(generator, 0, *total)
        after = (total[0] - before[0], total[1] - before[1])
        name, bits = f"random_{len(shapes)}", generator.randint(1, 12)
        shape = Shape(name, size, kernel, stride, dilation, before, after, pixel_width=bits)
        if all(n + pad >= extent for n, pad, extent in zip(size, total, extents, strict=True)):
            shapes.append(shape)
    return shapes


SHAPES = DIRECTED + random_shapes(14)
TRAFFIC = {
    "full": ("full", "full"),
    "random": ("random", "random"),
    "bursty": ("bursty", "full"),
    "slow": ("full", "bursty"),
}


def pixels_of(shape: Shape) -> list[int]:
    return random_words(shape.pixel_width, shape.images * shape.pixels, shape.name)


def expected_windows(shape: Shape) -> list[int]:
    """Cut the windows out of the padded images, one big integer each (tap-major, tap 0 lowest)."""
    images = np.array(pixels_of(shape), dtype=object).reshape(shape.images, *shape.size)
    pads = [(0, 0), *zip(shape.before, shape.after, strict=True)]
    padded = np.pad(images, pads, constant_values=shape.pad_value)
    (sh, sw), (dh, dw), (eh, ew) = shape.stride, shape.dilation, shape.extent
    rows, columns = shape.output_size
    patches = [
        image[y * sh : y * sh + eh : dh, x * sw : x * sw + ew : dw]
        for image in padded
        for y in range(rows)
        for x in range(columns)
    ]
    return [sum(int(tap) << (i * shape.pixel_width) for i, tap in enumerate(patch.flat)) for patch in patches]


def expected_cycles(shape: Shape) -> list[int]:
    """Return when each window is shown under full traffic, counted from the first pixel's transfer."""
    rows, columns = shape.output_size
    (sh, sw), (eh, ew), (top, left), width = shape.stride, shape.extent, shape.before, shape.size[1]
    triggers = [
        (y * sh - top + eh - 1) * width + x * sw - left + ew - 1 for y in range(rows) for x in range(columns)
    ]
    interval = max(shape.pixels, max(triggers) + 1 - shape.pixels)
    return [image * interval + trigger + 1 for image in range(shape.images) for trigger in triggers]


def add_window(
    bench: Bench, shape: Shape, name: str, kinds: tuple[str, str], fault: int | None = None
) -> None:
    """Add a source, a window and a sink; with `fault`, a wrong stage before the sink."""
    count = len(expected_windows(shape))
    source = bench.source(f"{name}_in", shape.pixel_width, pixels_of(shape), traffic(kinds[0], f"{name} in"))
    pattern = traffic(kinds[1], f"{name} out")
    sink = bench.sink(f"{name}_out", shape.window_bits, count, pattern, required=fault is None)
    window = sink
    if fault is not None:
        window = bench.wire(f"{name}_window", shape.window_bits)
        bench.fault(window, sink, shape.window_bits, fault)
    bench.instance("hsflow_window", name, shape.parameters(), f"{inputs(source)}, {outputs(window)}")


FAULTS = {"dropped": 0, "flipped": 1, "changed": 2, "retracted": 3, "repeated": 4}


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bench = Bench()
    for shape in SHAPES:
        for key, kinds in TRAFFIC.items():
            add_window(bench, shape, f"{shape.name}_{key}", kinds)
    for key, kind in FAULTS.items():
        add_window(bench, SHAPES[3], f"fault_{key}", ("full", "random"), kind)
    return bench.compile(SOURCES, tmp_path_factory.mktemp("window"))


@pytest.fixture(scope="module")
def log(executable: Path) -> Log:
    return read_log(run(executable))


@pytest.mark.parametrize("key", TRAFFIC)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_windows_are_exact(log: Log, shape: Shape, key: str) -> None:
    stream = f"{shape.name}_{key}_out"
    assert log.words(stream) == expected_windows(shape), shape
    assert stream not in log.violations
    assert not log.timed_out


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_latency_and_initiation_interval_are_exact(log: Log, shape: Shape) -> None:
    start = log.taken(f"{shape.name}_full_in")[0]
    assert [cycle - start for cycle in log.shown(f"{shape.name}_full_out")] == expected_cycles(shape)


@pytest.mark.parametrize(
    "shape", [shape for shape in SHAPES if shape.pixels > 6], ids=lambda shape: shape.name
)
def test_back_to_back_images_take_one_cycle_a_pixel(log: Log, shape: Shape) -> None:
    taken = log.taken(f"{shape.name}_full_in")
    assert taken == list(range(taken[0], taken[0] + shape.images * shape.pixels))


def test_results_survive_a_reset_at_any_moment(executable: Path) -> None:
    for reset_at in (9, 17, 30, 61):
        log = read_log(run(executable, [f"+reset_at={reset_at}"]))
        wrong = [
            f"{shape.name}_{key}"
            for shape in SHAPES
            for key in TRAFFIC
            if log.words(f"{shape.name}_{key}_out") != expected_windows(shape)
        ]
        assert not wrong, f"reset at {reset_at}"


@pytest.mark.parametrize("key", ["dropped", "flipped", "repeated", "changed"])
def test_twin_wrong_words_are_caught(log: Log, key: str) -> None:
    assert log.words(f"fault_{key}_out") != expected_windows(SHAPES[3])


@pytest.mark.parametrize("key", ["changed", "retracted"])
def test_twin_broken_stream_rules_are_caught(log: Log, key: str) -> None:
    assert f"fault_{key}_out" in log.violations


def test_twin_late_windows_are_caught(log: Log) -> None:
    start = log.taken("plain_random_in")[0]
    assert [cycle - start for cycle in log.shown("plain_random_out")] != expected_cycles(SHAPES[3])


def test_twin_a_wrong_expected_bit_is_caught(log: Log) -> None:
    words = expected_windows(SHAPES[3])
    words[5] ^= 1
    assert log.words("plain_full_out") != words


@pytest.mark.parametrize("shape", DIRECTED, ids=lambda shape: shape.name)
def test_lint_of_every_shape(shape: Shape) -> None:
    parameters = {key: value for key, value in shape.parameters().items() if isinstance(value, int)}
    assert lint(SOURCES, "hsflow_window", parameters) == []


@pytest.mark.parametrize(
    "illegal", [{"PadTop": 2, "PadBottom": 1}, {"PadLeft": 3}, {"Height": 1, "PadTop": 0}]
)
def test_illegal_shapes_are_refused(illegal: dict[str, int]) -> None:
    assert any("hsflow_window:" in line for line in lint(SOURCES, "hsflow_window", illegal))


def test_shapes_cover_the_edge_cases() -> None:
    assert any(shape.size[1] < shape.extent[1] for shape in SHAPES)
    assert any(shape.stride[0] > shape.extent[0] for shape in SHAPES)
    assert any(shape.before != shape.after for shape in SHAPES)
    assert any(max(expected_cycles(shape)) > shape.images * shape.pixels for shape in SHAPES)
