# SPDX-License-Identifier: Apache-2.0
"""The compiled search for cells' phases: annealing, then descent. See polarity.py for what is searched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]
F = TypeVar("F", bound=Callable[..., Any])

DRIVES = 2
"""A pin's role if it drives its net; 0 and 1 are inputs that want the net in that phase."""

_MULTIPLIER = np.uint64(6364136223846793005)
_INCREMENT = np.uint64(1442695040888963407)
_HOTTEST = 1.2
"""The first temperature over an inverter's area: a move that costs one more is taken two times in five."""

_IDLE_SWEEPS = 8
_NOTHING = 1e-12


class Problem(NamedTuple):
    """Hold the nodes' pins and choices, and the nets.

    Node v has the pins `pin_start[v]` to `pin_start[v + 1]`, each at a net (-1: none) in a role, and the choices
    `choice_start[v]` to `choice_start[v + 1]`. Nets count the inputs that want each phase, and hold their driver's.
    """

    pin_start: IntArray
    pin_net: IntArray
    pin_role: IntArray
    choice_start: IntArray
    choice_phases: IntArray
    choice_area: FloatArray
    demands: IntArray
    offered: IntArray
    inverter: float


def _compiled(function: F) -> F:
    """Compile a function when it is first called; keep its machine code on disk where that is possible."""
    try:
        return cast(F, njit(cache=True)(function))
    except RuntimeError:
        return cast(F, njit(function))


@_compiled
def anneal(problem: Problem, chosen: IntArray, sweeps: int) -> float:
    """Choose for each node, in place, and return the area of cells and inverters that was saved."""
    state = np.uint64(1)
    saved = 0.0
    idle = sweep = 0
    while idle < _IDLE_SWEEPS:
        heat = problem.inverter * _HOTTEST * max(0.0, 1.0 - sweep / max(sweeps, 1)) ** 2
        gained = 0.0
        for node in range(len(chosen)):
            state = state * _MULTIPLIER + _INCREMENT
            gained += _try_another(problem, chosen, node, int(state >> np.uint64(33)), heat)
        saved += gained
        sweep += 1
        idle = idle + 1 if sweep > sweeps and gained <= _NOTHING else 0
    return saved


@_compiled
def _try_another(problem: Problem, chosen: IntArray, node: int, luck: int, heat: float) -> float:
    """Take another choice for a node if it is better, or the heat lets a worse one pass; return what that saved."""
    first = problem.choice_start[node]
    count = problem.choice_start[node + 1] - first
    if count < 2:
        return 0.0
    old = chosen[node]
    new = first + (old - first + 1 + luck % (count - 1)) % count
    changed = problem.choice_phases[new] ^ problem.choice_phases[old]
    cost = problem.choice_area[new] - problem.choice_area[old]
    cost += problem.inverter * _turn(problem, node, changed)
    # The remainder chose among the others; what it left over is the chance.
    chance = (luck // (count - 1)) % 65536 / 65536.0
    if cost < -_NOTHING or (heat > 0.0 and chance < np.exp(-cost / heat)):
        chosen[node] = new
        return -float(cost)
    _turn(problem, node, changed)
    return 0.0


@_compiled
def _turn(problem: Problem, node: int, changed: int) -> int:
    """Turn the phases of a node's changed pins and return how many more inverters that needs."""
    more = 0
    start = problem.pin_start[node]
    for index in range(start, problem.pin_start[node + 1]):
        net = problem.pin_net[index]
        if net < 0 or not changed >> (index - start) & 1:
            continue
        more -= _needs_inverter(problem, net)
        role = problem.pin_role[index]
        if role == DRIVES:
            problem.offered[net] = 1 - problem.offered[net]
        else:
            problem.demands[net, role] -= 1
            problem.demands[net, 1 - role] += 1
            problem.pin_role[index] = 1 - role
        more += _needs_inverter(problem, net)
    return more


@_compiled
def _needs_inverter(problem: Problem, net: int) -> int:
    return 1 if problem.demands[net, 1 - problem.offered[net]] > 0 else 0
