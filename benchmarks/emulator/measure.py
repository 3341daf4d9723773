# SPDX-License-Identifier: Apache-2.0
"""Timing of programs that map a batch of images, in turns, so that they meet the same neighbours on the machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hsflow_po2.emulator import Emulator
from numpy.typing import NDArray
from torch import Tensor, nn

from hsflow.fixedpoint import IntArray

Program = Callable[[], Any]


@dataclass(frozen=True)
class Speed:
    """Hold a program's images a second of wall time, and of processor time, each from its best round."""

    wall: float
    processor: float


def machine(device: str) -> str:
    """Return what the program runs on: the GPU's name, or the processor's."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor() or platform.machine()}, {len(names) or '?'} processors"
    )


def measure(programs: Mapping[str, Program], images: int, rounds: int, device: str) -> dict[str, Speed]:
    """Run each program once to warm up, and then all of them in turns."""
    for program in programs.values():
        program()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(_seconds(program, device))
    return {
        name: Speed(images / min(wall for wall, _ in taken), images / min(used for _, used in taken))
        for name, taken in times.items()
    }


def _seconds(program: Program, device: str) -> tuple[float, float]:
    wall, used = time.perf_counter(), time.process_time()
    program()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - used


def emulator_program(emulator: Emulator, images: NDArray[np.uint8], batch: int) -> Callable[[], IntArray]:
    """Return the emulator on all images."""
    return lambda: emulator.run(images, batch)


def float_program(model: nn.Module, images: Tensor, batch: int) -> Program:
    """Return torch's model on all images, `batch` at a time, each layer on all of torch's threads."""

    def run() -> None:
        with torch.inference_mode():
            for part in torch.split(images, batch):
                model(part)

    return run


def shared_float_program(model: nn.Module, images: Tensor, batch: int) -> Program:
    """Return torch's model on all images, which are shared among threads of one processor each, as the emulator does."""
    threads = torch.get_num_threads()
    parts = torch.split(images, min(batch, -(-len(images) // threads)))

    def one(part: Tensor) -> None:
        with torch.inference_mode():
            model(part)

    def run() -> None:
        with _single_threads(threads) as pool:
            list(pool.map(one, parts))

    return run


@contextmanager
def _single_threads(threads: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool
    torch.set_num_threads(threads)
