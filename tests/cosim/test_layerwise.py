# SPDX-License-Identifier: Apache-2.0
"""Layers alone, fed with real feature maps: proved word for word, resumable, and a fault in any of them is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hsflow_po2.emulator import feature_maps
from network_bench import LIBRARY, harden
from random_graphs import GraphBuilder, inverted_residual, random_images, square
from simulator import choose_simulator

from hsflow import layerwise
from hsflow.design import Design, DesignFile, FileRole
from hsflow.errors import ConfigurationError, MismatchError
from hsflow.executor import ProcessExecutor
from hsflow.fixedpoint import IntArray
from hsflow.ir.tensor import ONE_PIXEL, Block, Shape
from hsflow.layerbench import stream_of
from hsflow.layerwise import Conditions, LayerTask, layer_tasks, require_proved, verify_layers

FOLDERS = sorted({path.parent for path in LIBRARY})


def network(block: Block = ONE_PIXEL) -> tuple[Design, dict[str, IntArray]]:
    """Return a network with every kind of layer, hardened, and its maps of two images."""
    builder = GraphBuilder(Shape(3, 8, 8), 7)
    builder.conv(4, square(3, 2, 1))
    inverted_residual(builder, 2, 4, 1)
    builder.max_pool(square(2, 2)).conv(5).global_pool().dense(3)
    graph = builder.build("layers")
    (maps,) = feature_maps(graph, random_images(graph, 2))
    return harden(graph, block=block), maps


def tasks_in(
    folder: Path, words: int | None = None, stalls: bool = False, block: Block = ONE_PIXEL
) -> list[LayerTask]:
    design, maps = network(block)
    return layer_tasks(design, maps, folder, Conditions(choose_simulator(), words, stalls), FOLDERS)


@pytest.mark.parametrize(("stalls", "block"), [(False, Block()), (True, Block()), (False, Block(2, 2))])
def test_every_layer_is_proved(stalls: bool, block: Block, tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, stalls=stalls, block=block)
    proofs = verify_layers(tasks)
    require_proved(proofs)
    assert [proof.name for proof in proofs] == [task.name for task in tasks]
    assert [proof.words for proof in proofs] == [task.expected.words for task in tasks]
    assert not any(proof.reused for proof in proofs)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_a_strip_is_the_first_words(tmp_path: Path) -> None:
    proofs = verify_layers(tasks_in(tmp_path, words=3)[:2], ProcessExecutor(2))
    require_proved(proofs)
    assert [proof.words for proof in proofs] == [3, 3]


def test_a_layer_is_fed_with_the_images_that_its_words_are_of(tmp_path: Path) -> None:
    whole, strip, both = (tasks_in(tmp_path, words=words)[0] for words in (None, 16, 17))
    assert whole.expected.words == 32
    assert [task.sources[0].words for task in (whole, strip, both)] == [128, 64, 128]


GATED = """\
module gated (
  input  logic         clk_i, rst_ni, valid_i, ready_i,
  output logic         valid_o, ready_o,
  input  logic [{0}:0] data_i,
  output logic [{0}:0] data_o
);
  logic clock, armed;
  assign clock = clk_i & armed & ~armed;
  always_ff @(posedge clock or negedge rst_ni) if (!rst_ni) armed <= 1'b1;
  assign valid_o = valid_i & armed;
  assign ready_o = ready_i & armed;
  assign data_o = data_i;
endmodule
"""


def test_registers_whose_clock_is_gated_are_reset(tmp_path: Path) -> None:
    task = tasks_in(tmp_path, words=4)[0]
    (source,) = task.sources
    file = DesignFile("gated.sv", GATED.format(source.width - 1), FileRole.RTL)
    # In Icarus a reset that is there from the start falls, too: from unknown.
    gated = replace(task, module="gated", files=(file,), expected=source, simulator="verilator")
    require_proved(verify_layers([gated]))


def test_what_is_proved_is_not_simulated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = tasks_in(tmp_path, words=3)[:2]
    first = verify_layers(tasks[:1])
    simulated: list[str] = []

    def spy(task: LayerTask) -> layerwise.LayerProof:
        simulated.append(task.name)
        return replace(first[0], name=task.name)

    monkeypatch.setattr(layerwise, "simulate_layer", spy)
    again = verify_layers(tasks)
    assert simulated == [tasks[1].name]
    assert again[0] == replace(first[0], reused=True)
    changed = replace(tasks[0], files=(replace(tasks[0].files[0], text=tasks[0].files[0].text + "\n"),))
    verify_layers([changed])
    assert simulated == [tasks[1].name, tasks[0].name]
    result = tmp_path / f"{tasks[0].module}.json"
    for damage in ("", "{}", "[]", json.dumps({**json.loads(result.read_text()), "wrong": 1})):
        result.write_text(damage)
        assert layerwise.finished(tasks[0]) is None


def faults(task: LayerTask) -> Iterator[LayerTask]:
    """Yield the task with an adder's sign turned, with one wrong expected bit, and with one wrong pixel."""
    turned = tuple(replace(file, text=file.text.replace(" + ", " - ", 1)) for file in task.files)
    assert turned != task.files
    yield replace(task, files=turned)
    flipped = f"{int(task.expected.text[:-1].rsplit()[-1], 16) ^ 1:x}\n"
    lines = task.expected.text.splitlines(keepends=True)
    yield replace(task, expected=replace(task.expected, text="".join([*lines[:-1], flipped])))
    unknown = ["x" * (len(lines[0]) - 1) + "\n", *lines[1:]]
    yield replace(task, expected=replace(task.expected, text="".join(unknown)))


def test_a_fault_is_found_and_kept(tmp_path: Path) -> None:
    task = tasks_in(tmp_path)[1]
    for wrong in faults(task):
        (proof,) = verify_layers([wrong])
        assert not proof.proved
        assert (tmp_path / task.module / "simulation.log").is_file()
        with pytest.raises(MismatchError, match=f"layer {task.name}, word {proof.first_wrong}, ") as caught:
            require_proved([proof])
        assert caught.value.got == proof.got != proof.expected == caught.value.expected
        assert layerwise.finished(wrong) is None


def test_a_layer_that_gets_stuck_is_wrong(tmp_path: Path) -> None:
    task = tasks_in(tmp_path)[0]
    short = replace(task.sources[0], text=task.sources[0].text.split()[0] + "\n", words=1)
    (proof,) = verify_layers([replace(task, sources=(short,))])
    assert proof.wrong == task.expected.words and not proof.proved and "stuck" in proof.got


def test_the_first_wrong_value_is_named_by_pixel_and_channel(tmp_path: Path) -> None:
    task = tasks_in(tmp_path, block=Block(4, 4))[0]
    lines = task.expected.text.splitlines(keepends=True)
    value = task.channels * 3 + 2  # of the last of 2x2 pixels
    lines[1] = f"{int(lines[1], 16) ^ (1 << (task.bits * value)):0{len(lines[1]) - 1}x}\n"
    (proof,) = verify_layers([replace(task, expected=replace(task.expected, text="".join(lines)))])
    assert (proof.place, proof.wrong) == ("word 1, pixel 3, channel 2", 1)
    assert int(proof.got, 2) ^ int(proof.expected, 2) == 1


def test_a_strip_is_three_rows_or_256_words() -> None:
    strip = Conditions(words=layerwise.STRIP)
    for shape, block, words in (
        ((4, 112, 112), Block(), 336),
        ((4, 56, 56), Block(), 256),
        ((4, 56, 224), Block(2, 2), 336),
    ):
        source = replace(GraphBuilder(Shape(4, 8, 8), 1).source, shape=Shape(*shape))
        assert strip.words_of(source, block) == words


def test_nothing_proves_nothing() -> None:
    with pytest.raises(MismatchError):
        require_proved([])


@pytest.mark.parametrize("options", [{"simulator": "modelsim"}, {"words": 0}])
def test_conditions_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Conditions(**options)


def test_words_are_blocks_of_pixels_first_pixel_low() -> None:
    source = GraphBuilder(Shape(2, 2, 4), 1, 4, True).source
    values = np.arange(-8, 8).reshape(1, 2, 2, 4)
    stream = stream_of(values, source, Block(2, 2))
    pixel = [[(int(values[0, c, r, x]) & 15) for c in (0, 1)] for r in (0, 1) for x in (0, 1)]
    word = sum(value << (4 * place) for place, value in enumerate(np.ravel(pixel).tolist()))
    assert stream.text.split()[0] == f"{word:08x}"
    assert (stream.words, stream.width) == (2, 32)
    assert stream_of(values, source, Block(2, 2), 1).text == stream.text.splitlines(keepends=True)[0]
