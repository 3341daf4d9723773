# SPDX-License-Identifier: Apache-2.0
"""Cells and phases: each choice of a cell computes its function, and the search finds the fewest inverters."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product

import pytest
from hsflow_asap7 import facts
from hsflow_asap7.choices import AND, MAJORITY, XOR, Chooser, Kind
from hsflow_asap7.functions import as_verilog, truth_table
from hsflow_asap7.library import LibraryCell, read_cells
from hsflow_asap7.logic import Reader
from hsflow_asap7.netlist import Bit, Cell, Module, Port
from hsflow_asap7.platform import Platform
from hsflow_asap7.polarity import mapped
from mini_platform import mini_platform, real_platform

from hsflow.errors import ConfigurationError, ModelError


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return mini_platform(tmp_path_factory.mktemp("asap7"))


@pytest.fixture(scope="module")
def reader(platform: Platform) -> Reader:
    return Reader(Chooser(platform), read_cells(platform), {})


# ---- Functions


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("A", 0b10101010),
        ("!A", 0b01010101),
        ("A'", 0b01010101),
        ("A * B", 0b10001000),
        ("A B", 0b10001000),
        ("A & B | C", 0b11111000),
        ("A ^ B ^ C", 0b10010110),
        ("(!A * !B) + (!A * !CI) + (!B * !CI)", 0b00010111),
        ("!(A + B)", 0b00010001),
        ("1", 0b11111111),
    ],
)
def test_functions_are_read(text: str, table: int) -> None:
    names = ("A", "B", "CI") if "CI" in text else ("A", "B", "C")
    assert truth_table(text, names) == table


@pytest.mark.parametrize("text", ["", "A +", "(A", "A)", "D", "A ? B", "!"])
def test_what_is_no_function_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="function cannot be read"):
        truth_table(text, ("A", "B", "C"))


def test_functions_become_verilog() -> None:
    assert as_verilog("(!A * B) + 1") == "(~A & B) | 1'b1"
    with pytest.raises(ConfigurationError, match="postfix"):
        as_verilog("A'")


# ---- Choices


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("name", ["full_adder", "sum", "half_adder", "and", "xor", "majority", "or_and"])
def test_every_choice_computes_its_function(platform: Platform, real: bool, name: str) -> None:
    chosen = real_platform() if real else platform
    chooser, cells = Chooser(chosen), read_cells(chosen)
    kinds: Mapping[str, tuple[Kind, tuple[int, ...]]] = {
        "full_adder": (chooser.full_adder, (MAJORITY, 0b10010110)),
        "sum": (chooser.sum, (0b10010110,)),
        "half_adder": (chooser.half_adder, (AND, XOR)),
        "and": (chooser.gate(AND, 2), (AND,)),
        "xor": (chooser.gate(XOR, 2), (XOR,)),
        "majority": (chooser.gate(MAJORITY, 3), (MAJORITY,)),
        "or_and": (chooser.gate(0b11111000, 3), (0b11111000,)),
    }
    kind, tables = kinds[name]
    assert kind.choices
    for choice in kind.choices:
        for row in range(1 << kind.inputs):
            logical = [row >> index & 1 for index in range(kind.inputs)]
            given = {
                pin: bit ^ (choice.phases >> index & 1)
                for index, (pin, bit) in enumerate(zip(choice.pins, logical, strict=False))
            }
            for number, table in enumerate(tables):
                pin = choice.pins[kind.inputs + number]
                expected = (table >> row & 1) ^ (choice.phases >> (kind.inputs + number) & 1)
                assert evaluated(cells[choice.cell], pin, given) == expected


def evaluated(cell: LibraryCell, pin: str, given: Mapping[str, int]) -> int:
    names = tuple(cell.inputs)
    row = sum(given[name] << index for index, name in enumerate(names))
    return truth_table(cell.functions[pin], names) >> row & 1


def test_without_adders_no_cell_is_taken_that_abc_would_not_take(platform: Platform) -> None:
    cells = read_cells(platform)
    for table, inputs in ((XOR, 2), (MAJORITY, 3)):
        plain, beside = (Chooser(platform, adders).gate(table, inputs) for adders in (False, True))
        assert all(cells[choice.cell].may_be_chosen for choice in plain.choices)
        assert not all(cells[choice.cell].may_be_chosen for choice in beside.choices)


# ---- Phases


def chain(width: int, registered: bool) -> Module:
    """Return a ripple adder between ports, its sums registered or not."""
    a, b = tuple(range(2, 2 + width)), tuple(range(2 + width, 2 + 2 * width))
    sums, kept = (tuple(range(base, base + width)) for base in (1000, 2000))
    cells: dict[str, Cell] = {}
    for bit in range(width):
        pins: dict[str, tuple[Bit, ...]] = {
            "A": (a[bit],), "B": (b[bit],), "CI": (1 if bit == 0 else 3000 + bit,),
            "CO": (3001 + bit,), "S": (sums[bit],),
        }  # fmt: skip
        cells[f"fa{bit}"] = Cell("hsflow_full_adder", pins)
        if registered:
            cells[f"r{bit}"] = Cell("$_DFF_P_", {"C": (5000,), "D": (sums[bit],), "Q": (kept[bit],)})
    ports = {
        "clk_i": Port("input", (5000,)),
        "carry_i": Port("input", (1,)),
        "a_i": Port("input", a),
        "b_i": Port("input", b),
        "sum_o": Port("output", (*(kept if registered else sums), 3000 + width)),
    }
    return Module("chain", ports, cells)


def count(module: Module, cell: str) -> int:
    return sum(own.type == cell for own in module.cells.values())


def test_a_net_has_one_inverter_at_most(reader: Reader) -> None:
    module = mapped(chain(12, registered=True), reader)
    sources = [cell.pins["A"][0] for cell in module.cells.values() if cell.type == facts.INVERTER]
    assert len(sources) == len(set(sources))
    assert count(module, facts.FULL_ADDER) == count(module, facts.REGISTER) == 12


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 6])
def test_the_search_finds_the_fewest_inverters(reader: Reader, width: int, registered: bool) -> None:
    module = chain(width, registered)
    assert count(mapped(module, reader), facts.INVERTER) == fewest(width, registered)


def fewest(width: int, registered: bool) -> int:
    """Return the fewest inverters of `chain`, by trying every phase of every adder (and register)."""
    return min(
        sum(_inverters(adders, registers))
        for adders in product((0, 1), repeat=width)
        for registers in product((0, 1), repeat=width if registered else 0)
    )


def _inverters(adders: tuple[int, ...], registers: tuple[int, ...]) -> Iterator[int]:
    """Yield whether each net needs an inverter; an adder or register of phase p reads p and gives the opposite."""
    yield from (2 * phase for phase in adders)
    yield adders[0]
    for bit, phase in enumerate(adders):
        after = adders[bit + 1] if bit + 1 < len(adders) else 0
        yield (1 - phase) != after
        if not registers:
            yield phase == 0
    for phase, register in zip(adders, registers, strict=False):
        yield (1 - phase) != register
        yield register == 0


def test_more_sweeps_never_cost_inverters_on_the_whole(reader: Reader) -> None:
    short, long = (count(mapped(chain(40, True), reader, sweeps), facts.INVERTER) for sweeps in (0, 1000))
    assert long <= short


def test_the_search_is_the_same_every_time(reader: Reader) -> None:
    assert mapped(chain(20, True), reader) == mapped(chain(20, True), reader)


# ---- Logic


def gate(type_: str, **pins: Bit) -> Cell:
    return Cell(type_, {pin: (bit,) for pin, bit in pins.items()})


def module_of(cells: Mapping[str, Cell], inputs: int, outputs: tuple[Bit, ...]) -> Module:
    ports = {"x_i": Port("input", tuple(range(2, 2 + inputs))), "y_o": Port("output", outputs)}
    return Module("m", ports, cells)


def test_what_nobody_reads_is_dropped(reader: Reader) -> None:
    cells = {
        "used": gate(f"AND2x2{facts.SUFFIX}", A=2, B=3, Y=10),
        "first": gate(f"AND2x2{facts.SUFFIX}", A=2, B=3, Y=11),
        "second": gate("hsflow_half_adder", A=11, B=2, CO=12, S=13),
        "register": gate("$_DFF_P_", C=4, D=12, Q=14),
    }
    assert len(mapped(module_of(cells, 3, (10,)), reader).cells) == 1


def test_an_adder_without_a_carry_is_a_sum_and_one_without_a_sum_a_majority(reader: Reader) -> None:
    cells = {
        "s": gate("hsflow_full_adder", A=2, B=3, CI=4, CO=10, S=11),
        "c": gate("hsflow_full_adder", A=2, B=3, CI=5, CO=12, S=13),
    }
    module = mapped(module_of(cells, 4, (11, 12)), reader)
    types = sorted(cell.type.removesuffix(facts.SUFFIX) for cell in module.cells.values())
    assert types[0] == "FAx1"
    assert types[-1] in ("MAJIxp5", "MAJx2")


def test_the_top_bit_of_a_signed_sum_is_a_majority(reader: Reader) -> None:
    """The bit above repeats both operands' signs, so half of a full adder is enough."""
    cells = {
        "below": gate("hsflow_full_adder", A=2, B=3, CI=4, CO=10, S=11),
        "top": gate("hsflow_full_adder", A=3, B=2, CI=10, CO=12, S=13),
    }
    module = mapped(module_of(cells, 3, (11, 13)), reader)
    assert count(module, facts.FULL_ADDER) == 1
    for row in range(8):
        a, b, c = (row >> index & 1 for index in range(3))
        total = (a - 2 * a) + (b - 2 * b) + c  # Both operands are 0 or -1 in the bits from here on.
        assert outputs_of(module, reader, (a, b, c)) == [total & 1, total >> 1 & 1]


def test_inverters_and_buffers_are_looked_through(reader: Reader) -> None:
    cells = {
        "one": gate(facts.INVERTER, A=2, Y=10),
        "two": gate(facts.INVERTER, A=10, Y=11),
        "three": gate(facts.BUFFER, A=11, Y=12),
        "four": gate("$_NOT_", A=12, Y=13),
    }
    module = mapped(module_of(cells, 1, (12, 13)), reader)
    assert count(module, facts.INVERTER) == len(module.cells) == 1
    assert outputs_of(module, reader, (0,)) == [0, 1]


def test_constants_are_tied_once_each(reader: Reader) -> None:
    cells = {"fa": gate("hsflow_full_adder", A=2, B="0", CI="1", CO=10, S=11)}
    module = mapped(module_of(cells, 1, (10, 11, "1", "1", "0")), reader)
    assert count(module, facts.TIE_HIGH.cell) <= 1
    assert count(module, facts.TIE_LOW.cell) <= 1
    assert [outputs_of(module, reader, (bit,)) for bit in (0, 1)] == [[0, 1, 1, 1, 0], [1, 0, 1, 1, 0]]


@pytest.mark.parametrize("seed", range(12))
def test_random_logic_keeps_its_function(reader: Reader, seed: int) -> None:
    module = random_module(random.Random(seed))
    after = mapped(module, reader)
    for row in range(32):
        given = tuple(row >> index & 1 for index in range(5))
        assert outputs_of(after, reader, given) == outputs_of(module, reader, given)


def random_module(source: random.Random) -> Module:
    nets = list(range(2, 7))
    cells: dict[str, Cell] = {}
    for number in range(30):
        new = 100 + 2 * number
        a, b, c = source.choices(nets, k=3)
        kind = source.choice(("fa", "ha", "nand", "xor", "not", "aoi"))
        match kind:
            case "fa":
                cells[f"c{number}"] = gate("hsflow_full_adder", A=a, B=b, CI=c, CO=new, S=new + 1)
                nets.append(new + 1)
            case "ha":
                cells[f"c{number}"] = gate("hsflow_half_adder", A=a, B=b, CO=new, S=new + 1)
                nets.append(new + 1)
            case "nand":
                cells[f"c{number}"] = gate(f"NAND2x1{facts.SUFFIX}", A=a, B=b, Y=new)
            case "xor":
                cells[f"c{number}"] = gate(f"XOR2x2{facts.SUFFIX}", A=a, B=b, Y=new)
            case "not":
                cells[f"c{number}"] = gate(facts.INVERTER, A=a, Y=new)
            case "aoi":
                cells[f"c{number}"] = gate(f"AOI21x1{facts.SUFFIX}", A1=a, A2=b, B=c, Y=new)
        nets.append(new)
    return module_of(cells, 5, tuple(source.choices(nets, k=8)))


def outputs_of(module: Module, reader: Reader, given: tuple[int, ...]) -> list[int]:
    """Return what a module without registers computes, whether its adders have a cell yet or not."""
    values: dict[Bit, int] = {"0": 0, "1": 1, **dict(zip(module.ports["x_i"].bits, given, strict=True))}
    waiting = list(module.cells.values())
    while waiting:
        cell = waiting.pop(0)
        pins = {pin: bits[0] for pin, bits in cell.pins.items()}
        found = _computed(cell.type, pins, values, reader.cells)
        if found is None:
            waiting.append(cell)
        else:
            values.update(found)
    return [values[bit] for bit in module.ports["y_o"].bits]


_UNMAPPED = {
    "hsflow_full_adder": (("A", "B", "CI"), {"CO": MAJORITY, "S": 0b10010110}),
    "hsflow_half_adder": (("A", "B"), {"CO": AND, "S": XOR}),
    "$_NOT_": (("A",), {"Y": 0b01}),
}


def _computed(
    type_: str, pins: Mapping[str, Bit], values: Mapping[Bit, int], cells: Mapping[str, LibraryCell]
) -> dict[Bit, int] | None:
    """Return the values of a cell's outputs, or None while an input is not known."""
    if type_ in _UNMAPPED:
        names, tables = _UNMAPPED[type_]
    else:
        names = tuple(cells[type_].inputs)
        tables = {pin: truth_table(text, names) for pin, text in cells[type_].functions.items()}
    if any(pins[name] not in values for name in names):
        return None
    row = sum(values[pins[name]] << index for index, name in enumerate(names))
    return {pins[pin]: table >> row & 1 for pin, table in tables.items() if pin in pins}


def test_an_unknown_cell_is_named(reader: Reader) -> None:
    with pytest.raises(ModelError, match="mystery"):
        mapped(module_of({"u": gate("mystery", A=2, Y=3)}, 1, (3,)), reader)
