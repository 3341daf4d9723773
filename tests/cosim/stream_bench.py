# SPDX-License-Identifier: Apache-2.0
"""Put many designs with valid/ready streams into one generated testbench, and read its log.

A bench is a set of sources (words that are played into a stream), sinks (streams that are taken and logged) and
instance text between them. A stream called `x` has the signals `x_valid`, `x_ready` and `x_data`. All traffic is
decided here, by seeded patterns, so that every simulator sees the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulator import CORES, build, run

TOP = "hsflow_stream_bench"


@dataclass(frozen=True)
class Transfer:
    """One word of a stream: the cycle in which it was first shown, the cycle it was taken in, its bits."""

    shown: int
    taken: int
    word: int | None  # None: the bits were not all 0 or 1


@dataclass(frozen=True)
class Log:
    """What a simulation showed: every stream's transfers and offers, and the streams that broke the rules.

    `prints` holds the lines that designs printed with the prefix "print ".
    """

    transfers: dict[str, list[Transfer]]
    offers: dict[str, list[int]]
    violations: frozenset[str]
    prints: tuple[str, ...]
    timed_out: bool

    def words(self, stream: str) -> list[int | None]:
        """Return the words of a stream in the order of their transfers."""
        return [transfer.word for transfer in self.transfers.get(stream, [])]

    def taken(self, stream: str) -> list[int]:
        """Return the cycles of a stream's transfers."""
        return [transfer.taken for transfer in self.transfers.get(stream, [])]

    def offered(self, stream: str) -> int:
        """Return how many words a stream showed, taken or not."""
        return len(self.offers.get(stream, []))

    def shown(self, stream: str) -> list[int]:
        """Return the cycles in which a stream's words were first shown."""
        return [transfer.shown for transfer in self.transfers.get(stream, [])]


def traffic(kind: str, seed: str) -> str:
    """Return a pattern of 0 and 1 for `full`, `never`, `random` (half of the cycles) or `bursty` traffic."""
    generator = random.Random(f"{kind} {seed}")
    if kind in ("full", "never"):
        return "1" if kind == "full" else "0"
    if kind == "random":
        return "".join(generator.choice("01") for _ in range(509)) + "1"
    runs = ((generator.choice("01"), generator.choice((1, 2, 5, 12, 40))) for _ in range(60))
    return "".join(digit * length for digit, length in runs) + "1"


def random_words(width: int, count: int, seed: str) -> list[int]:
    """Return `count` reproducible words of `width` bits."""
    generator = random.Random(f"words {seed}")
    return [generator.getrandbits(width) for _ in range(count)]


def split(words: Sequence[int], width: int, count: int) -> list[list[int]]:
    """Cut each word into `count` fields of `width` bits, the lowest first."""
    return [[word >> (width * i) & ((1 << width) - 1) for i in range(count)] for word in words]


def signed(value: int, width: int) -> int:
    """Read the lowest `width` bits as two's complement."""
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


@dataclass
class Bench:
    """Collect streams and instances, then `simulate` them together."""

    declarations: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def wire(self, name: str, width: int) -> str:
        """Declare a stream inside the bench and return its name."""
        self.declarations.append(f"logic {name}_valid, {name}_ready; logic [{width - 1}:0] {name}_data;")
        return name

    def source(self, name: str, width: int, words: Sequence[int], pattern: str = "1") -> str:
        """Add a source that plays `words` in the cycles that `pattern` allows; return the stream's name."""
        self.wire(name, width)
        self.files[f"{name}.words"] = "".join(f"{word:x}\n" for word in words)
        self._add_end("source", name, width, len(words), pattern)
        return name

    def sink(self, name: str, width: int, count: int, pattern: str = "1", *, required: bool = True) -> str:
        """Add a sink that is done after `count` words; return the stream's name.

        With `required` false the simulation ends without it.
        """
        self.wire(name, width)
        self.declarations.append(f"logic {name}_done;")
        self._add_end("sink", name, width, count, pattern)
        if required:
            self.done.append(f"{name}_done")
        return name

    def instance(self, module: str, name: str, parameters: dict[str, object], ports: str) -> None:
        """Add an instance with a clock and a reset."""
        self.combinational(module, name, parameters, f".clk_i(clk), .rst_ni(rst_n), {ports}")

    def combinational(self, module: str, name: str, parameters: dict[str, object], ports: str) -> None:
        """Add an instance without clock and reset."""
        values = ", ".join(f".{key}({value})" for key, value in parameters.items())
        self.instances.append(f"{module} #({values}) u_{name} ({ports});")

    def fault(self, source: str, sink: str, width: int, kind: int, index: int = 3) -> None:
        """Join two streams by a stage that is wrong on purpose (see hsflow_tb_fault.sv)."""
        parameters: dict[str, object] = {"Width": width, "Kind": kind, "Index": index}
        self.instance("hsflow_tb_fault", f"fault_{sink}", parameters, f"{inputs(source)}, {outputs(sink)}")

    def compile(self, sources: Sequence[Path], workdir: Path, max_cycles: int = 20000) -> Path:
        """Write the testbench and its files to `workdir`, build it and return the executable."""
        workdir.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (workdir / name).write_text(content, encoding="ascii")
        top = workdir / f"{TOP}.sv"
        top.write_text(self._text(max_cycles), encoding="ascii")
        return build([*sorted((CORES / "stream" / "tb").glob("hsflow_tb_*.sv")), *sources, top], TOP, workdir)

    def simulate(self, sources: Sequence[Path], workdir: Path) -> Log:
        """Compile, run once, and return the log."""
        return read_log(run(self.compile(sources, workdir)))

    def _add_end(self, kind: str, name: str, width: int, count: int, pattern: str) -> None:
        self.files[f"{name}.allow"] = "".join(f"{digit}\n" for digit in pattern)
        done = f", .done_o({name}_done)" if kind == "sink" else ""
        ports = outputs(name) if kind == "source" else inputs(name)
        parameters = {"Name": f'"{name}"', "Width": width, "Words": count, "Pattern": len(pattern)}
        self.instance(f"hsflow_tb_{kind}", f"{kind}_{name}", parameters, f".cycle_i(cycle), {ports}{done}")

    def _text(self, max_cycles: int) -> str:
        body = "\n".join(f"  {line}" for line in [*self.declarations, *self.instances])
        text = _TEMPLATE.replace("@TOP@", TOP).replace("@BODY@", body).replace("@CYCLES@", str(max_cycles))
        return text.replace("@DONE@", " & ".join(self.done) or "1'b1")


def inputs(stream: str, suffix: str = "") -> str:
    """Return the port connections of a design's input stream."""
    return (
        f".valid{suffix}_i({stream}_valid), .ready{suffix}_o({stream}_ready), .data{suffix}_i({stream}_data)"
    )


def outputs(stream: str, suffix: str = "") -> str:
    """Return the port connections of a design's output stream."""
    return (
        f".valid{suffix}_o({stream}_valid), .ready{suffix}_i({stream}_ready), .data{suffix}_o({stream}_data)"
    )


def read_log(text: str) -> Log:
    """Parse what a bench printed; only what follows the last reset counts."""
    lines = text.rsplit("\nreset\n", 1)[-1].splitlines()
    transfers: dict[str, list[Transfer]] = {}
    offers: dict[str, list[int]] = {}
    for kind, *rest in (line.split() for line in lines if line.strip()):
        if kind in ("source", "sink"):
            name, shown, taken, word = rest
            known = not set(word.lower()) & set("xz")
            entry = Transfer(int(shown), int(taken), int(word, 16) if known else None)
            transfers.setdefault(name, []).append(entry)
        elif kind == "offer":
            offers.setdefault(rest[0], []).append(int(rest[1]))
    violations = frozenset(line.split()[1] for line in lines if line.startswith("violation"))
    prints = tuple(line[6:] for line in lines if line.startswith("print "))
    return Log(transfers, offers, violations, prints, any(line.startswith("timeout") for line in lines))


_TEMPLATE = """\
// SPDX-License-Identifier: Apache-2.0
module @TOP@;
  logic clk = 1'b0;
  logic rst_n = 1'b0;
  int cycle = 0;
  int quiet = 0;
  int reset_at = 0;
  logic all_done;

  initial if (!$value$plusargs("reset_at=%d", reset_at)) reset_at = 0;
  always #5 clk = ~clk;

  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst_n <= (cycle >= 4) && (reset_at == 0 || cycle != reset_at);
    if (!rst_n) $display("reset");
    quiet <= (all_done && cycle > reset_at + 4) ? quiet + 1 : 0;
    if (cycle == @CYCLES@) $display("timeout");
    if (cycle == @CYCLES@ || quiet == 40) $finish;
  end

  assign all_done = rst_n & @DONE@;

@BODY@
endmodule
"""
