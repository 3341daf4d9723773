# SPDX-License-Identifier: Apache-2.0
"""README.md is run: its tutorial from the first command to the last, in order, as it is printed.

`toml` blocks are edits of flow.toml, `python` blocks scripts, a `yaml` block a core file, `console` blocks commands with
lines of what they print. Of quoted lines everything but the numbers must appear; a number too where it cannot vary.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fusesoc.main
import pytest
import typer
import yaml
from safetensors import safe_open

from hsflow import cli, hookspecs
from hsflow.config import STAGES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = "digits"
EXACT = (
    "quantize.weights", "npu.npu_multipliers", "npu.clock_mhz", "npu.images_per_second", "simulate.mismatches",
    "simulate.results", "simulate.initiation_interval", "simulate.throughput",
)  # fmt: skip
"""Figures that follow from the network's shape and the clock, whatever training found."""


@dataclass(frozen=True)
class Block:
    """Hold a fenced block: its language, its text, and the heading of level 2 above it."""

    language: str
    text: str
    section: str

    def commands(self) -> list[tuple[str, list[str]]]:
        """Return each command with the lines quoted under it."""
        if self.language == "sh":
            return [(line, []) for line in self.text.splitlines()]
        _, *parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        return [(lines[0], lines[1:]) for lines in (part.splitlines() for part in parts)]


def blocks(text: str) -> list[Block]:
    found, section, fence = (
        [],
        "",
        re.compile(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL),
    )
    for match in fence.finditer(text):
        if match[1]:
            section = match[1]
        else:
            found.append(Block(match[2], match[3], section))
    return found


def mask(line: str) -> str:
    """Return a line without what varies: numbers, unless the metric's never do, and spaces."""
    plain = " ".join(line.split())
    return plain if plain.startswith(EXACT) else re.sub(r"\d[\d,.]*", "#", plain)


def unseen(quoted: str | list[str], output: str) -> list[str]:
    """Return the quoted lines that the output lacks."""
    lines = quoted.splitlines() if isinstance(quoted, str) else quoted
    printed = {mask(line) for line in output.splitlines()}
    return [line for line in lines if mask(line) not in printed]


def edited(configuration: str, block: str) -> str:
    """Return a flow.toml with a block's lines in their tables, instead of those that set or show the same keys."""
    for table, options in tomllib.loads(block).items():
        for key in options:
            (line,) = re.findall(rf"^{key} = .*$", block.partition(f"[{table}]")[2].partition("\n[")[0], re.M)
            pattern = rf"(^\[{table}\]$(?:(?!^\[).)*?)^(?:# )?{key} = [^\n]*$"
            configuration, count = re.subn(
                pattern, lambda match, new=line: match[1] + new, configuration, count=1, flags=re.M | re.S
            )
            assert count == 1, f"flow.toml shows no '{key}' in [{table}]"
    return configuration


@dataclass
class Reader:
    """Do what the README says, in a folder with what a checkout has; `seen` is what was done and printed."""

    root: Path
    seen: list[tuple[Block, str, list[str], str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.root
        self.plugins = self.root / "installed"
        (self.root / "cores").symlink_to(ROOT / "cores")

    def follow(self, block: Block) -> None:
        match block.language:
            case "console":
                for command, quoted in block.commands():
                    self.seen.append((block, command, quoted, self.type(command)))
            case "toml":
                path = self.folder / "flow.toml"
                path.write_text(edited(path.read_text(), block.text))
            case "python":
                self.seen.append((block, "python", [], self.run(sys.executable, "-c", block.text)))
            case "yaml":
                name = yaml.safe_load(block.text)["name"].split(":")[2]
                (self.folder / f"{name}.core").write_text(block.text)

    def type(self, command: str) -> str:
        match command.split():
            case ["source", _]:
                return ""
            case ["cd", name]:
                self.folder /= name
                return ""
            case ["pip", "install", path]:
                return self.install(self.folder / path)
        return self.run("bash", "-euo", "pipefail", "-c", command)

    def install(self, path: Path) -> str:
        """Do what pip does for a package of pure Python; tests/plugins has the real pip do it."""
        source = ROOT / path.resolve().relative_to(self.root.resolve())
        project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
        shutil.copytree(source / "src", self.plugins)
        metadata = self.plugins / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        entries = [f"{name} = {module}" for name, module in project["entry-points"]["hsflow"].items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[hsflow]", *entries]) + "\n")
        return ""

    def configuration(self) -> Path:
        """Return a configuration that keeps FuseSoC's cache out of the user's home."""
        path = self.root / "fusesoc.conf"
        path.write_text(f"[main]\ncache_root = {self.root / 'cache'}\n")
        return path

    def run(self, *words: str) -> str:
        plain = {
            name: value for name, value in os.environ.items() if name not in ("HSFLOW_STORE", "PYTHONPATH")
        }
        environment = {
            **plain,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "PYTHONPATH": str(self.plugins),
            "FUSESOC_CONFIG": str(self.configuration()),
        }
        done = subprocess.run(
            words, cwd=self.folder, env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Return a reader who has followed the whole README: one build of the simulation, no long training."""
    reader = Reader(tmp_path_factory.mktemp("readme"))
    for block in blocks(README):
        reader.follow(block)
    return reader


def test_every_quoted_line_is_printed(reader: Reader) -> None:
    assert {block.section for block, *_ in reader.seen} == {"Five minutes", "FuseSoC"}
    quotes = [(command, quoted, output) for _, command, quoted, output in reader.seen if quoted]
    assert len(quotes) >= 6
    for command, quoted, output in quotes:
        assert not unseen(quoted, output), f"$ {command}\n{output}"


def test_a_line_that_is_not_printed_is_found(reader: Reader) -> None:
    (output,) = [output for _, command, _, output in reader.seen if command == "hsflow run sim"]
    exact = "simulate.initiation_interval 64 cycles lower"
    assert not unseen([exact, "verilator: done in 7.1 s"], output)
    wrong = [exact.replace("64", "63"), "all 5990 results of 599 images are nearly exact"]
    assert unseen(wrong, output) == wrong


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="bild"):
        Reader(tmp_path).follow(Block("console", "$ hsflow bild\n", "Five minutes"))


def test_the_result_of_make_run_is_what_a_simulation_prints(reader: Reader) -> None:
    (quoted,) = [
        block.text for block in blocks(README) if block.section == "Two commands" and block.language == "text"
    ]
    (output,) = [output for _, command, _, output in reader.seen if command == "hsflow run sim"]
    (built,) = [output for _, command, _, output in reader.seen if command == "hsflow build"][:1]
    assert not unseen(quoted, built + output)


def test_the_shown_verilog_is_in_the_file(reader: Reader) -> None:
    (shown,) = [block.text for block in blocks(README) if block.language == "systemverilog"]
    # The network of the first build: the section on the clock has built `build` anew since.
    tile = reader.folder / "build-api" / "rtl" / f"{PROJECT}_features_0_0__tile0.sv"
    assert not unseen(shown, tile.read_text()) and "assign y = a * b;" in unseen(
        "assign y = a * b;", tile.read_text()
    )


def test_what_python_prints_are_the_figures_of_the_command_line(reader: Reader) -> None:
    (printed,) = [output for block, _, _, output in reader.seen if block.language == "python"]
    figures = json.loads((reader.folder / "build-api" / "metrics.json").read_text())
    expected = [figures[name]["value"] for name in ("quantize.accuracy_po2", "harden.adders")]
    assert [float(word) for word in printed.split()] == expected
    assert expected[0] > 90


def test_the_new_task_was_simulated(reader: Reader) -> None:
    folder = reader.folder / "work" / "sim" / "finetune" / "odd-even"
    assert json.loads((folder / "metrics.json").read_text())["simulate.mismatches"]["value"] == 0
    assert (reader.folder / "finetuned" / "npu.hex").is_file()


def problems(text: str) -> list[str]:
    """Return what is wrong with a README without running it: commands, options, targets, hooks, stages, paths."""
    lines = [
        line for block in blocks(text) if block.language in ("sh", "console") for line, _ in block.commands()
    ]
    wrong = [f"{line}: {problem}" for line in lines if (problem := command_problem(line))]
    wrong += [f"{path}: no such path" for path in paths(text) if not (ROOT / path).exists()]
    for heading, known in TABLES.items():
        listed = table_entries(text, heading)
        wrong += [f"{heading} table: {name}" for name in sorted(listed ^ known)]
    return wrong


def command_problem(line: str) -> str | None:
    """Return why a command cannot run, or None."""
    match shlex.split(line, comments=True):
        case ["make", goal]:
            makefile = (ROOT / "Makefile").read_text()
            return None if re.search(rf"^{re.escape(goal)}:", makefile, re.M) else "no such goal"
        case ["hsflow", name, *words]:
            return hsflow_problem(name, words)
        case ["fusesoc", *words]:
            return fusesoc_problem(words)
        case ["python", "-m", module, *words]:
            return module_problem(module, words)
        case ["python", "-c", text]:
            ast.parse(text)
            return None
        case ["pip", "install", path]:
            return None if (ROOT / PROJECT / path).resolve().is_dir() else "no such package"
        case ["source", path]:
            return None if path == ".venv/bin/activate" else "no such environment"
        case ["cd" | "head", *_]:
            return None
    return "no known command"


def hsflow_problem(name: str, words: list[str]) -> str | None:
    command = typer.main.get_command(cli.app).commands.get(name)  # type: ignore[attr-defined]
    if command is None:
        return "no such command"
    try:
        command.make_context(name, list(words))
    except Exception as error:
        return str(error)
    return "no such target" if name == "run" and words[0] not in installed_targets() else None


@functools.cache
def installed_targets() -> frozenset[str]:
    words = [sys.executable, "-m", "hsflow.cli", "plugins", "--json"]
    listed = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return frozenset(target["name"] for target in listed["targets"])


def fusesoc_problem(words: list[str]) -> str | None:
    try:
        given = fusesoc.main.get_parser().parse_args(words)
    except SystemExit:
        return "fusesoc refuses it"
    known = {*TABLES["target"], "TARGET"}
    return None if given.system == "chip" or given.target in known else "no such target"


def module_problem(module: str, words: list[str]) -> str | None:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return "no such module"
    source = Path(found.origin).read_text()
    return next(
        (f"no option {word}" for word in words if word[:2] == "--" and f'"{word}"' not in source), None
    )


def paths(text: str) -> Iterator[str]:
    """Yield the paths of the repository that are named in a line or in the tree."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    yield from re.findall(r"`((?:cores|hsflow|plugins|targets|tests)/[\w./-]*|[A-Z]+(?:\.md)?)`", prose)
    (tree,) = [block.text for block in blocks(text) if block.section == "The repository"]
    yield from re.findall(r"^(\S+)", tree, re.M)


def table_entries(text: str, heading: str) -> set[str]:
    """Return the names in the first column of the table with that heading."""
    (rows,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    return {name.strip(" `") for row in rows.splitlines() for name in row.split("|")[1].split(",")}


def core_targets() -> set[str]:
    return set(yaml.safe_load((ROOT / "cores" / "hashiflex" / "hashiflex.core").read_text())["targets"])


TABLES = {
    "hook": {name for name in vars(hookspecs) if name.startswith("hsflow_")},
    "stage": set(map(str, STAGES)),
    "target": core_targets() - {"default"},
}


def test_every_command_option_path_and_name_exists() -> None:
    assert problems(README) == []
    assert len(list(paths(README))) > 8


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("make test ", "make tests "),
        ("$ hsflow emulate", "$ hsflow simulate"),
        ("--switch-after 100", "--switch-at 100"),
        ("--switch-after 100", "--switch-after many"),
        ("$ hsflow run sim", "$ hsflow run simulation"),
        ("--to quantize", "--to quantise"),
        ("--build-root work", "--build-rot work"),
        ("digits --output", "digits --out-file"),
        ("hsflow_torch.recipes.digits", "hsflow_torch.recipes.numbers"),
        ("install ../plugins/examples/hsflow_apot", "install ../plugins/examples/hsflow_pot"),
        ("`hsflow/hookspecs.py`", "`hsflow/hooks.py`"),
        ("targets/     ", "target/     "),
        ("| `hsflow_targets` |", "| `hsflow_target` |"),
        ("| `icarus` |", "| `iverilog` |"),
        ("| harden |", "| synthesize |"),
    ],
)
def test_a_wrong_readme_is_found(right: str, wrong: str) -> None:
    assert README.count(right) >= 1
    assert problems(README.replace(right, wrong))


def test_an_edit_of_flow_toml_that_fits_nowhere_is_found() -> None:
    text = '[prune]\nuse = "magnitude"\n# epochs = 12\n\n[quantize]\n# epochs = 40\n'
    assert tomllib.loads(edited(text, "[quantize]\nepochs = 3\n")) == {
        "prune": {"use": "magnitude"}, "quantize": {"epochs": 3}
    }  # fmt: skip
    with pytest.raises(AssertionError, match="shows no 'steps'"):
        edited(text, "[prune]\nsteps = 1\n")


def test_the_checkpoint_is_what_the_readme_says() -> None:
    with safe_open(ROOT / "cores" / "hashiflex" / "model" / "digits.safetensors", "np") as file:
        metadata = file.metadata()
    for figure in (
        f"seed {metadata['seed']}",
        f"{metadata['epochs']} epochs",
        f"{metadata['accuracy_percent']} %",
    ):
        assert figure in README


def test_the_environment_of_the_readme_is_the_makefile_s() -> None:
    assert re.search(r"^VENV \?= \.venv$", (ROOT / "Makefile").read_text(), re.M)
    assert 'fusesoc" run --target=sim hashiflex' in (ROOT / "Makefile").read_text()
