# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.mobilenetv2 MODEL.tflite IMAGES.zip`: accuracy of MobileNetV2 in powers of two, and its cost.

The images' labels are read to score, never to quantize. Costs are those of `hsflow plan`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hsflow_harden.plan import plan_network
from hsflow_npu.plan import plan_classifier
from hsflow_po2.phases import SCALES
from hsflow_po2.sketch import sketch_graph
from hsflow_tflite.lower import lower_file
from rich.console import Console
from rich.table import Table

from benchmarks.mobilenetv2.accuracy import RECIPES, Protocol, float_logits, float_score, score
from hsflow.area import square_millimetres
from hsflow.images import Geometry, read_image_files
from hsflow.importing.completion import without_first_class
from hsflow.ir.network import Network
from hsflow.plan import PlanRequest

INTERVALS = (50_176, 784, 250, 49)
CLASSES = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables, or one JSON object."""
    options = _options(arguments)
    network = _network(options.model)
    costs = [_cost(network, interval) for interval in INTERVALS]
    scores = [] if options.plans_only else list(_scores(network, options))
    if options.json:
        print(json.dumps({"accuracy": scores, "cost": costs}, indent=2))
        return 0
    console = Console(width=140)
    for title, rows in (("Accuracy", scores), ("Cost, estimated", costs)):
        if rows:
            console.print(_table(title, rows))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mobilenetv2", description=__doc__)
    parser.add_argument(
        "model", type=Path, help="a TFLite file of MobileNetV2, whose weights are taken as float"
    )
    parser.add_argument(
        "images", type=Path, help="a folder or zip file of labelled images, one or more a class"
    )
    parser.add_argument(
        "--recipes", nargs="+", default=[recipe.name for recipe in RECIPES], help="only these"
    )
    parser.add_argument("--scale", choices=list(SCALES), default=Protocol.scale, help="output scales (po2)")
    parser.add_argument("--seed", type=int, default=Protocol.seed, help="of all random numbers (1)")
    parser.add_argument("--both", action="store_true", help="score all images: two folds, twice the time")
    parser.add_argument("--plans-only", action="store_true", help="leave the accuracy out")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _network(path: Path) -> Network:
    network = lower_file(path, name="mobilenet_v2")
    classes = network.shapes[network.layers[-1].name].elements
    return without_first_class(network) if classes == CLASSES + 1 else network


def _scores(network: Network, options: argparse.Namespace) -> Any:
    shape = network.input_shape
    files = read_image_files(options.images, Geometry(crop=(shape.height, shape.width)))
    reference = float_logits(network, files.images)
    yield asdict(float_score(reference, files.labels))
    if not options.both:
        held_out = slice(1, None, 2)
        name = "float, images held out"
        yield asdict(replace(float_score(reference[held_out], files.labels[held_out]), name=name))
    how = Protocol(options.seed, options.scale, options.both)
    for recipe in RECIPES:
        if recipe.name in options.recipes:
            yield asdict(score(network, files, reference, recipe, how))


def _cost(network: Network, interval: int) -> dict[str, Any]:
    began = time.process_time()
    plan = plan_network(sketch_graph(network), PlanRequest(initiation_interval=interval))
    design = plan_classifier(plan.design)
    npu = design.npu
    return {
        "interval asked for": interval,
        "interval": design.initiation_interval,
        "images/s at 1 GHz": round(1e9 / design.initiation_interval),
        "adders": sum(cost.adders for cost in design.layers),
        "full-adder bits": sum(cost.full_adder_bits for cost in design.layers),
        "register bits": sum(cost.register_bits for cost in design.layers),
        "line-buffer bits": sum(cost.line_buffer_bits for cost in design.layers),
        "mm2": round(square_millimetres(plan.area.total), 2),
        "latency": design.latency,
        "NPU lanes": npu.class_lanes * npu.feature_lanes if npu else 0,
        "seconds": round(time.process_time() - began, 1),
    }


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    return table


def _text(value: Any) -> str:
    match value:
        case float():
            return f"{value:,.1f}"
        case int():
            return f"{value:,}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
