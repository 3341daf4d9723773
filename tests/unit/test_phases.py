# SPDX-License-Identifier: Apache-2.0
"""Output scales of two signed digits: exact sums of powers of two, fits that gain by them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hsflow_po2.budget import expected_gains
from hsflow_po2.distill import distill, distillation_recipe
from hsflow_po2.emulator import emulate
from hsflow_po2.fit import Fit, fit_conv
from hsflow_po2.moments import Halves
from hsflow_po2.phases import CSD, ONE, PO2, SCALES, SEVEN_QUARTERS, factors, further_exponents, multiplied
from hsflow_po2.quantize import second_term_fraction
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_po2.rounding import Po2Rounding, RoundedWeight, per_output
from hsflow_po2.stage import Po2Options, Po2Quantizer
from hsflow_torch.lower import lower
from pydantic import ValidationError

from hsflow.ir import graph as ir
from hsflow.ir import network as net
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import Constant, Shape, Window
from tests.torch_models import Bottleneck, Context, coarse, randomize


@pytest.fixture(scope="module")
def bottleneck() -> net.Network:
    return lower(randomize(Bottleneck()), Shape(3, 12, 12))


def rounded(terms: int, outputs: int = 12) -> RoundedWeight:
    generator = torch.Generator().manual_seed(terms)
    weight = torch.randn(outputs, 3, 2, 2, generator=generator)
    weight[:, 0, 0] = 0
    rounding = Po2Rounding(8, terms)
    return rounding(weight, rounding.place(weight))


def test_phases_are_what_two_digits_reach_by_quarters() -> None:
    assert [phase.factor for phase in CSD] == [1.0, 1.25, 1.5, 1.75]
    assert PO2 == (ONE,) and further_exponents(PO2) == 0 and further_exponents(CSD) == 3
    assert all(len(phase.digits) <= 2 for phase in CSD)


@pytest.mark.parametrize("terms", [1, 2])
def test_products_are_exact_sums_of_powers_of_two(terms: int) -> None:
    given = rounded(terms)
    which = torch.arange(12) % len(CSD)
    product = multiplied(given, CSD, which)
    wanted = given.values * per_output(factors(CSD, which), 4)
    assert torch.equal(product.values, wanted)
    assert not torch.equal(product.values, given.values)
    assert product.sign.shape == (2 * terms, 12, 3, 2, 2)
    assert product.sign.dtype == product.exponent.dtype == torch.int8
    assert int(product.exponent.max()) < 8 + further_exponents(CSD)
    assert ((product.sign != 0) | (product.exponent == 0)).all()
    assert (product.sign[:, wanted == 0] == 0).all()


def test_without_phases_nothing_is_added() -> None:
    given = rounded(2)
    product = multiplied(given, CSD, torch.zeros(12, dtype=torch.int64))
    assert torch.equal(product.sign, given.sign) and torch.equal(product.exponent, given.exponent)
    assert torch.equal(product.fractions, given.fractions)


def fitted(weight: torch.Tensor, finest: int = 30, second: int = 0, scale: str = "csd") -> Fit:
    """Return weights fitted to independent inputs, of which they are a linear function."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 200, weight.shape[1], generator=generator)
    t = x @ weight.T
    halves = Halves(0.0, 2)
    halves.add(x, t, 100)
    halves.add_means(x.view(100, 2, -1).mean(dim=1)[None], t.view(100, 2, -1).mean(dim=1)[None])
    ends = torch.full((len(weight),), finest)
    shape = (*weight.shape, 1, 1)
    return fit_conv(weight.view(shape), halves, torch.ones(len(weight)), ends, second, 8, SCALES[scale])


def test_a_fit_finds_each_rows_scale() -> None:
    generator = torch.Generator().manual_seed(1)
    powers = torch.exp2(torch.randint(-6, 1, (8, 16), generator=generator).float())
    signs = torch.randint(2, powers.shape, generator=generator) * 2.0 - 1
    scale = factors(CSD, torch.arange(8) % 4)
    weight = powers * signs * scale[:, None]
    with_it, without = (fitted(weight, scale=scale).rounded.values.view(8, 16) for scale in ("csd", "po2"))
    assert torch.equal(with_it, weight)
    assert not torch.equal(without, weight)


def test_no_row_is_finer_than_allowed() -> None:
    weight = torch.randn(16, 8, generator=torch.Generator().manual_seed(2)) * SEVEN_QUARTERS.factor
    for scale in ("po2", "csd"):
        assert int(fitted(weight, scale=scale).rounded.fractions.max()) > 4
        assert int(fitted(weight, finest=4, scale=scale).rounded.fractions.max()) <= 4


def test_second_terms_are_counted_without_the_scales() -> None:
    weight = torch.randn(24, 32, generator=torch.Generator().manual_seed(4))
    fit = fitted(weight, second=76)
    assert 38 <= fit.second <= 76
    sign, exponent = (part.numpy() for part in (fit.rounded.sign, fit.rounded.exponent))
    terms = ir.Po2Weight(Constant(sign), Constant(exponent), 11).terms
    assert int((terms > 1).sum()) == fit.second < int(((sign != 0).sum(axis=0) > 1).sum())


def test_second_terms_gain_less_where_a_scale_does_their_work() -> None:
    generator = torch.Generator().manual_seed(5)
    powers = torch.exp2(torch.randint(-6, 1, (4, 6, 3, 3), generator=generator).float())
    weight = Constant((powers * SEVEN_QUARTERS.factor).numpy())
    zeros = Constant(np.zeros(4, dtype=np.float32))
    layer = net.Conv("conv", "input", weight, zeros, Window((3, 3)), 1, pad_values=(0.0,) * 6)
    source = torch.randn(50, 6, generator=generator)
    without, with_it = (expected_gains(layer, source, torch.ones(4), 8, scale) for scale in SCALES.values())
    assert without.shape == with_it.shape == (weight.array.size,)
    assert float(with_it.abs().max()) < 1e-9 < float(without.max())


def test_scales_bring_the_network_closer(bottleneck: net.Network) -> None:
    """On held-out images, with one term a weight, and after distillation, too."""
    images, others = np.split(coarse(400), 2)
    wanted = float_logits(bottleneck, others)
    errors = {}
    for scale, phases in SCALES.items():
        graph = reconstruct(bottleneck, images, ReconstructOptions(budget=0.0, phases=phases), 3)
        assert second_term_fraction(graph) == 0
        assert np.array_equal(emulate(graph, others[:5]), interpret(graph, others[:5]))
        errors[scale] = error(graph, others, wanted)
        convs = [layer for layer in graph.layers if isinstance(layer, ir.Conv)]
        assert any((layer.weight.factors > 1).any() for layer in convs) == (scale == "csd")
        distilled = distill(graph, bottleneck, images, distillation_recipe(2, 0.01), 1)
        assert [layer.weight for layer in distilled.layers if isinstance(layer, ir.Conv)] == [
            layer.weight for layer in convs
        ]
    assert errors["csd"] < 0.8 * errors["po2"]


def float_logits(network: net.Network, images: np.ndarray) -> np.ndarray:
    from hsflow_torch.module import NetworkModule

    with torch.no_grad():
        return np.asarray(NetworkModule(network)(torch.from_numpy(images)).numpy())


def error(graph: ir.Graph, images: np.ndarray, wanted: np.ndarray) -> float:
    """Return the squared error of the logits as a share of their variance."""
    dense = graph.classifier
    assert dense is not None
    found = emulate(graph, images) * 2.0**-dense.fraction
    return float(np.square(found - wanted).mean() / wanted.var(axis=0).mean())


def test_weights_over_their_factors_by_hand() -> None:
    integers = np.array([[3, 6, -12], [1, 5, 0], [0, 3, 0], [0, 0, 0], [21, -42, 21]])
    bits = np.arange(6).reshape(-1, 1, 1)
    used = (np.abs(integers) >> bits) & 1
    sign = (used * np.sign(integers)).astype(np.int8)[..., np.newaxis, np.newaxis]
    exponent = (used * bits).astype(np.int8)[..., np.newaxis, np.newaxis]
    weight = ir.Po2Weight(Constant(sign), Constant(exponent), 6)
    assert np.array_equal(weight.integers.reshape(5, 3), integers)
    # A single weight of 3 has two terms: a factor would save nothing.
    assert weight.factors.tolist() == [3, 1, 1, 1, 21]
    assert weight.codes.reshape(5, 3).tolist() == [[1, 2, -4], [1, 5, 0], [0, 3, 0], [0, 0, 0], [1, -2, 1]]
    assert weight.terms.reshape(5, 3).tolist() == [[1, 1, 1], [1, 2, 0], [0, 2, 0], [0, 0, 0], [1, 1, 1]]


def test_the_stage_takes_the_option() -> None:
    network = lower(randomize(torch.nn.Sequential(torch.nn.Conv2d(1, 6, 3), torch.nn.ReLU())), Shape(1, 8, 8))
    graphs = {
        scale: Po2Quantizer().run(network, Po2Options(mode="ptq", scale=scale), Context())  # type: ignore[arg-type]
        for scale in SCALES
    }
    (plain,), (scaled,) = (graph.layers for graph in graphs.values())
    assert isinstance(plain, ir.Conv) and isinstance(scaled, ir.Conv)
    assert (plain.weight.factors == 1).all() and (scaled.weight.factors > 1).any()


@pytest.mark.parametrize("choice", [{"mode": "qat"}, {}, {"mode": "ptq", "reconstruction": False}])
def test_scales_are_for_quantization_without_training(choice: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match='scale = "csd" is for mode = "ptq"'):
        Po2Options(scale="csd", **choice)  # type: ignore[arg-type]
    Po2Options(scale="po2", **choice)  # type: ignore[arg-type]
