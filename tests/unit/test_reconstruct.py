# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization layer by layer: rounding with compensated errors, budgets, scales."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hsflow_po2.budget import Allowance, share_out
from hsflow_po2.codebook import codebook
from hsflow_po2.compensate import Codes, Problem, compensate, loss, refine, second_terms
from hsflow_po2.emulator import emulate
from hsflow_po2.fit import fit_conv
from hsflow_po2.moments import Halves, Moments, choose_pixels, mean_patches, patches
from hsflow_po2.quantize import second_term_fraction
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_po2.scales import choose_scales
from hsflow_po2.simulate import AverageModule
from hsflow_po2.stage import Po2Options, Po2Quantizer
from hsflow_po2.survey import survey
from hsflow_prune.magnitude import prune
from hsflow_torch.lower import lower
from hsflow_torch.module import NetworkModule, convolve
from hsflow_torch.stage import TorchLoader, TorchOptions
from pydantic import ValidationError
from torch import Tensor, nn

from hsflow.errors import ModelError
from hsflow.ir import graph as ir
from hsflow.ir import network as net
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import Constant, Padding, Shape, Window
from tests.torch_models import CHECKPOINT, Bottleneck, Context, coarse, pixels, randomize, small

ONE, TWO = codebook(8, 1), codebook(8, 2)


@pytest.fixture(scope="module")
def trained() -> net.Network:
    return TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), Context())


def problem(seed: int, problems: int = 1, rows: int = 24, size: int = 40) -> Problem:
    """Return a problem with strongly dependent inputs."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(problems, 300, size // 4, generator=generator) @ torch.randn(
        problems, size // 4, size, generator=generator
    )
    seen = mixed + 0.3 * torch.randn(problems, 300, size, generator=generator)
    target = 0.3 * torch.randn(problems, rows, size, generator=generator)
    zero = torch.rand(target.shape, generator=generator) < 0.2
    unit = torch.ones(problems, rows, 1)
    return Problem(seen.transpose(1, 2) @ seen / 300, target.masked_fill(zero, 0.0), zero, 128 * unit, unit)


def nearest(given: Problem, codes: Codes) -> Tensor:
    diagonal = given.hessian.diagonal(dim1=1, dim2=2)[:, None]
    return codes.round(given.target, diagonal, given.scale).masked_fill(given.zero, 0.0)


@pytest.mark.parametrize("levels", [1, 3, 8])
def test_the_codebook_holds_every_sum(levels: int) -> None:
    single = {0, *(sign << e for e in range(levels) for sign in (1, -1))}
    book = codebook(levels, 2)
    assert book.values.tolist() == sorted({a + b for a in single for b in single})
    sign, exponent = book.codes(book.values)
    assert torch.equal((sign * 2.0**exponent).sum(dim=0), book.values)
    assert ((sign != 0) | (exponent == 0)).all() and exponent.max() < levels
    alone = (sign != 0).sum(dim=0) < 2
    assert set(book.values[alone].int().tolist()) == single
    values = torch.linspace(-600, 600, 4001)
    found = (book.nearest(values) - values).abs()
    assert torch.allclose(found, (book.values[:, None] - values).abs().amin(dim=0))


@pytest.mark.parametrize("price", [math.inf, 0.05, 0.0])
@pytest.mark.parametrize("problems", [1, 5])
def test_compensated_errors_are_smaller_than_rounding_s(price: float, problems: int) -> None:
    given, codes = problem(1, problems), Codes(ONE, TWO, price)
    plain, rounded = nearest(given, codes), compensate(given, codes)
    refined = refine(given, rounded, codes, 4)
    errors = [float(loss(given, weight).sum()) for weight in (plain, rounded, refined)]
    assert errors[1] < 0.8 * errors[0] and errors[2] < errors[1]
    for weight in (rounded, refined):
        assert (weight[given.zero] == 0).all()
        assert torch.equal(TWO.nearest(weight * given.scale), weight * given.scale)
    if price == math.inf:
        assert not second_terms(refined, given.scale, codes).any()


def test_refinement_never_makes_a_row_worse() -> None:
    given, codes = problem(3), Codes(ONE, TWO, math.inf)
    weight = compensate(given, codes)
    for _ in range(5):
        better = refine(given, weight, codes, 1)
        assert (loss(given, better) <= loss(given, weight) * (1 + 1e-5)).all()
        weight = better
    assert torch.equal(refine(given, weight, codes, 9), refine(given, weight, codes, 30))


def test_a_higher_price_buys_fewer_second_terms() -> None:
    given = problem(2)
    counts, errors = [], []
    for price in (0.0, 0.01, 0.1, 1.0, math.inf):
        codes = Codes(ONE, TWO, price)
        weight = refine(given, compensate(given, codes), codes, 3)
        counts.append(int(second_terms(weight, given.scale, codes).sum()))
        errors.append(float(loss(given, weight).sum()))
    assert counts == sorted(counts, reverse=True) and counts[-1] == 0 < counts[1] < counts[0]
    assert all(after < 1.1 * before for before, after in itertools.pairwise(errors[::-1]))


def test_second_terms_go_where_they_gain_most() -> None:
    gains = {"a": torch.tensor([5.0, 1.0, 4.0]), "b": torch.tensor([3.0, 2.0]), "c": torch.zeros(1)}
    assert share_out(gains, 0) == {"a": 0, "b": 0, "c": 0}
    assert share_out(gains, 3) == {"a": 2, "b": 1, "c": 0}
    assert share_out(gains, 99) == {"a": 3, "b": 2, "c": 1}
    allowance = Allowance(dict(gains), 3)
    assert allowance.take("a") == 2
    allowance.spend("a", 1)
    assert allowance.take("b") == 2, "what the first left over"


@pytest.mark.parametrize("share", [0.3, 0.75, 0.8])
def test_an_allowance_is_spent_where_some_channels_are_nearly_dead(share: float) -> None:
    """Gains span many orders of magnitude then, and prices are hard to find."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.cat([torch.full((16,), 1e-9), torch.logspace(-2, 1, 80)])[:, None, None]
    weight = torch.randn(96, 1, 3, 3, generator=generator)
    mixed = torch.randn(96, 60, 3, generator=generator) @ torch.randn(96, 3, 9, generator=generator)
    x = sizes * (mixed + 0.2 * torch.randn(96, 60, 9, generator=generator))
    t = x @ weight.view(96, 9, 1)
    halves = Halves(0.0, 2)
    halves.add(x, t, 30)
    halves.add_means(x.view(96, 30, 2, 9).mean(dim=2), t.view(96, 30, 2, 1).mean(dim=2))
    second = int(share * weight.numel())
    fit = fit_conv(weight, halves, torch.ones(96), torch.full((96,), 30), second, 8)
    assert 0.9 * second <= fit.second <= second


@pytest.mark.parametrize(
    ("groups", "outputs", "kernel", "stride"), [(1, 8, 3, 2), (6, 6, 3, 1), (2, 4, 1, 1)]
)
def test_patches_are_what_the_kernel_sees(groups: int, outputs: int, kernel: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(outputs, 6 // groups, kernel, kernel, generator=generator)
    padding = Padding(0, 1, 1, 0) if kernel > 1 else Padding()
    window = Window((kernel, kernel), (stride, stride), (1, 1), padding)
    zeros = Constant(np.zeros(outputs, dtype=np.float32))
    layer = net.Conv("conv", "input", Constant(weight.numpy()), zeros, window, groups, pad_values=(0.5,) * 6)
    x = torch.randn(4, 6, 8, 10, generator=generator)
    wanted = convolve(x, weight, torch.zeros(outputs), layer)
    chosen = choose_pixels(wanted.shape[2], wanted.shape[3], 4, 30, generator)
    seen = patches(x, layer, chosen, wanted.shape[3])
    found = (seen @ weight.view(groups, outputs // groups, -1).transpose(1, 2)).transpose(0, 1).flatten(1)
    taken = wanted.permute(0, 2, 3, 1).flatten(1, 2)[torch.arange(4)[:, None], chosen].flatten(0, 1)
    assert torch.allclose(found, taken, atol=1e-4)
    averages = mean_patches(x, layer, *wanted.shape[2:])
    found = (averages @ weight.view(groups, outputs // groups, -1).transpose(1, 2)).transpose(0, 1)
    assert torch.allclose(found.flatten(1), wanted.mean(dim=(2, 3)), atol=1e-4)


def test_moments_are_covariances() -> None:
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(2, 50, 3, generator=generator) + 1, torch.randn(2, 50, 4, generator=generator)
    moments = Moments()
    for part in (slice(0, 20), slice(20, 50)):
        moments.add(x[:, part], t[:, part])
    found = moments.centred()
    assert np.allclose(found.hessian[1], np.cov(x[1].T, bias=True), atol=1e-5)
    assert np.allclose(found.cross[1], np.cov(t[1].T, x[1].T, bias=True)[:4, 4:], atol=1e-5)


def test_halves_are_of_every_second_image() -> None:
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(1, 60, 3, generator=generator), torch.randn(1, 60, 4, generator=generator)
    halves = Halves(0.25, 10)
    images = x.view(6, 10, 3)
    halves.add(x[:, :40], t[:, :40], 4)
    halves.add(x[:, 40:], t[:, 40:], 2)
    halves.add_means(images.mean(dim=1)[None], t.view(6, 10, 4).mean(dim=1)[None])
    for half, chosen in zip(
        (*halves.apart(), halves.together()), (images[::2], images[1::2], images), strict=True
    ):
        pixels, means = chosen.flatten(0, 1), chosen.mean(dim=1)
        wanted = 0.75 * np.cov(pixels.T, bias=True) + 0.25 * 10 * np.cov(means.T, bias=True)
        assert np.allclose(half.hessian[0], wanted, atol=1e-5)
        assert torch.allclose(half.inputs[0].float(), pixels.mean(dim=0), atol=1e-5)


@pytest.fixture(scope="module")
def bottleneck() -> net.Network:
    return lower(randomize(Bottleneck()), Shape(3, 12, 12))


def error(graph: ir.Graph, network: net.Network, images: np.ndarray) -> float:
    """Return the squared error of the logits as a share of their variance."""
    with torch.no_grad():
        wanted = NetworkModule(network)(torch.from_numpy(images)).numpy()
    dense = graph.classifier
    assert dense is not None
    found = emulate(graph, images) * 2.0**-dense.fraction
    return float(np.square(found - wanted).mean() / wanted.var(axis=0).mean())


def options(budget: float, **changes: object) -> ReconstructOptions:
    return replace(ReconstructOptions(budget=budget), **changes)  # type: ignore[arg-type]


def test_scales_are_shared_where_they_must_be(bottleneck: net.Network) -> None:
    images = torch.from_numpy(pixels(bottleneck, 40))
    looked = survey(AverageModule(bottleneck), images, 1, 16)
    scales = choose_scales(bottleneck, looked.samples, 8)
    added = next(layer for layer in bottleneck.layers if isinstance(layer, net.Add))
    left, right = (scales[source] for source in added.sources)
    total = scales[added.name]
    assert torch.equal(left.gain, total.gain) and torch.equal(right.gain, total.gain)
    assert torch.allclose(left.offset + right.offset, total.offset)
    assert any(float(scale.gain.min()) < 1 for scale in scales.values())
    assert float(total.offset.abs().max()) > 0
    for layer in bottleneck.layers:
        if isinstance(layer, net.Conv) and layer.window.padding != Padding():
            assert not scales[layer.source].offset.any()


def test_each_means_helps(bottleneck: net.Network) -> None:
    """On held-out images: second terms help, as do free scales and refinement."""
    images, others = np.split(coarse(400), 2)
    graphs = {budget: reconstruct(bottleneck, images, options(budget), 1) for budget in (0.0, 0.15, 1.0)}
    errors = {budget: error(graph, bottleneck, others) for budget, graph in graphs.items()}
    assert errors[1.0] < errors[0.15] < errors[0.0] and errors[1.0] < 0.03
    for budget, graph in graphs.items():
        assert second_term_fraction(graph) <= budget
        assert np.array_equal(emulate(graph, others[:5]), interpret(graph, others[:5]))
    assert second_term_fraction(graphs[0.15]) > 0.13


def test_a_seed_gives_one_graph(bottleneck: net.Network) -> None:
    images = pixels(bottleneck, 40)
    first = reconstruct(bottleneck, images, options(0.2), 1)
    assert reconstruct(bottleneck, images, options(0.2), 1) == first
    assert reconstruct(bottleneck, images[::-1].copy(), options(0.2), 1) != first


def test_pruned_weights_stay_zero(trained: net.Network) -> None:
    thin = prune(trained, 0.5, "unstructured", "global")
    graph = reconstruct(thin, small(128).dataset.train_images, options(0.1), 1)
    for layer in thin.layers:
        if isinstance(layer, net.Conv):
            conv = graph.layer(layer.name)
            assert isinstance(conv, ir.Conv) and layer.mask is not None
            assert (conv.weight.integers[~layer.mask.array] == 0).all()


def test_weights_that_are_not_finite_are_refused(bottleneck: net.Network) -> None:
    first = bottleneck.layers[0]
    assert isinstance(first, net.Conv)
    bad = replace(first, bias=Constant(np.full(first.bias.array.shape, np.nan, dtype=np.float32)))
    broken = replace(bottleneck, layers=(bad, *bottleneck.layers[1:]))
    with pytest.raises(ModelError, match="not finite"):
        reconstruct(broken, pixels(bottleneck, 8), options(0.0), 1)


def test_a_dead_channel_and_a_constant_image() -> None:
    module = randomize(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU6()))
    module[0].weight.data[0] = 0
    module[0].bias.data[0] = -1
    network = lower(module, Shape(1, 6, 6))
    for images in (pixels(network, 20), np.full((3, 1, 6, 6), 7, dtype=np.uint8)):
        graph = reconstruct(network, images, options(0.2), 1)
        assert np.array_equal(emulate(graph, images), interpret(graph, images))


def test_the_stage_reconstructs(trained: net.Network) -> None:
    rounded, fitted = Context(), Context()
    Po2Quantizer().run(trained, Po2Options(mode="ptq", reconstruction=False), rounded)
    graph = Po2Quantizer().run(trained, Po2Options(mode="ptq", second_term_budget=0.1), fitted)
    assert fitted.metrics["accuracy_po2"] > rounded.metrics["accuracy_po2"]
    assert fitted.metrics["second_term_fraction"] == second_term_fraction(graph) <= 0.1


@pytest.mark.parametrize(
    "choice",
    [
        {"second_term_budget": 0.1},
        {"mode": "ptq", "terms": 2, "second_term_budget": 0.1},
        {"mode": "ptq", "reconstruction": False, "second_term_budget": 0.1},
        {"mode": "ptq", "second_term_budget": 1.5},
    ],
)
def test_contradictions_are_refused(choice: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Po2Options(**choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_fit_follows_the_images_as_far_as_others_confirm(noise: float) -> None:
    """What a layer's input lacks is made up for where it is a rule, and left alone where it is chance."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(4, 12, generator=generator)
    x = torch.randn(1, 40 * 2, 12, generator=generator)
    lost = 0.5 * torch.randn(4, 12, generator=generator) if not noise else torch.zeros(4, 12)
    t = x @ (weight + lost).T + noise * torch.randn(1, 80, 4, generator=generator)
    halves = Halves(0.0, 2)
    halves.add(x, t, 40)
    halves.add_means(x.view(40, 2, 12).mean(dim=1)[None], t.view(40, 2, 4).mean(dim=1)[None])
    fit = fit_conv(weight.view(4, 12, 1, 1), halves, torch.ones(4), torch.full((4,), 30), weight.numel(), 8)
    change = fit.rounded.values.view(4, 12) - weight
    assert (change - lost).square().mean() < 0.02
