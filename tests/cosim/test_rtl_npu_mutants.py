# SPDX-License-Identifier: Apache-2.0
"""Wrong lines in the RTL of hsflow_npu: the comparison with its NumPy model catches each one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from npu_bench import BY_NAME, LIBRARY, NPU, add_npu, problems
from stream_bench import Bench, Log


@dataclass(frozen=True)
class Mutant:
    """One wrong line of RTL, the case and the traffic that must show it, and how."""

    name: str
    case: str
    old: str
    new: str
    shows: str
    kind: str = "full"


MUTANTS = [
    Mutant(
        "argmax_of_last_equal", "ragged_classes", "$signed(logit_q) > $", "$signed(logit_q) >= $", "words"
    ),
    Mutant(
        "argmax_unsigned", "ragged_classes", "$signed(logit_q) > $signed(best_q)", "logit_q > best_q", "words"
    ),
    Mutant(
        "unsigned_weight",
        "one_class",
        "{ActivationWidth{weight_i[8*f+7]}}",
        "{ActivationWidth{1'b0}}",
        "words",
    ),
    Mutant("unsigned_activation", "tokens", "assign sign = ", "assign sign = 1'b0 && ", "words"),
    Mutant("stale_accumulator", "long", "(first_i ? 32'd0 : sum_o)", "sum_o", "words"),
    Mutant("late_sum", "ragged_features", ".Delay(2 + TreeStages)", ".Delay(3 + TreeStages)", "words"),
    Mutant("lost_term", "one_bit", "term[(4*n + 3)*NodeWidth +: NodeWidth]", "'0", "words"),
    Mutant("no_rotation", "ragged_classes", ".rotate_i(rotate)", ".rotate_i(1'b0)", "words"),
    Mutant("bias_of_next_class", "wide", "move ? class_next : class_q", "class_next", "words"),
    Mutant("wrong_last", "drain_bound", "last_o = last;", "last_o = !last;", "words"),
    Mutant(
        "no_stall",
        "drain_bound",
        "assign advance = !row_done_q || load_ready",
        "assign advance = 1'b1",
        "words",
    ),
    Mutant("hold_ignored", "long", "(full_i && !hold_i)", "full_i", "words"),
    Mutant("holding_too_early", "long", "holding = hold_q && quiet_i", "holding = hold_q", "words"),
    Mutant("busy_write", "long", "write_is_weight && open", "write_is_weight", "words"),
    Mutant("busy_bias_write", "long", "write_is_bias && open", "write_is_bias", "words"),
    Mutant("no_error_bit", "long", "write_while_busy_q <= 1'b1", "write_while_busy_q <= 1'b0", "answers"),
    Mutant("no_strobes", "long", "== WordWidth'(w)) ? write_strobe_i", "== WordWidth'(w)) ? 4'hF", "answers"),
    Mutant("wrong_row", "tokens", "row_index < Rows", "row_index <= Rows", "answers"),
    Mutant("image_counted_twice", "long", "images_q + 32'd1", "images_q + 32'd2", "words"),
    Mutant("bubble_before_image", "one_multiply", "!full_q || take_i", "!full_q", "interval"),
    Mutant("bubble_before_token", "token_bound", "!full_q || take_i", "!full_q", "interval"),
    Mutant(
        "bubble_between_rows", "drain_bound", "!row_valid_q || (move && row_ends)", "!row_valid_q", "interval"
    ),
    Mutant(
        "bubble_between_chunks",
        "drain_bound_wide",
        "!row_valid_q || (move && row_done)",
        "!row_valid_q",
        "interval",
    ),
    Mutant(
        "beat_of_two_rows_lost", "rows_inside_beats", "|| move_q != LastMove || fills;", "|| fills;", "words"
    ),
    Mutant("not_rotated", "rows_of_odd_beats", "twice[{left, 5'd0} +: 32*LogitLanes]", "chunk", "words"),
    Mutant("waiting_sums_lost", "rows_shorter_than_beats", "emit == below", "!below", "words"),
    Mutant(
        "start_not_cleared", "last_row_takes_longer", "in_last_tile ? '0 : start_next", "start_next", "words"
    ),
    Mutant(
        "early_last_row",
        "last_row_takes_longer",
        "in_last_tile ? LastMoveOfImage : LastMove",
        "LastMove",
        "words",
    ),
    Mutant("padding_wins", "more_logits_than_classes", "logit_last_q ? Lowest : logit_q", "logit_q", "words"),
    Mutant("padding_sent", "rows_inside_beats", "pad ? 32'd0 : sum", "sum", "words"),
    Mutant(
        "first_of_equals_lost", "all_logits", "$signed(high_value) > $", "$signed(high_value) >= $", "words"
    ),
    Mutant(
        "equal_neighbours",
        "all_logits",
        "$signed(value_i[32*Second +: 32]) > $",
        "$signed(value_i[32*Second +: 32]) >= $",
        "words",
    ),
    Mutant("beats_unsigned", "two_logits", "$signed(largest) > $signed(best_q)", "largest > best_q", "words"),
    Mutant("lane_zero_wins", "two_logits", "base_q + 16'(largest_lane)", "base_q", "words"),
    Mutant("bias_of_next_beat", "rows_inside_beats", "add ? beat_next : beat_q", "beat_next", "words"),
    Mutant(
        "tree_not_stopped",
        "one_beat_a_cycle",
        "advance = !valid_o || ready_i;",
        "advance = 1'b1;",
        "words",
        "slow",
    ),
    Mutant(
        "wrong_bias_lane",
        "two_logits",
        "write_lane == LaneWidth'(l)",
        "write_lane != LaneWidth'(l)",
        "answers",
    ),
    Mutant(
        "padding_written",
        "more_logits_than_classes_in_tiles",
        "? LastLanes : LogitLanes",
        "? LogitLanes : LogitLanes",
        "answers",
    ),
]


def mutate(mutant: Mutant, folder: Path) -> list[Path]:
    """Write a copy of the NPU whose modules have other names and one wrong line."""
    folder.mkdir()
    texts = {path.name: path.read_text(encoding="ascii") for path in NPU}
    assert sum(text.count(mutant.old) for text in texts.values()) == 1, mutant.name
    paths = []
    for file, text in texts.items():
        paths.append(folder / file.replace("hsflow_npu", f"hsflow_npu_{mutant.name}"))
        wrong = text.replace(mutant.old, mutant.new)
        paths[-1].write_text(wrong.replace("hsflow_npu", f"hsflow_npu_{mutant.name}"), encoding="ascii")
    return paths


@pytest.fixture(scope="module")
def mutant_log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("npu_mutants")
    bench, sources = Bench(), [*LIBRARY, *NPU]
    for mutant in MUTANTS:
        sources += mutate(mutant, folder / mutant.name)
        module = f"hsflow_npu_{mutant.name}_bench"
        case, kind = BY_NAME[mutant.case], mutant.kind
        add_npu(bench, case, f"mutant_{mutant.name}", kind, required=False, module=module)
    for name, kind in sorted({(mutant.case, mutant.kind) for mutant in MUTANTS}):
        add_npu(bench, BY_NAME[name], f"sound_{name}_{kind}", kind, required=False)
    # Mutants may hang, so the time says when to look; the sound copies show that it is enough.
    bench.done.append("(cycle > 6000)")
    return bench.simulate(sources, folder)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_twin_wrong_rtl_is_caught(mutant_log: Log, mutant: Mutant) -> None:
    case, kind = BY_NAME[mutant.case], mutant.kind
    assert problems(mutant_log, case, f"sound_{mutant.case}_{kind}", kind) == []
    assert mutant.shows in problems(mutant_log, case, f"mutant_{mutant.name}", kind)
