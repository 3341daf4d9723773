# SPDX-License-Identifier: Apache-2.0
"""Synthesis and proof by parts: each generated module by itself, several at once.

A part is a generated module with the library's modules that it uses; other generated modules are left out of it. What became
of a part is kept under a digest of all that it depends on, so that an unchanged tile is not synthesized twice. Drive
strengths are chosen last, when the whole is together again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from hsflow import __version__
from hsflow.artifact import Manifest, canonical_json, digest, file_digest
from hsflow.cachekey import module_digest
from hsflow.errors import ConfigurationError, MismatchError
from hsflow.executor import Executor, SerialExecutor
from hsflow.launch import resolve
from hsflow.process import output_of
from hsflow.store import Store
from hsflow_asap7.netlist import Netlist, read_netlist, write_json
from hsflow_asap7.platform import Corner, Platform, mapping_liberty
from hsflow_asap7.proof import Proof, prove
from hsflow_asap7.synthesis import (
    LIBERTY,
    NETLIST_JSON,
    Paths,
    Synthesis,
    SynthesisOptions,
    finish,
    map_to_cells,
)

_MODULE = re.compile(r"^\s*module\s+(\w+)", re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"\w+")
_LIBRARY_PREFIX = "hsflow_"
_STAGE = "asap7.part"


@dataclass(frozen=True)
class Part:
    """Hold a generated module's source with the library's that it uses, and the sources of its generated children."""

    module: str
    sources: tuple[Path, ...]
    children: tuple[Path, ...]


def parts_of(sources: Sequence[Path], top: str) -> tuple[Part, ...]:
    """Return the generated modules at and below `top`, the deepest first.

    Raises:
        ConfigurationError: if no source has the module `top`.
    """
    found = dict(_modules(sources))
    if top not in found:
        raise ConfigurationError("no source has the top module", got=top, expected=", ".join(sorted(found)))
    order: list[str] = []
    _visit(top, found, order)
    return tuple(_part(name, found, top) for name in order if _is_generated(name, top))


def _modules(sources: Sequence[Path]) -> Iterator[tuple[str, tuple[Path, frozenset[str]]]]:
    """Yield each module with its file and the words of that file, comments left out."""
    for path in sources:
        text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
        words = frozenset(_WORD.findall(text))
        for name in _MODULE.findall(text):
            yield name, (path, words - {name})


def _visit(name: str, found: Mapping[str, tuple[Path, frozenset[str]]], order: list[str]) -> None:
    for child in sorted(found[name][1] & found.keys()):
        if child not in order:
            _visit(child, found, order)
    if name not in order:
        order.append(name)


def _is_generated(name: str, top: str) -> bool:
    return name == top or not name.startswith(_LIBRARY_PREFIX)


def _part(name: str, found: Mapping[str, tuple[Path, frozenset[str]]], top: str) -> Part:
    """Return a module with the library below it; whatever generated module that instantiates is left out."""
    library, children, waiting = {name}, set(), [name]
    while waiting:
        for child in sorted(found[waiting.pop()][1] & found.keys()):
            if _is_generated(child, top):
                children.add(child)
            elif child not in library:
                library.add(child)
                waiting.append(child)
    files = {found[module][0] for module in library}
    return Part(name, tuple(sorted(files)), tuple(sorted({found[child][0] for child in children} - files)))


@dataclass(frozen=True)
class _Job:
    """Hold all that a worker needs to make a part, or to find it in the store."""

    part: Part
    options: SynthesisOptions
    platform: Platform
    liberty: Path
    folder: Path
    store: Path
    key: str
    parameters: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class PartResult:
    """Hold a part's netlist and what it took: wall seconds and peak MiB of Yosys, both 0 if it was in the store."""

    module: str
    netlist: Path
    seconds: float
    peak_mib: float


def synthesize_parts(
    sources: Sequence[Path],
    top: str,
    options: SynthesisOptions,
    platform: Platform,
    folder: Path,
    *,
    store: Path,
    executor: Executor | None = None,
    parameters: Mapping[str, int] | None = None,
) -> Synthesis:
    """Synthesize `top` as `synthesize` does, by parts; `store` keeps them.

    Raises:
        ToolError: if Yosys is missing or fails.
    """
    started = time.monotonic()
    results = list(synthesize_each(sources, top, options, platform, folder, store, executor, parameters))
    modules = {
        name: module for result in results for name, module in read_netlist(result.netlist).modules.items()
    }
    peak_mib = max(result.peak_mib for result in results)
    return finish(Netlist(top, modules), platform, folder, started, peak_mib)


def synthesize_each(
    sources: Sequence[Path],
    top: str,
    options: SynthesisOptions,
    platform: Platform,
    folder: Path,
    store: Path,
    executor: Executor | None = None,
    parameters: Mapping[str, int] | None = None,
) -> Iterator[PartResult]:
    """Yield each part at and below `top`, the deepest first; see `synthesize_parts`."""
    Store(store)
    liberty = mapping_liberty(platform, Corner.TT, folder / LIBERTY)
    tool = output_of([*resolve("yosys").argv, "-V"]).strip()
    jobs = []
    for part in parts_of(sources, top):
        own = tuple(sorted((parameters or {}).items())) if part.module == top else ()
        key = _key(part, options, liberty, tool, own)
        work = folder / "parts" / part.module
        jobs.append(_Job(part, replace(options, flatten=False), platform, liberty, work, store, key, own))
    yield from (executor or SerialExecutor()).map(_make, jobs)


def _key(
    part: Part, options: SynthesisOptions, liberty: Path, tool: str, parameters: tuple[tuple[str, int], ...]
) -> str:
    """Return a digest of all that a part's netlist depends on; the library's file states its content in its name."""
    code = [__version__, *(module_digest(name) for name in ("hsflow_asap7", "hsflow_targets"))]
    contents = [[file_digest(path) for path in paths] for paths in (part.sources, part.children)]
    return digest(
        canonical_json([_STAGE, part.module, asdict(options), liberty.name, tool, parameters, code, contents])
    )


def _make(job: _Job) -> PartResult:
    """Make a part unless the store has it."""
    store = Store(job.store)
    with store.lock(job.key):
        if entry := store.get(job.key):
            return PartResult(job.part.module, entry.folder / NETLIST_JSON, 0.0, 0.0)
        started = time.monotonic()
        paths = Paths(job.folder, job.liberty, job.part.sources, job.part.children)
        netlist, peak = map_to_cells(job.part.module, job.options, paths, job.platform, dict(job.parameters))
        made = job.folder / NETLIST_JSON
        write_json(netlist, made)
        seconds = time.monotonic() - started
        manifest = Manifest(key=job.key, stage=_STAGE, wall_seconds=seconds)
        entry = store.put(manifest, {NETLIST_JSON: made.read_bytes()})
        made.unlink()
        return PartResult(job.part.module, entry.folder / NETLIST_JSON, seconds, peak)


@dataclass(frozen=True)
class _ProofJob:
    """Hold all that a worker needs to prove a part of a netlist in a JSON file."""

    part: Part
    netlist: Path
    platform: Platform
    folder: Path
    parameters: tuple[tuple[str, int], ...]


def prove_parts(
    sources: Sequence[Path],
    netlist: Path,
    platform: Platform,
    folder: Path,
    *,
    executor: Executor | None = None,
    parameters: Mapping[str, int] | None = None,
) -> Proof:
    """Prove each generated module of a netlist in a JSON file, which keeps them, as `prove` does.

    Raises:
        MismatchError: if netlist and RTL differ.
        ToolError: if Yosys or ABC is missing or fails, or gives up.
    """
    started = time.monotonic()
    top = _read(netlist).top
    parts = parts_of(sources, top)
    if different := {part.module for part in parts} ^ _read(netlist).modules.keys():
        raise MismatchError("RTL and netlist have other modules", where=top, got=", ".join(sorted(different)))
    own = tuple(sorted((parameters or {}).items()))
    jobs = (
        _ProofJob(part, netlist, platform, folder / part.module, own if part.module == top else ())
        for part in parts
    )
    proofs = list((executor or SerialExecutor()).map(_prove, jobs))
    registers, outputs = (
        sum(counts) for counts in zip(*((p.registers, p.outputs) for p in proofs), strict=True)
    )
    return Proof(len(proofs), registers, outputs, time.monotonic() - started)


def _prove(job: _ProofJob) -> Proof:
    whole = _read(job.netlist)
    name = job.part.module
    part = Netlist(name, {name: whole.modules[name]}, {**whole.modules, **whole.blackboxes})
    return prove(
        job.part.sources, part, job.platform, job.folder, dict(job.parameters), blackboxes=job.part.children
    )


@lru_cache(maxsize=1)
def _read(path: Path) -> Netlist:
    """Return a netlist that every job of a process reads."""
    return read_netlist(path)
