# SPDX-License-Identifier: Apache-2.0
"""The modules at the chip's edge: frame guard, frame filter and AXI4-Lite slave, all in one testbench."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from simulator import CORES, run
from stream_bench import Bench, Log, inputs, outputs, random_words, read_log, traffic

SOURCES = sorted((CORES / "stream" / "rtl").glob("*.sv"))
SOURCES += [CORES / "axil/rtl/hsflow_axil_slave.sv", CORES / "axil/tb/hsflow_tb_registers.sv"]
MODES = {
    "full": ("full",) * 3,
    "random": ("random",) * 3,
    "bursty": ("bursty", "random", "bursty"),
    "slow": ("full", "full", "bursty"),
}
WIDTH = 8
PIXELS = (1, 2, 5, 16)
Packet = list[int]

# Frame guard.


def packets_for(pixels: int, seed: str) -> list[Packet]:
    """Return packets of which about half have the right length, in every order of good and bad."""
    generator = random.Random(f"packets {seed}")
    lengths = [
        pixels,
        1,
        pixels,
        2 * pixels,
        pixels,
        pixels,
        pixels + 1,
        pixels + 3,
        max(1, pixels - 1),
        pixels,
    ]
    lengths += [generator.choice((pixels, pixels, generator.randint(1, 3 * pixels))) for _ in range(30)]
    return [random_words(WIDTH, length, f"{seed} {i}") for i, length in enumerate(lengths)]


def beats(packets: Sequence[Packet]) -> list[int]:
    """Return the words of packets with `last` in the bit above the data."""
    return [word | (i == len(packet) - 1) << WIDTH for packet in packets for i, word in enumerate(packet)]


def guarded(packets: Sequence[Packet], pixels: int) -> list[int]:
    """Cut or zero-fill every packet to `pixels` words."""
    return [word for packet in packets for word in (packet + [0] * pixels)[:pixels]]


def verdicts(packets: Sequence[Packet], pixels: int) -> list[int]:
    return [int(len(packet) != pixels) for packet in packets]


def add_guard(
    bench: Bench, pixels: int, name: str, kinds: Sequence[str], guard_pixels: int | None = None
) -> None:
    packets = packets_for(pixels, f"guard_{pixels}")
    source = bench.source(f"{name}_in", WIDTH + 1, beats(packets), traffic(kinds[0], f"{name} in"))
    waits = guard_pixels is None
    sink = bench.sink(
        f"{name}_out", WIDTH, len(packets) * pixels, traffic(kinds[1], f"{name} out"), required=waits
    )
    verdict = bench.sink(
        f"{name}_verdict", 1, len(packets), traffic(kinds[2], f"{name} verdict"), required=waits
    )
    bench.declarations.append(f"logic {name}_error;")
    bench.declarations.append(
        f'always @(posedge clk) if (rst_n && {name}_error) $display("print error {name}");'
    )
    ports = f".valid_i({source}_valid), .ready_o({source}_ready), .data_i({source}_data[{WIDTH - 1}:0]), "
    ports += f".last_i({source}_data[{WIDTH}]), {outputs(sink)}, .verdict_valid_o({verdict}_valid), "
    ports += f".verdict_ready_i({verdict}_ready), .verdict_drop_o({verdict}_data), .error_o({name}_error)"
    bench.instance("hsflow_frame_guard", name, {"Width": WIDTH, "Pixels": guard_pixels or pixels}, ports)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixels", PIXELS)
def test_guard_makes_whole_images(log: Log, pixels: int, mode: str) -> None:
    packets, name = packets_for(pixels, f"guard_{pixels}"), f"guard_{pixels}_{mode}"
    assert log.words(f"{name}_out") == guarded(packets, pixels)
    assert log.words(f"{name}_verdict") == verdicts(packets, pixels)
    assert not log.violations & {f"{name}_out", f"{name}_verdict"}


@pytest.mark.parametrize("pixels", PIXELS)
def test_guard_has_latency_zero_and_reports_each_bad_packet_once(log: Log, pixels: int) -> None:
    packets, name = packets_for(pixels, f"guard_{pixels}"), f"guard_{pixels}_full"
    taken = log.taken(f"{name}_in")
    assert log.taken(f"{name}_out")[:pixels] == taken[:pixels] == list(range(taken[0], taken[0] + pixels))
    assert taken[-1] - taken[0] + 1 == len(beats(packets)) + sum(
        pixels - min(pixels, len(p)) for p in packets
    )
    errors = Counter(line for line in log.prints if line.startswith("error"))
    assert errors[f"error {name}"] == sum(verdicts(packets, pixels)) > 0


def test_guard_shows_without_ready(log: Log) -> None:
    assert log.offered("guard_never_out") == 1
    assert log.taken("guard_never_in") == []


def test_twin_a_guard_for_other_images_is_caught(log: Log) -> None:
    packets = packets_for(5, "guard_5")
    assert log.words("guard_fault_out") != guarded(packets, 5)
    assert log.words("guard_fault_verdict") != verdicts(packets, 5)


# Frame filter.


def filter_traffic() -> tuple[list[Packet], list[int]]:
    generator = random.Random(11)
    packets = [random_words(WIDTH, generator.randint(1, 6), f"filter {i}") for i in range(60)]
    return packets, [int(generator.random() < 0.4) for _ in packets]


def add_filter(bench: Bench, name: str, kinds: Sequence[str], drops: Sequence[int]) -> None:
    packets, expected = filter_traffic()
    kept = beats([packet for packet, drop in zip(packets, expected, strict=True) if not drop])
    source = bench.source(f"{name}_in", WIDTH + 1, beats(packets), traffic(kinds[0], f"{name} in"))
    verdict = bench.source(f"{name}_verdict", 1, drops, traffic(kinds[2], f"{name} verdict"))
    pattern = traffic(kinds[1], f"{name} out")
    required = name in {f"filter_{mode}" for mode in MODES}
    sink = bench.sink(f"{name}_out", WIDTH + 1, len(kept), pattern, required=required)
    ports = f".valid_i({source}_valid), .ready_o({source}_ready), .data_i({source}_data[{WIDTH - 1}:0]), "
    ports += f".last_i({source}_data[{WIDTH}]), {inputs(verdict).replace('.', '.verdict_').replace('data', 'drop', 1)}, "
    ports += f".valid_o({sink}_valid), .ready_i({sink}_ready), .data_o({sink}_data[{WIDTH - 1}:0]), "
    bench.combinational(
        "hsflow_frame_filter", name, {"Width": WIDTH}, f"{ports}.last_o({sink}_data[{WIDTH}])"
    )


def kept_beats() -> list[int]:
    packets, drops = filter_traffic()
    return beats([packet for packet, drop in zip(packets, drops, strict=True) if not drop])


@pytest.mark.parametrize("mode", MODES)
def test_filter_keeps_the_good_packets(log: Log, mode: str) -> None:
    assert log.words(f"filter_{mode}_out") == kept_beats()
    assert f"filter_{mode}_out" not in log.violations


def test_filter_has_latency_zero_and_takes_each_verdict_with_the_last_beat(log: Log) -> None:
    taken = log.transfers["filter_full_in"]
    assert [transfer.taken for transfer in taken] == list(range(taken[0].taken, taken[0].taken + len(taken)))
    lasts = [transfer.taken for transfer in taken if (transfer.word or 0) >> WIDTH]
    assert log.taken("filter_full_verdict") == lasts
    assert set(log.taken("filter_full_out")) <= {transfer.taken for transfer in taken}


def test_filter_waits_for_its_verdict_and_shows_without_ready(log: Log) -> None:
    assert log.offered("filter_mute_out") == 0
    assert log.offered("filter_never_out") == 1


def test_twin_inverted_verdicts_are_caught(log: Log) -> None:
    assert log.words("filter_fault_out") != kept_beats()


# AXI4-Lite slave.

ADDRESS = 8
ACCESSES = 60


def addresses(name: str) -> list[int]:
    return [address & ~3 for address in random_words(ADDRESS, ACCESSES, name)]


def response(address: int) -> int:
    """Return OKAY, or SLVERR in the upper half of the addresses (see hsflow_tb_registers.sv)."""
    return 2 if address >> (ADDRESS - 1) else 0


def axi_ports(name: str, channel: str, payload: str, *, to_slave: bool) -> str:
    """Return the connections of one AXI channel, whose payload port is already written out."""
    stream = f"{name}_{channel}"
    come, go = ("i", "o") if to_slave else ("o", "i")
    return f".{channel}valid_{come}({stream}_valid), .{channel}ready_{go}({stream}_ready), {payload}"


def add_slave(
    bench: Bench, name: str, kinds: Sequence[str], *, writes: bool, reads: bool, fault: bool = False
) -> None:
    """Add a slave with registers; a direction that is not wanted gets no accesses."""
    bench.source(
        f"{name}_aw", ADDRESS, addresses(f"{name}_aw"), traffic(kinds[0] if writes else "never", f"{name} aw")
    )
    w = bench.source(f"{name}_w", 36, random_words(36, ACCESSES, f"{name}_w"), traffic(kinds[1], f"{name} w"))
    if fault:
        w = bench.wire(f"{name}_wrong", 36)
        bench.fault(f"{name}_w", w, 36, 1)
    bench.source(
        f"{name}_ar", ADDRESS, addresses(f"{name}_ar"), traffic(kinds[2] if reads else "never", f"{name} ar")
    )
    bench.sink(f"{name}_b", 2, ACCESSES, traffic(kinds[1], f"{name} b"), required=writes)
    bench.sink(f"{name}_r", 34, ACCESSES, traffic(kinds[0], f"{name} r"), required=reads)
    address, registers = f"[{ADDRESS - 1}:0]", ""
    for signal, span in _REGISTER_BUS.items():
        bench.declarations.append(f"logic {span.replace('A', address)} {name}_{signal};")
        slave_drives = signal in _SLAVE_DRIVES
        registers += f", .{signal}_{'i' if slave_drives else 'o'}({name}_{signal})"
    bus = ", ".join(f".{s}_{'o' if s in _SLAVE_DRIVES else 'i'}({name}_{s})" for s in _REGISTER_BUS)
    channels = [
        axi_ports(name, "aw", f".awaddr_i({name}_aw_data)", to_slave=True),
        f".wvalid_i({w}_valid), .wready_o({w}_ready), .wdata_i({w}_data[31:0]), .wstrb_i({w}_data[35:32])",
        axi_ports(name, "b", f".bresp_o({name}_b_data)", to_slave=False),
        axi_ports(name, "ar", f".araddr_i({name}_ar_data)", to_slave=True),
        axi_ports(
            name, "r", f".rdata_o({name}_r_data[31:0]), .rresp_o({name}_r_data[33:32])", to_slave=False
        ),
    ]
    bench.instance("hsflow_axil_slave", name, {"AddressWidth": ADDRESS}, ", ".join([*channels, bus]))
    label = {"AddressWidth": ADDRESS, "Name": f'"{name}"'}
    bench.instance("hsflow_tb_registers", f"{name}_registers", label, registers.removeprefix(", "))


_SLAVE_DRIVES = ("write", "write_address", "write_data", "write_strobe", "read", "read_address")
_REGISTER_BUS = {
    "write": "",
    "write_ready": "",
    "write_address": "A",
    "write_data": "[31:0]",
    "write_strobe": "[3:0]",
}
_REGISTER_BUS |= {"read": "", "read_address": "A", "read_valid": "", "read_data": "[31:0]", "error": ""}
AXI_MODES = {
    "full": ("full",) * 3,
    "random": ("random",) * 3,
    "late_data": ("full", "bursty", "random"),
    "late_address": ("bursty", "full", "full"),
}


def written(name: str) -> list[str]:
    """Return what the registers must log of the writes of a slave, in order."""
    words = random_words(36, ACCESSES, f"{name}_w")
    pairs = zip(addresses(f"{name}_aw"), words, strict=True)
    return [f"write {name} {address:02x} {word & 0xFFFFFFFF:08x} {word >> 32:x}" for address, word in pairs]


def answers(name: str) -> list[int]:
    """Return the read responses of registers that nobody wrote."""
    return [(~a & 0xFFFF) << 16 | a | response(a) << 32 for a in addresses(f"{name}_ar")]


def accesses(log: Log, kind: str, name: str) -> list[str]:
    return [line for line in log.prints if line.startswith(f"{kind} {name} ")]


@pytest.mark.parametrize("mode", AXI_MODES)
def test_slave_writes_in_order(log: Log, mode: str) -> None:
    name = f"writes_{mode}"
    assert accesses(log, "write", name) == written(name)
    assert log.words(f"{name}_b") == [response(address) for address in addresses(f"{name}_aw")]
    assert f"{name}_b" not in log.violations


@pytest.mark.parametrize("mode", AXI_MODES)
def test_slave_reads_once_and_in_order(log: Log, mode: str) -> None:
    name = f"reads_{mode}"
    assert accesses(log, "read", name) == [
        f"read {name} {address:02x}" for address in addresses(f"{name}_ar")
    ]
    assert log.words(f"{name}_r") == answers(name)
    assert f"{name}_r" not in log.violations


def test_slave_serves_reads_and_writes_together(log: Log) -> None:
    assert accesses(log, "write", "both") == written("both")
    assert len(accesses(log, "read", "both")) == ACCESSES
    assert [(word or 0) >> 32 for word in log.words("both_r")] == [response(a) for a in addresses("both_ar")]
    order = [line.split()[0] for line in log.prints if line.split()[1] == "both"][: ACCESSES // 2]
    assert 10 <= order.count("read") <= 20, "the two directions take turns"


def test_twin_a_flipped_write_is_caught(log: Log) -> None:
    assert accesses(log, "write", "axil_fault") != written("axil_fault")
    assert len(accesses(log, "write", "axil_fault")) == ACCESSES


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bench = Bench()
    for mode, kinds in MODES.items():
        for pixels in PIXELS:
            add_guard(bench, pixels, f"guard_{pixels}_{mode}", kinds)
        add_filter(bench, f"filter_{mode}", kinds, filter_traffic()[1])
    add_guard(bench, 5, "guard_fault", MODES["full"], 6)
    add_guard(bench, 5, "guard_never", ("full", "never", "full"), 5)
    add_filter(bench, "filter_fault", MODES["full"], [1 - drop for drop in filter_traffic()[1]])
    add_filter(bench, "filter_never", ("full", "never", "full"), [0] * 60)
    add_filter(bench, "filter_mute", ("full", "full", "never"), [0] * 60)
    for mode, kinds in AXI_MODES.items():
        add_slave(bench, f"writes_{mode}", kinds, writes=True, reads=False)
        add_slave(bench, f"reads_{mode}", kinds, writes=False, reads=True)
    add_slave(bench, "both", AXI_MODES["full"], writes=True, reads=True)
    add_slave(bench, "axil_fault", AXI_MODES["full"], writes=True, reads=False, fault=True)
    return bench.compile(SOURCES, tmp_path_factory.mktemp("edge"))


@pytest.fixture(scope="module")
def log(executable: Path) -> Log:
    result = read_log(run(executable))
    assert not result.timed_out
    return result


def test_guard_and_slave_survive_a_reset_at_any_moment(executable: Path) -> None:
    for reset_at in (13, 40, 77):
        log = read_log(run(executable, [f"+reset_at={reset_at}"]))
        for pixels in PIXELS:
            packets = packets_for(pixels, f"guard_{pixels}")
            assert log.words(f"guard_{pixels}_random_out") == guarded(packets, pixels)
        assert log.words("reads_random_r") == answers("reads_random")
        assert accesses(log, "write", "writes_random") == written("writes_random")
