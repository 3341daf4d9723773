# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.asap7 MODEL.tflite IMAGES.zip`: what MobileNetV2 costs on ASAP7, layer by layer and as a whole.

Layers are synthesized, proved, timed and simulated at gate level on a real feature map, each for a pixel a cycle. The whole
is estimated: its area as `hsflow plan` does, its power as that of so much area of the measured layers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hsflow_asap7.platform import find_platform
from rich.console import Console
from rich.table import Table

from benchmarks.asap7.layers import LAYERS, harden, quantize
from benchmarks.asap7.measure import Bench, LayerFigures
from benchmarks.asap7.whole import REFERENCE, whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables, or one JSON object."""
    options = _options(arguments)
    network = quantize(options.model, options.images)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        bench = Bench(find_platform(options.platform), options.clock_mhz, folder.resolve())
        layers = list(_measured(bench, options, network))
    rows = [asdict(row) for row in (*whole(network.graph, layers, options.clock_mhz), *REFERENCE)]
    if options.json:
        print(json.dumps({"layers": [asdict(layer) for layer in layers], "whole": rows}, indent=2))
        return 0
    console = Console(width=200)
    console.print(_table("Layers, a pixel a cycle", [_row(layer) for layer in layers]))
    console.print(_table("MobileNetV2, estimated, and what the reference states", rows))
    return 0


def _measured(bench: Bench, options: argparse.Namespace, network: Any) -> Iterator[LayerFigures]:
    for name in options.layers:
        layer = harden(network, name, options.clock_mhz, bench.folder / "rtl" / name.replace("/", "_"))
        figures = bench.measure(layer, not options.no_abc)
        print(f"{name}: {figures.area_um2:,.0f} um2, slack {figures.slack_ps:.1f} ps", file=sys.stderr, flush=True)  # fmt: skip
        yield figures


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asap7", description=__doc__)
    parser.add_argument(
        "model", type=Path, help="a TFLite file of MobileNetV2, whose weights are taken as float"
    )
    parser.add_argument("images", type=Path, help="a folder or zip file of images")
    parser.add_argument("--platform", type=Path, help="ASAP7's folder; else HSFLOW_ASAP7 names it")
    parser.add_argument("--clock-mhz", type=float, default=1000.0)
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), help="parts of layers' names")
    parser.add_argument("--no-abc", action="store_true", help="leave the comparison with ABC alone out")
    parser.add_argument(
        "--folder", type=Path, help="keep netlists, logs, scripts and figures here, for a later run to go on"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _row(layer: LayerFigures) -> dict[str, Any]:
    return {**asdict(layer), "over_abc": layer.over_abc}


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    return table


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.0f}"
        case int():
            return f"{value:,}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
