# SPDX-License-Identifier: Apache-2.0
"""Round the weights of one layer so that later roundings make up for the errors of earlier ones.

A `Problem` is to find representable weights `w` that minimize `(w - target) H (w - target)^T` for many rows at once.
`compensate` rounds column by column and moves each error onto the columns that are still free; `refine` then
changes one weight at a time for the better until nothing gains. Both weigh a weight's second term against its price.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hsflow_po2.codebook import Codebook

_BLOCK = 48
_FLOAT32_ERROR = 1e-7

_SWEEPS = 4
_ORDERS = 4
"""Orders of columns that are tried."""

_DISORDER = 0.7
"""How far the others are from that of descending variance: the standard deviation of its logarithm's change."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Hold `hessian`, positive definite, shape (problems, k, k), and `target`, shape (problems, rows, k).

    `zero` marks weights that must be zero, of `target`'s shape. `scale` is 2**fraction of each row, shape (problems,
    rows, 1): a representable weight is a code of the codebook over it. `importance` turns a row's error into what
    `price`, of one second term, is measured in; shape (problems, rows, 1).
    """

    hessian: Tensor
    target: Tensor
    zero: Tensor
    scale: Tensor
    importance: Tensor


@dataclass(frozen=True, eq=False)
class Codes:
    """Hold the weights of one term and of two, and what a second term costs; infinite: none, zero: everywhere."""

    one: Codebook
    two: Codebook
    price: float

    def round(self, value: Tensor, curvature: Tensor, scale: Tensor) -> Tensor:
        """Return the best codes for `value`; its squared error counts `curvature` times."""
        scaled = value * scale
        if self.price == 0:
            return self.two.nearest(scaled) / scale
        first = self.one.nearest(scaled)
        if self.price == float("inf"):
            return first / scale
        second = self.two.nearest(scaled)
        gain = ((first - scaled).square() - (second - scaled).square()) * curvature / scale.square()
        return torch.where(gain > self.price, second, first) / scale

    def charge(self, weight: Tensor, scale: Tensor) -> Tensor | float:
        """Return what the second terms of each row cost, shape (problems, rows)."""
        if not 0 < self.price < float("inf"):
            return 0.0
        return self.price * second_terms(weight, scale, self).sum(dim=2)


def compensate(problem: Problem, codes: Codes, keys: Tensor | None = None) -> Tensor:
    """Return rounded weights, shape (problems, rows, k), each column's error spread over those not yet rounded.

    Columns are taken in descending order of `keys`, shape (problems, k), by default of their variance.
    """
    keys = problem.hessian.diagonal(dim1=1, dim2=2) if keys is None else keys
    order = keys.argsort(dim=1, descending=True)
    ordered = _permuted(problem, order)
    factor = inverse_factor(ordered.hessian)
    rounded = _compensate(ordered, factor, codes)
    return torch.gather(rounded, 2, order.argsort(dim=1)[:, None].expand_as(rounded))


def search(problem: Problem, codes: Codes) -> Tensor:
    """Return the best rounding of each row that `compensate` and `refine` find, starting in several orders."""
    generator = torch.Generator().manual_seed(0)
    variance = problem.hessian.diagonal(dim1=1, dim2=2)
    best = refine(problem, compensate(problem, codes), codes, _SWEEPS)
    least = cost(problem, best, codes)
    for _ in range(_ORDERS - 1):
        keys = variance * torch.exp(_DISORDER * torch.randn(variance.shape, generator=generator))
        other = refine(problem, compensate(problem, codes, keys), codes, _SWEEPS)
        found = cost(problem, other, codes)
        best = torch.where((found < least)[:, :, None], other, best)
        least = torch.minimum(found, least)
    return best


def cost(problem: Problem, weight: Tensor, codes: Codes) -> Tensor:
    """Return each row's error and what its second terms cost, shape (problems, rows)."""
    return loss(problem, weight) * problem.importance[:, :, 0] + codes.charge(weight, problem.scale)


def _permuted(problem: Problem, order: Tensor) -> Problem:
    """Return the problem with its columns in `order`, shape (problems, k)."""
    size = order.shape[1]
    rows = torch.gather(problem.hessian, 1, order[:, :, None].expand(-1, -1, size))
    hessian = torch.gather(rows, 2, order[:, None].expand(-1, size, -1))
    columns = order[:, None].expand_as(problem.target)
    target, zero = (torch.gather(value, 2, columns) for value in (problem.target, problem.zero))
    return replace(problem, hessian=hessian, target=target, zero=zero)


def inverse_factor(hessian: Tensor) -> Tensor:
    """Return upper triangular U with `U^T U` the inverse of `hessian`, as float32."""
    exact = hessian.double()
    identity = torch.eye(hessian.shape[1], dtype=torch.float64).expand_as(exact)
    slack = _FLOAT32_ERROR * exact.diagonal(dim1=1, dim2=2).sum(dim=1)
    upper = torch.linalg.cholesky((exact + slack[:, None, None] * identity).flip(1, 2)).flip(1, 2)
    factor: Tensor = torch.linalg.solve_triangular(upper, identity, upper=True)
    return factor.float()


def _compensate(problem: Problem, factor: Tensor, codes: Codes) -> Tensor:
    weight = problem.target.clone()
    size = weight.shape[2]
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = torch.empty_like(weight[:, :, start:stop])
        for index in range(start, stop):
            pivot = factor[:, index, index, None]
            value = weight[:, :, index]
            curvature = problem.importance[:, :, 0] / pivot.square()
            rounded = codes.round(value, curvature, problem.scale[:, :, 0])
            rounded = rounded.masked_fill(problem.zero[:, :, index], 0.0)
            error = (value - rounded) / pivot
            weight[:, :, index] = rounded
            rest = factor[:, index, None, index + 1 : stop]
            weight[:, :, index + 1 : stop] -= error[:, :, None] * rest
            errors[:, :, index - start] = error
        weight[:, :, stop:] -= errors @ factor[:, start:stop, stop:]
    return weight


def refine(problem: Problem, weight: Tensor, codes: Codes, sweeps: int) -> Tensor:
    """Return `weight` after `sweeps` passes that set one column after the other to its best given all others."""
    weight = weight.clone()
    for _ in range(sweeps):
        before = weight.clone()
        _sweep(problem, weight, codes)
        if torch.equal(before, weight):
            break
    return weight


def _sweep(problem: Problem, weight: Tensor, codes: Codes) -> None:
    hessian, size = problem.hessian, weight.shape[2]
    gradient = (weight - problem.target) @ hessian
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        before = weight[:, :, start:stop].clone()
        local = gradient[:, :, start:stop].clone()
        for index in range(start, stop):
            diagonal = hessian[:, index, index, None]
            old = weight[:, :, index].clone()
            value = old - local[:, :, index - start] / diagonal
            curvature = problem.importance[:, :, 0] * diagonal
            rounded = codes.round(value, curvature, problem.scale[:, :, 0])
            rounded = rounded.masked_fill(problem.zero[:, :, index], 0.0)
            weight[:, :, index] = rounded
            local += (rounded - old)[:, :, None] * hessian[:, index, None, start:stop]
        gradient += (weight[:, :, start:stop] - before) @ hessian[:, start:stop]


def loss(problem: Problem, weight: Tensor) -> Tensor:
    """Return each row's squared error, shape (problems, rows)."""
    difference = weight - problem.target
    return ((difference @ problem.hessian) * difference).sum(dim=2)


def second_terms(weight: Tensor, scale: Tensor, codes: Codes) -> Tensor:
    """Return which weights need two terms."""
    scaled = weight * scale
    return codes.one.nearest(scaled) != scaled
