# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.emulator`: images a second of the emulator and of torch's float MobileNetV2, in one run."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hsflow_po2.emulator import Emulator

from benchmarks.emulator.measure import (
    Program,
    Speed,
    emulator_program,
    float_program,
    machine,
    measure,
    shared_float_program,
)
from benchmarks.emulator.networks import RandomMobileNet, float_mobilenet
from hsflow.ir.interp import interpret

EMULATOR = "hsflow emulator"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON, and return 1 if an integer is wrong."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    network = RandomMobileNet(size=options.size, terms=options.terms).graph()
    images = np.random.default_rng(0).integers(0, 256, (options.images, 3, options.size, options.size))
    pixels = images.astype(np.uint8)
    emulator = Emulator(network, options.device)
    exact = bool(np.array_equal(emulator.run(pixels[:1]), interpret(network, pixels[:1])))
    speeds = measure(
        {EMULATOR: emulator_program(emulator, pixels, options.batch), **_float_programs(options)},
        options.images,
        options.rounds,
        options.device,
    )
    report = _report(options, exact, speeds)
    print(json.dumps(report, indent=2) if options.json else _table(report))
    return 0 if exact else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulator", description=__doc__)
    parser.add_argument("--device", default="cpu", help="torch's name of the device (default: cpu)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="processors to use")
    parser.add_argument("--batch", type=int, default=16, help="most images at once")
    parser.add_argument("--images", type=int, default=32, help="images a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the best counts")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--terms", type=int, choices=(1, 2), default=1, help="powers of two a weight")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _float_programs(options: argparse.Namespace) -> dict[str, Program]:
    """Return torch's model in both layouts; on the CPU also with its images shared among threads."""
    images = torch.rand(options.images, 3, options.size, options.size, device=options.device)
    programs: dict[str, Program] = {}
    for layout, name in (
        (torch.contiguous_format, "channels first"),
        (torch.channels_last, "channels last"),
    ):
        module: Any = float_mobilenet()  # torch's types do not know `memory_format`
        model = module.to(options.device, memory_format=layout)
        laid = images.contiguous(memory_format=layout)
        programs[f"torch float32, {name}"] = float_program(model, laid, options.batch)
        if options.device == "cpu" and options.threads > 1:
            shared = shared_float_program(model, laid, options.batch)
            programs[f"torch float32, {name}, images shared"] = shared
    return programs


def _report(options: argparse.Namespace, exact: bool, speeds: dict[str, Speed]) -> dict[str, Any]:
    others = [speed for name, speed in speeds.items() if name != EMULATOR]
    return {
        "machine": machine(options.device),
        "threads": options.threads,
        "batch": options.batch,
        "network": f"MobileNetV2-1.0, {options.size}x{options.size}, {options.terms}-term Po2 weights",
        "equals_the_interpreter": exact,
        "images_per_second": {name: round(speed.wall, 1) for name, speed in speeds.items()},
        "images_per_processor_second": {name: round(speed.processor, 1) for name, speed in speeds.items()},
        "ratio_to_the_fastest_float": round(speeds[EMULATOR].wall / max(s.wall for s in others), 2),
        "ratio_by_processor_time": round(speeds[EMULATOR].processor / max(s.processor for s in others), 2),
        "peak_mib": _peak_kib() >> 10,
    }


def _peak_kib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 10 if sys.platform == "darwin" else peak


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['network']} on {report['machine']}, {report['threads']} threads, batch {report['batch']}",
        f"{'':<44}{'images/s':>10}{'images/CPU s':>14}",
    ]
    for name, wall in report["images_per_second"].items():
        lines.append(f"{name:<44}{wall:>10,.1f}{report['images_per_processor_second'][name]:>14,.1f}")
    lines += [
        f"emulator / fastest float: {report['ratio_to_the_fastest_float']:.2f}"
        f" ({report['ratio_by_processor_time']:.2f} by processor time)",
        f"equals the interpreter: {'yes' if report['equals_the_interpreter'] else 'NO'};"
        f" peak memory {report['peak_mib']:,} MiB",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
