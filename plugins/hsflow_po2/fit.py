# SPDX-License-Identifier: Apache-2.0
"""Fit the rounded weights of one convolution to what its outputs shall be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hsflow_po2.codebook import codebook
from hsflow_po2.compensate import Codes, Problem, compensate, cost, search, second_terms
from hsflow_po2.moments import Halves, Statistics
from hsflow_po2.phases import PO2, Phase, factors, multiplied
from hsflow_po2.rounding import RoundedWeight

_TOPS_TRIED = 4
_BISECTIONS = 8
_CLOSE = 0.98
"""A price of second terms that spends this share of the allowance is good enough."""

_MIDDLE = 1.5 / math.sqrt(2)
"""A logarithm over this rounds to that of the nearest power: from 1.5 on, to that of 2."""

_TINY = 1e-12
_LEAST_PRICE = 1e-30

_REFITS = (0.1, 0.3, 1.0, 3.0, 10.0, math.inf)
_DAMPINGS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""What is tried of either, see `Noise`."""


@dataclass(frozen=True)
class Noise:
    """Hold how much noise a fit assumes in each input, as shares of the inputs' mean variance.

    Weights are refitted as if there were `refit` (infinite: they are not), rounding errors are compensated as if there
    were `damping`: the more, the less a fit follows the images it is fitted to.
    """

    refit: float
    damping: float


@dataclass(frozen=True, eq=False)
class Fit:
    """Hold rounded weights, a float bias, shape (outputs,), and how many weights got a second term."""

    rounded: RoundedWeight
    bias: Tensor
    second: int


@dataclass(frozen=True, eq=False)
class Layer:
    """Hold what a convolution's fit needs besides statistics.

    `weight` are the float weights in the units of the quantized feature maps, shape (problems, rows, k), `importance`
    what a row's squared error costs, shape (problems, rows, 1), `finest` the largest fraction that a row's weights may
    have, shape (problems, rows), `second` how many weights may have a second term, `levels` the exponents of a window,
    and `phases` what a row may be multiplied by.
    """

    weight: Tensor
    importance: Tensor
    finest: Tensor
    second: int
    levels: int
    phases: tuple[Phase, ...]

    @property
    def codes(self) -> Codes:
        """Return the weights of one term, or of two where all may have two."""
        price = 0.0 if self.second >= self.weight.numel() else math.inf
        return Codes(codebook(self.levels, 1), codebook(self.levels, 2), price)


@dataclass(frozen=True, eq=False)
class Placed:
    """Hold a rounding problem whose rows are divided by their phases, the places of which are `which`."""

    problem: Problem
    which: Tensor

    def weights(self, rounded: Tensor, layer: Layer) -> Tensor:
        """Return rounded weights of the problem, times their phases; exact."""
        return rounded * factors(layer.phases, self.which)[:, :, None]


def fit_conv(
    weight: Tensor,
    moments: Halves,
    importance: Tensor,
    finest: Tensor,
    second: int,
    levels: int,
    phases: tuple[Phase, ...] = PO2,
) -> Fit:
    """Return what makes a convolution's outputs closest to the wanted ones.

    Args:
        weight: the float weights in the units of the quantized feature maps, shape (outputs, ...).
        moments: of inputs and wanted outputs.
        importance: what an output's squared error costs, shape (outputs,).
        finest: the largest fraction that an output's weights may have, shape (outputs,).
        second: how many weights may have a second term.
        levels: exponents of a window.
        phases: what an output's weights may be multiplied by.
    """
    statistics = moments.together()
    shape = (len(statistics.hessian), len(weight) // len(statistics.hessian), -1)
    costs = importance.reshape(shape).clamp(min=_TINY)
    layer = Layer(weight.reshape(shape), costs, finest.reshape(shape[:2]), second, levels, phases)
    noise = _validated(layer, moments)
    placed = _placed(layer, statistics, noise, layer.codes)
    if math.isinf(layer.codes.price) and second > 0:
        placed = _placed(layer, statistics, noise, _priced(placed.problem, layer.codes, second))
    problem = placed.problem
    values, codes = _within_allowance(problem, layer.codes, second)
    weights = placed.weights(values, layer)
    bias = statistics.outputs - (weights @ statistics.inputs.float()[:, :, None])[:, :, 0]
    used = int(second_terms(values, problem.scale, codes).sum())
    terms = 2 if used else 1
    sign, exponent = (
        code.reshape(2, *weight.shape)[:terms] for code in codes.two.codes(values * problem.scale)
    )
    fractions = torch.log2(problem.scale).round().long().reshape(-1)
    rounded = multiplied(RoundedWeight(sign, exponent, fractions), phases, placed.which.reshape(-1))
    return Fit(rounded, bias.reshape(-1), used)


def _validated(layer: Layer, moments: Halves) -> Noise:
    """Return what suits one half of the images best after a fit to the other half."""
    halves = moments.apart()
    refit = min(_REFITS, key=lambda share: _refit_loss(layer, halves, share))
    losses = {share: _rounded_loss(layer, halves, Noise(refit, share)) for share in _DAMPINGS}
    return Noise(refit, min(losses, key=losses.__getitem__))


def _refit_loss(layer: Layer, halves: tuple[Statistics, Statistics], share: float) -> float:
    """Return how far the other half's outputs are off after a fit to each half, but for a constant."""
    return sum(_loss(layer, _change(layer, fitted, share), judge) for fitted, judge in (halves, halves[::-1]))


def _rounded_loss(layer: Layer, halves: tuple[Statistics, Statistics], noise: Noise) -> float:
    """Return the same for weights rounded to suit the first half."""
    fitted, judge = halves
    placed = _placed(layer, fitted, noise, layer.codes)
    rounded = placed.weights(compensate(placed.problem, layer.codes), layer)
    return _loss(layer, rounded.double() - layer.weight, judge)


def _loss(layer: Layer, change: Tensor, judge: Statistics) -> float:
    missing = judge.cross - layer.weight.double() @ judge.hessian
    errors = ((change @ judge.hessian - 2 * missing) * change).sum(dim=2, keepdim=True)
    return float((errors * layer.importance).sum())


def _change(layer: Layer, statistics: Statistics, share: float) -> Tensor:
    """Return what the outputs ask to be added to the float weights, zeros excepted.

    What is missing is fitted by least squares; the more noise is assumed, the less of it is believed.
    """
    weight = layer.weight.double()
    if math.isinf(share):
        return torch.zeros_like(weight)
    missing = statistics.cross - weight @ statistics.hessian
    loose = damped(statistics.hessian, share)
    change = torch.linalg.solve(loose, missing.transpose(1, 2)).transpose(1, 2)
    allowed: Tensor = change.masked_fill(weight == 0, 0.0)
    return allowed


def _placed(layer: Layer, statistics: Statistics, noise: Noise, codes: Codes) -> Placed:
    """Return the rounding problem with each row's phase chosen and window placed, as suits `codes`."""
    target = (layer.weight + _change(layer, statistics, noise.refit)).float()
    hessian = damped(statistics.hessian, noise.damping).float()
    ones = torch.ones_like(layer.importance)
    problem = Problem(hessian, target, layer.weight == 0, ones, layer.importance)
    choices = [_divided(problem, layer, phase, codes) for phase in layer.phases]
    which = _best(choices, codes)
    rows = which[None, :, :, None]
    target, scale, importance = (
        torch.stack(parts).gather(0, rows.expand(1, *parts[0].shape))[0]
        for parts in zip(*((c.target, c.scale, c.importance) for c in choices), strict=True)
    )
    return Placed(replace(problem, target=target, scale=scale, importance=importance), which)


def _divided(problem: Problem, layer: Layer, phase: Phase, codes: Codes) -> Problem:
    """Return the problem divided by a phase, windows placed."""
    importance = problem.importance * phase.factor**2
    divided = replace(problem, target=problem.target / phase.factor, importance=importance)
    fractions = _windows(divided, codes, layer.levels, layer.finest - phase.fraction)
    return replace(divided, scale=torch.exp2(fractions.float())[:, :, None])


def _best(choices: list[Problem], codes: Codes) -> Tensor:
    """Return which problem each row is rounded best in, shape (problems, rows); of equals, the first."""
    if len(choices) == 1:
        return torch.zeros(choices[0].target.shape[:2], dtype=torch.int64)
    return torch.stack([cost(one, compensate(one, codes), codes) for one in choices]).argmin(dim=0)


def damped(hessian: Tensor, share: float) -> Tensor:
    """Return covariances (problems, k, k) with `share` of the mean variance added to every variance."""
    mean = hessian.diagonal(dim1=1, dim2=2).mean(dim=1)
    return hessian + (share * mean + _TINY)[:, None, None] * torch.eye(hessian.shape[1], dtype=hessian.dtype)


def _windows(problem: Problem, codes: Codes, levels: int, finest: Tensor) -> Tensor:
    """Return each row's fraction, at most `finest`, shape (problems, rows), whose window rounds at the least cost."""
    largest = problem.target.abs().amax(dim=2).clamp(min=_TINY)
    top = torch.round(torch.log2(largest / _MIDDLE)).long()
    candidates = torch.stack(
        [torch.minimum(levels - 1 - top + step, finest) for step in range(-1, _TOPS_TRIED)]
    )
    costs = torch.stack([_plain_cost(problem, codes, fractions) for fractions in candidates])
    return candidates.gather(0, costs.argmin(dim=0, keepdim=True))[0]


def _plain_cost(problem: Problem, codes: Codes, fractions: Tensor) -> Tensor:
    """Return what each row costs if every weight is rounded by itself, shape (problems, rows)."""
    scale = torch.exp2(fractions.float())[:, :, None]
    curvature = problem.importance * problem.hessian.diagonal(dim1=1, dim2=2)[:, None]
    rounded = codes.round(problem.target, curvature, scale)
    errors = ((rounded - problem.target).square() * curvature).sum(dim=2)
    return errors + codes.charge(rounded, scale)


def _within_allowance(problem: Problem, codes: Codes, second: int) -> tuple[Tensor, Codes]:
    """Return weights of which at most `second` have two terms: the ones that gain the most."""
    if second <= 0 or codes.price == 0:
        return search(problem, codes), codes
    codes = _priced(problem, codes, second)
    values = search(problem, codes)
    step = 1.05
    while int(second_terms(values, problem.scale, codes).sum()) > second:
        codes = replace(codes, price=codes.price * step)
        values = search(problem, codes)
        step *= step
    return values, codes


def _priced(problem: Problem, codes: Codes, second: int) -> Codes:
    """Return the price at which error compensation buys nearly `second` terms, and not more.

    Gains span many orders of magnitude, so what is searched for is the price's rank among them.
    """
    gains = _plain_gains(problem, codes).flatten().sort().values.clamp(min=_LEAST_PRICE)
    low, high = -1, len(gains) - 1
    rank = max(len(gains) - second, 0)
    for _ in range(_BISECTIONS):
        codes = replace(codes, price=float(gains[rank]))
        used = int(second_terms(compensate(problem, codes), problem.scale, codes).sum())
        if _CLOSE * second <= used <= second or high - low < 2:
            break
        low, high = (rank, high) if used > second else (low, rank)
        rank += used - second
        rank = rank if low < rank < high else (low + high) // 2
    return codes if used <= second else replace(codes, price=float(gains[high]))


def _plain_gains(problem: Problem, codes: Codes) -> Tensor:
    """Return what a second term takes off each weight's own error."""
    scaled = problem.target * problem.scale
    first, second = (book.nearest(scaled) - scaled for book in (codes.one, codes.two))
    curvature = problem.importance * problem.hessian.diagonal(dim1=1, dim2=2)[:, None]
    return (first.square() - second.square()) * curvature / problem.scale.square()
