# SPDX-License-Identifier: Apache-2.0
"""RTL of the network: the layers with the streams, forks and FIFOs between them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hsflow.design import DesignFile, FileRole
from hsflow.ir.network import INPUT_NAME
from hsflow.templates import render
from hsflow_harden.names import comment
from hsflow_harden.structure import Structure


@dataclass
class _Wiring:
    """Collect the streams and instances of the network, in order."""

    structure: Structure
    streams: list[dict[str, object]] = field(default_factory=list)
    items: list[dict[str, object]] = field(default_factory=list)
    ends: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def stream(self, name: str, width: int) -> str:
        """Declare a stream of pixels and return its name."""
        self.streams.append({"name": name, "width": width})
        return name

    def fan_out(self, name: str, stream: str, width: int, readers: int) -> None:
        """Fork `stream` until there is one end for each reader."""
        ends = [stream]
        while len(ends) < readers:
            number, source = len(ends), ends.pop()
            first, second = (self.stream(f"{stream}__fork{number}{side}", width) for side in "ab")
            fork = {"kind": "fork", "name": f"{stream}__fork{number}", "source": source, "width": width}
            self.items.append({**fork, "first": first, "second": second})
            ends += [first, second]
        self.ends[name] = ends

    def fifo(self, source: str, depth: int, width: int, name: str) -> str:
        """Put a FIFO behind `source` if it needs one, and return the stream to read."""
        if not depth:
            return source
        stream = self.stream(name, width)
        self.items.append({"kind": "fifo", "name": name, "source": source, "depth": depth, "width": width})
        return stream


def network_module(name: str) -> str:
    """Return the name of the module that holds all hardened layers."""
    return f"{name}__network"


def emit_network(structure: Structure) -> DesignFile:
    """Return the module of all hardened layers."""
    graph = structure.graph
    wiring = _Wiring(structure)
    readers = _readers(structure)
    input_width = structure.input_block.pixels * graph.input.pixel_width
    source = wiring.stream("image", input_width)
    wiring.fan_out(INPUT_NAME, source, input_width, readers[INPUT_NAME])
    for layer in structure.layers:
        _place(wiring, layer.layer.name, readers)
    result = wiring.ends[_last(structure)][0]
    module = network_module(structure.name)
    output = graph.feature_maps[_last(structure)]
    text = render(
        "hsflow_harden",
        "network.sv.j2",
        title=f"Network {comment(graph.name)}",
        module=module,
        layers=structure.layers,
        input_shape=graph.input.shape,
        output_shape=output.shape,
        latency=structure.latency,
        interval=structure.initiation_interval,
        input_width=input_width,
        output_width=structure.output_block.pixels * output.pixel_width,
        streams=wiring.streams,
        items=wiring.items,
        source=source,
        result=result,
    )
    return DesignFile(f"rtl/{module}.sv", text, FileRole.RTL)


def _last(structure: Structure) -> str:
    return structure.layers[-1].layer.name if structure.layers else INPUT_NAME


def _readers(structure: Structure) -> dict[str, int]:
    """Return how many inputs read each stream; the network's output reads the last one."""
    readers: dict[str, int] = defaultdict(int)
    for layer in structure.layers:
        for source in layer.layer.sources:
            readers[source] += 1
    readers[_last(structure)] += 1
    return readers


def _place(wiring: _Wiring, name: str, readers: dict[str, int]) -> None:
    layer = next(layer for layer in wiring.structure.layers if layer.layer.name == name)
    sources = []
    for number, source in enumerate(layer.layer.sources):
        width = layer.source_block.pixels * layer.sources[number].pixel_width
        stream = wiring.ends[source].pop(0)
        sources.append(
            wiring.fifo(stream, layer.fifo_depths[number], width, f"{layer.identifier}__fifo{number}")
        )
    width = layer.block.pixels * layer.output.pixel_width
    output = wiring.stream(f"{layer.identifier}__out", width)
    wiring.items.append(
        {
            "kind": "layer",
            "module": layer.module,
            "instance": layer.identifier,
            "name": output,
            "sources": sources,
        }
    )
    wiring.fan_out(name, output, width, readers[name])
