# SPDX-License-Identifier: Apache-2.0
"""Verification layer by layer: each layer's RTL alone, fed with real feature maps, against the maps that it must make.

A network that is too large to be simulated at once is proved in parts: the maps come from the emulator, which equals the
interpreter, and every layer's stream is compared word for word. Layers are independent tasks, so they run in parallel;
each leaves a result that is put in place at once and carries a digest of all that went into it, so that a run which was
stopped goes on where it was, and a layer that has changed is simulated again.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hsflow.artifact import canonical_json, digest
from hsflow.design import Design, DesignFile, FileRole, LayerCost
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, MismatchError, ToolError
from hsflow.executor import Executor, SerialExecutor
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import FeatureMap
from hsflow.ir.tensor import Block
from hsflow.launch import resolve
from hsflow.layerbench import TOP, Stream, bench_text, stream_of
from hsflow.process import run
from hsflow.progress import Track, untracked

PREFIX = "verify."
"""How the names of figures begin that a verification leaves."""
RTL_DIGEST = f"{PREFIX}rtl_digest"
STRIP: Literal["strip"] = "strip"
VERDICT = re.compile(
    r"^hsflow_layer_bench: (\d+) words, (\d+) wrong, first (-?\d+), got ([01xz]+), (\d+) cycles$",
    re.MULTILINE,
)
STRIP_WORDS = 256
STRIP_ROWS = 3
"""A strip is so many rows of blocks, and so many words at least: beyond a window's first rows every weight works."""


@dataclass(frozen=True)
class LayerTask:
    """Hold all that the simulation of one layer needs; it can be sent to another process.

    `library` are folders of modules that the layer's own refer to. With `stalls` both ends of the layer pause at random.
    `channels` and `bits` say what a word of the output consists of: pixels of so many values of so many bits.
    """

    name: str
    module: str
    files: tuple[DesignFile, ...]
    sources: tuple[Stream, ...]
    expected: Stream
    channels: int
    bits: int
    library: tuple[Path, ...]
    simulator: str
    stalls: bool
    timeout: float
    folder: Path

    @property
    def digest(self) -> str:
        """Return a digest of everything that can change the outcome."""
        texts = [self.simulator, self.bench, *(file.path + "\n" + file.text for file in self.files)]
        texts += [stream.text for stream in (*self.sources, self.expected)]
        texts += [
            path.name + "\n" + path.read_text(encoding="utf-8") for path in _library_files(self.library)
        ]
        return digest("\0".join(map(digest_of, texts)).encode())

    @property
    def bench(self) -> str:
        """Return the self-checking testbench."""
        return bench_text(self.module, self.sources, self.expected, self.stalls)


@dataclass(frozen=True)
class LayerProof:
    """Hold the outcome of one layer: words compared and wrong, the first wrong one (-1: none), what it took.

    `place`, `got` and `expected` are the first wrong value's; `reused` tells that the result was there from an earlier
    run.
    """

    name: str
    module: str
    words: int
    wrong: int
    first_wrong: int
    place: str
    got: str
    expected: str
    cycles: int
    compile_seconds: float
    run_seconds: float
    peak_mib: float
    digest: str
    reused: bool = False

    @property
    def proved(self) -> bool:
        """Tell whether at least one word was compared and none was wrong."""
        return self.words > 0 and self.wrong == 0


@dataclass(frozen=True)
class Conditions:
    """Hold how layers are simulated.

    `words` is how many transfers of a layer's output are compared: a number, None for whole maps, `STRIP` for as many as
    a strip has. `seconds` is the longest that a compiler or a simulation may take.
    """

    simulator: str = "verilator"
    words: int | Literal["strip"] | None = None
    stalls: bool = False
    seconds: float = 3600.0

    def __post_init__(self) -> None:
        if self.simulator not in COMPILERS:
            raise ConfigurationError(
                "the simulator is unknown", got=self.simulator, expected=" or ".join(COMPILERS)
            )
        if isinstance(self.words, int) and self.words < 1:
            raise ConfigurationError("a strip has no words", got=self.words, expected="at least 1")

    def words_of(self, source: FeatureMap, block: Block) -> int | None:
        """Return how many transfers of a feature map are compared; None is all."""
        if self.words == STRIP:
            return max(STRIP_WORDS, STRIP_ROWS * (source.shape.width // block.columns))
        return self.words


def layer_tasks(
    design: Design,
    maps: Mapping[str, IntArray],
    folder: Path,
    conditions: Conditions,
    library: Sequence[Path],
) -> list[LayerTask]:
    """Return a task for each hardened layer.

    Args:
        design: a hardened network.
        maps: every feature map by name, (n, channels, height, width), `input` being the image.
        folder: where results go.
        conditions: how layers are simulated.
        library: folders of the RTL library.
    """
    return [_task(design, cost, maps, folder, conditions, tuple(library)) for cost in design.layers]


def _task(
    design: Design,
    cost: LayerCost,
    maps: Mapping[str, IntArray],
    folder: Path,
    conditions: Conditions,
    library: tuple[Path, ...],
) -> LayerTask:
    graph = design.graph
    blocks = {other.name: other.block for other in design.layers}
    output = graph.feature_maps[cost.name]
    expected = stream_of(maps[cost.name], output, cost.block, conditions.words_of(output, cost.block))
    images = math.ceil(expected.words * cost.block.pixels / output.shape.pixels)
    sources = [
        stream_of(maps[name][:images], graph.feature_maps[name], blocks.get(name, design.input_block))
        for name in graph.layer(cost.name).sources
    ]
    return LayerTask(
        cost.name,
        cost.module,
        tuple(file for file in design.files if _belongs(file.path, cost.module)),
        tuple(sources),
        expected,
        output.shape.channels,
        output.format.width,
        library,
        conditions.simulator,
        conditions.stalls,
        conditions.seconds,
        folder,
    )


def _belongs(path: str, module: str) -> bool:
    """Tell whether a file holds a layer's module or one of its parts."""
    stem = Path(path).stem
    return path.endswith(".sv") and (stem == module or stem.startswith(f"{module}__"))


def verify_layers(
    tasks: Sequence[LayerTask], executor: Executor | None = None, track: Track = untracked
) -> list[LayerProof]:
    """Simulate each layer unless its result is there already, and return all outcomes in the tasks' order.

    Raises:
        ToolError: if a simulator is missing, fails, or a layer gets stuck.
    """
    proofs = {task.name: known for task in tasks if (known := finished(task)) is not None}
    waiting = [task for task in tasks if task.name not in proofs]
    outcomes: Iterable[Any] = (executor or SerialExecutor()).map(simulate_layer, waiting)
    for proof in track(outcomes, "simulating layers", len(waiting)):
        proofs[proof.name] = proof
    return [proofs[task.name] for task in tasks]


def require_proved(proofs: Sequence[LayerProof]) -> None:
    """Refuse outcomes with a wrong word.

    Raises:
        MismatchError: naming every layer that is wrong, and the first one's first wrong value.
    """
    if not proofs:
        raise MismatchError("no layer was simulated", expected="one or more")
    wrong = [proof for proof in proofs if not proof.proved]
    if not wrong:
        return
    first = wrong[0]
    others = f"; {', '.join(proof.name for proof in wrong[1:])} as well" if wrong[1:] else ""
    raise MismatchError(
        f"the layer's RTL and the emulator disagree in {first.wrong} words{others}",
        where=f"layer {first.name}, {first.place}",
        got=first.got,
        expected=first.expected,
    )


def finished(task: LayerTask) -> LayerProof | None:
    """Return the result of an earlier run of the same task, if it proved the layer."""
    try:
        proof = LayerProof(**json.loads(_result(task).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return replace(proof, reused=True) if proof.digest == task.digest and proof.proved else None


def simulate_layer(task: LayerTask) -> LayerProof:
    """Compile and run the testbench of one layer, write its result, and return it; files of a proved layer are removed."""
    work = task.folder / task.module
    shutil.rmtree(work, ignore_errors=True)
    files = _write(task, work)
    arguments, program = COMPILERS[task.simulator](files, task.library)
    execute = partial(run, cwd=work, timeout=task.timeout)
    env = dict(resolve("verilator").env) if task.simulator == "verilator" else {}
    compiled = execute(arguments, log=work / "build.log", env=env)
    log = work / "simulation.log"
    ran = execute(program, log=log)
    words, wrong, first, bits, cycles = _verdict(log)
    proof = LayerProof(
        task.name,
        task.module,
        words,
        wrong,
        first,
        *_difference(task, words, wrong, first, bits),
        cycles,
        round(compiled.cpu_s, 3),
        round(ran.cpu_s, 3),
        round(max(compiled.rss_mb, ran.rss_mb), 1),
        task.digest,
    )
    replace_file(_result(task), (json.dumps(asdict(proof), indent=2, sort_keys=True) + "\n").encode())
    if proof.proved:
        shutil.rmtree(work, ignore_errors=True)
    return proof


def _verdict(log: Path) -> tuple[int, int, int, str, int]:
    found = VERDICT.search(log.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise ToolError(
            "a layer's simulation gave no verdict", where=str(log), expected="a line of its testbench"
        )
    words, wrong, first, bits, cycles = found.groups()
    return int(words), int(wrong), int(first), bits, int(cycles)


def _difference(task: LayerTask, words: int, wrong: int, first: int, bits: str) -> tuple[str, str, str]:
    """Return where the first wrong value lies, what it is and what it must be; empty texts if all are right."""
    if first < 0:
        stuck = (f"word {words}", "nothing: the layer is stuck", f"{task.expected.words} words")
        return stuck if wrong else ("", "", "")
    width = task.expected.width
    digits = task.expected.text.splitlines()[first]
    right = "".join(f"{int(digit, 16):04b}" if digit != "x" else "xxxx" for digit in digits)[-width:]
    got, expected = (_values(text.zfill(width), task.bits) for text in (bits, right))
    number = next(number for number, pair in enumerate(zip(got, expected, strict=True)) if pair[0] != pair[1])
    pixel, channel = divmod(number, task.channels)
    place = f"word {first}, pixel {pixel}, channel {channel}"
    return place, f"0b{got[number]}", f"0b{expected[number]}"


def _values(word: str, bits: int) -> list[str]:
    """Return the values of a word of binary digits, the lowest first."""
    return [word[high - bits : high] for high in range(len(word), 0, -bits)]


def _result(task: LayerTask) -> Path:
    return task.folder / f"{task.module}.json"


def _write(task: LayerTask, work: Path) -> list[Path]:
    """Write all files of a task and return those to compile."""
    work.mkdir(parents=True)
    files = []
    for file in (*task.files, DesignFile(f"{TOP}.sv", task.bench, task.files[0].role)):
        path = work / Path(file.path).name
        path.write_text(file.text, encoding="utf-8")
        files.append(path)
    for name, stream in (
        *((f"in{i}.hex", s) for i, s in enumerate(task.sources)),
        ("out.hex", task.expected),
    ):
        (work / name).write_text(stream.text, encoding="ascii")
    return files


def _verilator(files: Sequence[Path], library: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return how to compile and how to run; unoptimized C++ in few files, for a strip runs in no time either way."""
    command = resolve("verilator")
    flags = ["--binary", "--timing", "-j", "1", "-Wno-fatal", "-Wno-lint", "--top-module", TOP]
    flags += ["--output-split", "200000", "-CFLAGS", "-O0", "--Mdir", "obj_dir", "-o", f"../{TOP}"]
    flags += ["-MAKEFLAGS", "OPT_FAST=-O0", "-MAKEFLAGS", "OPT_SLOW=-O0"]
    flags += [item for folder in library for item in ("-y", str(folder.resolve()))]
    return [*command.argv, *command.adapt([*flags, *(path.name for path in files)])], [f"./{TOP}"]


def _icarus(files: Sequence[Path], library: Sequence[Path]) -> tuple[list[str], list[str]]:
    words = ["iverilog", "-g2012", "-s", TOP, "-o", f"{TOP}.vvp", "-Y", ".sv"]
    words += [item for folder in library for item in ("-y", str(folder.resolve()))]
    return [*words, *(path.name for path in files)], ["vvp", "-n", f"{TOP}.vvp"]


Compiler = Callable[[Sequence[Path], Sequence[Path]], tuple[list[str], list[str]]]
COMPILERS: Mapping[str, Compiler] = {"verilator": _verilator, "icarus": _icarus}


def _library_files(folders: Sequence[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.glob("*.sv"))]


def rtl_digest(design: Design) -> str:
    """Return a digest of a design's RTL, by which figures are known to be those of this very design."""
    return digest(
        canonical_json({file.path: file.text for file in design.files if file.role is FileRole.RTL})
    )


def digest_of(text: str) -> str:
    """Return the digest of a text."""
    return digest(text.encode())
