# SPDX-License-Identifier: Apache-2.0
"""Fit the rounded weights of one convolution to what its outputs shall be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hsflow_po2.codebook import codebook
from hsflow_po2.compensate import Codes, Problem, compensate, refine, second_terms
from hsflow_po2.moments import Statistics
from hsflow_po2.rounding import RoundedWeight

_TOPS_TRIED = 4
_BISECTIONS = 8
_CLOSE = 0.98
"""A price of second terms that spends this share of the allowance is good enough."""

_TINY = 1e-12


@dataclass(frozen=True)
class FitOptions:
    """Hold the exponents of a window, the damping of the least-squares problem and the passes of refinement."""

    levels: int = 8
    damping: float = 0.01
    refit: float = 0.01
    sweeps: int = 4


@dataclass(frozen=True, eq=False)
class Fit:
    """Hold rounded weights, a float bias, shape (outputs,), and how many weights got a second term."""

    rounded: RoundedWeight
    bias: Tensor
    second: int


def fit_conv(
    weight: Tensor,
    statistics: Statistics,
    importance: Tensor,
    finest: Tensor,
    second: int,
    options: FitOptions,
) -> Fit:
    """Return what makes the layer's outputs closest to the wanted ones.

    Args:
        weight: the float weights in the units of the quantized feature maps, shape (outputs, ...).
        statistics: of inputs and wanted outputs.
        importance: what an output's squared error costs, shape (outputs,).
        finest: the largest fraction that an output's weights may have, shape (outputs,).
        second: how many weights may have a second term.
        options: see there.
    """
    problems = len(statistics.hessian)
    rows = len(weight) // problems
    grouped = weight.reshape(problems, rows, -1)
    hessian, target = _refitted(grouped, statistics, options)
    zero = grouped == 0
    target = target.masked_fill(zero, 0.0)
    per_row = importance.reshape(problems, rows, 1).clamp(min=_TINY)
    problem = Problem(hessian, target, zero, torch.ones_like(per_row), per_row)
    books = Codes(codebook(options.levels, 1), codebook(options.levels, 2), math.inf)
    fractions = _windows(
        problem, replace(books, price=0.0 if second >= grouped.numel() else math.inf), finest
    )
    problem = replace(problem, scale=torch.exp2(fractions.float())[:, :, None])
    values, codes = _within_allowance(problem, books, second, options.sweeps)
    bias = statistics.outputs - (values @ statistics.inputs.float()[:, :, None])[:, :, 0]
    sign, exponent = codes.two.codes(values * problem.scale)
    shape = (2, *weight.shape)
    used = int(second_terms(values, problem.scale, codes).sum())
    keep = 2 if used else 1
    rounded = RoundedWeight(sign.reshape(shape)[:keep], exponent.reshape(shape)[:keep], fractions.reshape(-1))
    return Fit(rounded, bias.reshape(-1), used)


def _refitted(weight: Tensor, statistics: Statistics, options: FitOptions) -> tuple[Tensor, Tensor]:
    """Return the damped Hessian and the weights that the outputs ask for, both float32.

    The damping pulls towards the float weights: it is the error that a little noise in every input would add.
    """
    missing = statistics.cross - weight.double() @ statistics.hessian
    loose = damped(statistics.hessian, options.refit)
    change = torch.linalg.solve(loose, missing.transpose(1, 2)).transpose(1, 2)
    return damped(statistics.hessian, options.damping).float(), (weight.double() + change).float()


def damped(hessian: Tensor, share: float) -> Tensor:
    """Return covariances (problems, k, k) with `share` of the mean variance added to every variance."""
    mean = hessian.diagonal(dim1=1, dim2=2).mean(dim=1)
    return hessian + (share * mean + _TINY)[:, None, None] * torch.eye(hessian.shape[1], dtype=hessian.dtype)


def _windows(problem: Problem, codes: Codes, finest: Tensor) -> Tensor:
    """Return each row's fraction, shape (problems, rows), whose window rounds with the least weighted error."""
    target = problem.target
    largest = target.abs().amax(dim=2).clamp(min=_TINY)
    top = torch.round(torch.log2(largest / 1.0607)).long()
    levels = int(math.log2(float(codes.one.values.max()))) + 1
    limit = finest.reshape(top.shape)
    curvature = problem.hessian.diagonal(dim1=1, dim2=2)[:, None]
    candidates = torch.stack(
        [torch.minimum(levels - 1 - top + step, limit) for step in range(-1, _TOPS_TRIED)]
    )
    errors = []
    for fractions in candidates:
        rounded = codes.round(target, curvature, torch.exp2(fractions.float())[:, :, None])
        errors.append(((rounded - target).square() * curvature).sum(dim=2))
    return candidates.gather(0, torch.stack(errors).argmin(dim=0, keepdim=True))[0]


def _within_allowance(problem: Problem, codes: Codes, second: int, sweeps: int) -> tuple[Tensor, Codes]:
    """Return weights of which at most `second` have two terms: the ones that gain the most."""
    if second <= 0 or second >= problem.target.numel():
        codes = replace(codes, price=math.inf if second <= 0 else 0.0)
        return refine(problem, compensate(problem, codes), codes, sweeps), codes
    codes = _priced(problem, codes, second)
    while True:
        values = refine(problem, compensate(problem, codes), codes, sweeps)
        if int(second_terms(values, problem.scale, codes).sum()) <= second:
            return values, codes
        codes = replace(codes, price=codes.price * 1.05)


def _priced(problem: Problem, codes: Codes, second: int) -> Codes:
    """Return the price at which error compensation buys nearly `second` terms, and not more."""
    gains = _plain_gains(problem, codes)
    low, high = math.log(max(float(gains.min()), 1e-30)), math.log(float(gains.max()) + 1e-30)
    guess = math.log(float(gains.flatten().kthvalue(max(1, gains.numel() - second)).values) + 1e-30)
    for _ in range(_BISECTIONS):
        codes = replace(codes, price=math.exp(guess))
        used = int(second_terms(compensate(problem, codes), problem.scale, codes).sum())
        if _CLOSE * second <= used <= second:
            break
        low, high = (guess, high) if used > second else (low, guess)
        guess = (low + high) / 2 if used == 0 else _between(low, high, guess + math.log(used / second))
    return codes if used <= second else replace(codes, price=math.exp(high))


def _between(low: float, high: float, guess: float) -> float:
    return guess if low < guess < high else (low + high) / 2


def _plain_gains(problem: Problem, codes: Codes) -> Tensor:
    """Return what a second term takes off each weight's own error."""
    scaled = problem.target * problem.scale
    first, second = (book.nearest(scaled) - scaled for book in (codes.one, codes.two))
    curvature = problem.importance * problem.hessian.diagonal(dim1=1, dim2=2)[:, None]
    return (first.square() - second.square()) * curvature / problem.scale.square()
