# SPDX-License-Identifier: Apache-2.0
"""Po2 quantization: rounding, formats, export, training, and the programmable layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hsflow_po2.averages import absorb_averages
from hsflow_po2.dense import quantize_dense
from hsflow_po2.emulator import emulate
from hsflow_po2.export import _without_trailing_zeros, export_graph
from hsflow_po2.finetune import finetune_classifier, pad_classes
from hsflow_po2.formats import FRACTION_SPREAD, FormatOptions, calibrate, observe
from hsflow_po2.quantize import BestEpoch, QuantizeOptions, quantize, zero_fraction
from hsflow_po2.rounding import Po2Rounding, RoundedWeight
from hsflow_po2.simulate import AverageModule, QuantizedModule
from hsflow_po2.stage import Po2Options, Po2Quantizer
from hsflow_prune.magnitude import prune
from hsflow_torch.lower import lower
from hsflow_torch.models.digits import DigitsNet
from hsflow_torch.module import NetworkModule
from hsflow_torch.stage import TorchLoader, TorchOptions
from hsflow_torch.training import Recipe, accuracy, fit
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from hsflow.errors import ModelError
from hsflow.ir import graph as ir
from hsflow.ir import network as net
from hsflow.ir.interp import convolve, interpret
from hsflow.ir.tensor import Constant, Shape
from hsflow.ir.verify import verify
from tests.random_graphs import GraphBuilder, square
from tests.torch_models import CHECKPOINT, Context, pixels, randomize, small


@pytest.fixture(scope="module")
def trained() -> net.Network:
    return TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), Context())


@pytest.fixture(scope="module")
def pruned(trained: net.Network) -> net.Network:
    return prune(trained, 0.3, "unstructured", "global")


def export(network: net.Network, width: int = 8, rounding: Po2Rounding | None = None) -> ir.Graph:
    """Return the graph of a network without any training."""
    labels = np.zeros(8, dtype=np.int64)
    options = QuantizeOptions(FormatOptions(width))
    return quantize(network, pixels(network, 8), labels, options, 1, rounding=rounding)


def nearest(value: float, levels: int, fraction: int) -> float:
    """Return the nearest representable value, by trying them all; of equals the larger."""
    codes = [0.0, *(sign * 2.0 ** (e - fraction) for sign in (-1, 1) for e in range(levels))]
    return min(codes, key=lambda code: (abs(code - value), -abs(code)))


@given(value=st.floats(-300, 300, width=32), levels=st.integers(1, 10), fraction=st.integers(-3, 6))
@settings(max_examples=300, deadline=None)
def test_one_term_is_the_nearest(value: float, levels: int, fraction: int) -> None:
    rounded = Po2Rounding(levels)(torch.tensor([[value]]), torch.tensor([fraction]))
    assert float(rounded.values[0, 0]) == nearest(value, levels, fraction)


@given(seed=st.integers(0, 10**6), levels=st.integers(1, 10), terms=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_rounded_weights_are_legal(seed: int, levels: int, terms: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, 3, 2, 2, generator=generator) * torch.exp(
        3 * torch.randn(5, 1, 1, 1, generator=generator)
    )
    weight[torch.rand(weight.shape, generator=generator) < 0.3] = 0
    weight[2] = 0
    rounding = Po2Rounding(levels, terms)
    rounded = rounding(weight, rounding.place(weight))
    assert (rounded.values[weight == 0] == 0).all()
    assert ((rounded.exponent >= 0) & (rounded.exponent < levels)).all()
    assert (rounded.exponent[rounded.sign == 0] == 0).all()
    more = Po2Rounding(levels, terms + 1)(weight, rounded.fractions)
    assert (more.values - weight).abs().max() <= (rounded.values - weight).abs().max()


def test_the_window_is_placed_by_squared_error() -> None:
    weight = torch.tensor([[0.9, 0.5, 0.24], [8.1, 1.0, 0.01], [1.0, 0.13, 0.13]])
    for levels in (1, 2, 3, 8):
        rounding = Po2Rounding(levels)
        placed = rounding.place(weight)
        for step in (-2, -1, 1, 2):
            other = rounding(weight, placed + step).values
            chosen = rounding(weight, placed).values
            worse = (other - weight).square().sum(1) - (chosen - weight).square().sum(1)
            assert (worse >= -1e-6).all()


@dataclass(frozen=True)
class Ternary:
    """A rounding of a plugin: signs only, one magnitude a channel."""

    levels: int = 1

    def place(self, weight: Tensor) -> Tensor:
        mean = weight.abs().flatten(1).mean(1).clamp(min=1e-9)
        return -torch.log2(mean).round().long()

    def __call__(self, weight: Tensor, fractions: Tensor) -> RoundedWeight:
        unit = torch.exp2(-fractions.float()).view(-1, 1, 1, 1)
        sign = torch.where(weight.abs() < unit / 2, 0.0, weight.sign()).to(torch.int8)[None]
        return RoundedWeight(sign, torch.zeros_like(sign), fractions)


class Binary(Ternary):
    """A wrong rounding: it knows no zero."""

    def __call__(self, weight: Tensor, fractions: Tensor) -> RoundedWeight:
        return super().__call__(torch.where(weight == 0, 100.0, weight), fractions)


def test_a_rounding_that_revives_pruned_weights_is_refused(pruned: net.Network) -> None:
    data = Context().dataset
    with pytest.raises(ModelError, match="undoes pruning"):
        quantize(pruned, data.train_images, data.train_labels, QuantizeOptions(), 1, rounding=Binary())


def test_stranger_rounding_is_used(trained: net.Network) -> None:
    data = Context().dataset
    graph = quantize(trained, data.train_images, data.train_labels, QuantizeOptions(), 1, rounding=Ternary())
    convs = [layer for layer in graph.layers if isinstance(layer, ir.Conv)]
    assert all(np.abs(conv.weight.integers).max() <= 1 for conv in convs)
    assert zero_fraction(graph) > 0.1


def test_formats_hold_what_was_seen(trained: net.Network) -> None:
    images = torch.from_numpy(Context().dataset.train_images[:200])
    module = AverageModule(trained)
    formats = calibrate(module, images, FormatOptions(8, 100.0))
    with torch.no_grad():
        maps = module.feature_maps(images)
    for layer in trained.layers[:-1]:
        form = formats[layer.name]
        relu6 = getattr(layer, "activation", None) is net.Activation.RELU6
        assert form.signed != (relu6 or isinstance(layer, net.AveragePool))
        spread = max(form.fractions) - min(form.fractions)
        assert spread <= FRACTION_SPREAD
        for channel, fraction in enumerate(form.fractions):
            largest = float(maps[layer.name][:, channel].abs().max())
            assert largest * 2.0**fraction <= (127.5 if form.signed else 255.5)
            assert not relu6 or form.high[channel] == min(255, int(6 * 2.0**fraction))


@pytest.mark.parametrize("percentile", [60.0, 99.0, 100.0])
def test_observed_ranges_are_the_largest_percentile_of_a_batch(
    trained: net.Network, percentile: float
) -> None:
    images = torch.from_numpy(Context().dataset.train_images[:150])
    module = AverageModule(trained)
    found = observe(module, images, percentile)
    with torch.no_grad():
        maps = module.feature_maps(images)
    for name, value in maps.items():
        batches = [
            np.percentile(part.abs().transpose(0, 1).flatten(1), percentile, axis=1, method="inverted_cdf")
            for part in torch.split(value, 64)
        ]
        assert np.allclose(found[name], np.max(batches, axis=0), atol=1e-4)
        within = value.abs().transpose(0, 1).flatten(1) <= found[name][:, None] + 1e-4
        assert (within.double().mean(1) >= percentile / 100).all()


@pytest.mark.parametrize("width", [1, 2, 5, 16])
@pytest.mark.parametrize("terms", [1, 2])
def test_every_width_exports_a_legal_graph(trained: net.Network, width: int, terms: int) -> None:
    graph = export(trained, width, Po2Rounding(8, terms))
    images = Context().dataset.test_images[:9]
    assert np.array_equal(emulate(graph, images), interpret(graph, images))
    assert all(
        form.format.width == width for name, form in graph.feature_maps.items() if name.startswith("features")
    )


def test_simulation_computes_the_graph(pruned: net.Network) -> None:
    """What training sees is what the graph computes."""
    images = Context().dataset.test_images[:100]
    sample = torch.from_numpy(images)
    module = QuantizedModule(pruned, Po2Rounding(), calibrate(AverageModule(pruned), sample, FormatOptions()))
    graph = export_graph(module)
    with torch.no_grad():
        logits = module.eval()(sample).double().numpy()
    dense = graph.classifier
    assert dense is not None
    assert np.allclose(logits, emulate(graph, images) * 2.0**-dense.fraction, atol=1e-4)


def test_pruned_weights_stay_zero_through_training(pruned: net.Network) -> None:
    context = small(128)
    graph = Po2Quantizer().run(pruned, Po2Options(epochs=1), context)
    for layer in graph.layers:
        if isinstance(layer, ir.Conv):
            conv = next(known for known in pruned.layers if known.name == layer.name)
            assert isinstance(conv, net.Conv) and conv.mask is not None
            assert (layer.weight.integers[~conv.mask.array] == 0).all()
    assert context.metrics["zero_fraction"] == zero_fraction(graph) >= 0.3
    assert context.metrics["weights"] == conv_weights(DigitsNet())
    assert Po2Quantizer().run(pruned, Po2Options(epochs=1), small(128)) == graph
    assert Po2Quantizer().run(pruned, Po2Options(epochs=1), small(128, seed=2)) != graph


def test_training_lets_gradients_through(pruned: net.Network) -> None:
    sample = torch.from_numpy(Context().dataset.train_images[:32])
    module = QuantizedModule(pruned, Po2Rounding(), calibrate(AverageModule(pruned), sample, FormatOptions()))
    module(sample).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_two_terms_without_training_are_nearly_float(trained: net.Network) -> None:
    context = Context()
    Po2Quantizer().run(trained, Po2Options(mode="ptq", terms=2), context)
    float_accuracy = accuracy(
        NetworkModule(trained), context.dataset.test_images, context.dataset.test_labels
    )
    assert context.metrics["accuracy_po2"] >= float_accuracy - 1


def test_bias_correction_helps(trained: net.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    corrected, plain = Context(), Context()
    Po2Quantizer().run(trained, Po2Options(mode="ptq", reconstruction=False), corrected)
    monkeypatch.setattr("hsflow_po2.quantize.correct_biases", lambda *_: None)
    Po2Quantizer().run(trained, Po2Options(mode="ptq", reconstruction=False), plain)
    assert corrected.metrics["accuracy_po2"] > plain.metrics["accuracy_po2"]


@pytest.mark.parametrize("pool", [3, 5, 7])
def test_average_remainders_go_into_the_next_weights(pool: int) -> None:
    module = nn.Sequential(nn.ReLU(), nn.AvgPool2d(pool), nn.MaxPool2d(1), nn.Conv2d(3, 4, 1), nn.Flatten())
    network = lower(randomize(nn.Sequential(*module, nn.Linear(16, 5))), Shape(3, 2 * pool, 2 * pool))
    images = torch.from_numpy(pixels(network))
    with torch.no_grad():
        wanted, found = NetworkModule(network)(images), AverageModule(absorb_averages(network))(images)
        assert torch.allclose(found, wanted, atol=1e-5)
        assert not torch.allclose(AverageModule(network)(images), wanted, atol=1e-2)
    graph = export(network, 16, Po2Rounding(16, 2))
    logits = interpret(graph, pixels(network)) * 2.0 ** -graph.layers[-1].fraction  # type: ignore[union-attr]
    assert np.abs(logits - wanted.numpy()).max() < 0.15


def test_an_average_that_feeds_an_addition_is_refused() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool = nn.Conv2d(2, 2, 3, padding=1), nn.AvgPool2d(3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + self.pool(x)

    with pytest.raises(ModelError, match="add"):
        export(lower(randomize(Branches()), Shape(2, 6, 6)))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_dropping_trailing_zeros_changes_nothing(seed: int) -> None:
    builder = GraphBuilder(Shape(3, 5, 5), seed)
    sign, exponent = builder._weights((1, 6, 3, 3, 3), 0.5, 8)
    floor = builder.rng.integers(0, 6, (1, 6, 1, 1, 1))
    exponent = np.where(sign == 0, 0, np.maximum(exponent, floor))
    sign[:, 4] = exponent[:, 4] = 0
    graph = builder.conv(6, square(3, 1, 1), weight=(sign, exponent)).build()
    conv = graph.layers[0]
    assert isinstance(conv, ir.Conv)
    small_conv = _without_trailing_zeros(conv, graph.input.format)
    tight = verify(replace(graph, layers=(small_conv,)))
    images = builder.rng.integers(0, 256, (4, 3, 5, 5))
    assert np.array_equal(interpret(tight, images), interpret(graph, images))
    assert (
        np.abs(convolve(small_conv, images, graph.input.format)).sum()
        <= np.abs(convolve(conv, images, graph.input.format)).sum()
    )


def test_output_ranges_are_reached_by_nothing_outside(trained: net.Network) -> None:
    graph = export(trained)
    assert any(
        layer.output.high != (255,) * len(layer.output.high)
        for layer in graph.layers
        if isinstance(layer, ir.Conv)
    )
    wide = replace(
        graph,
        layers=tuple(
            replace(layer, output=replace(layer.output, low=(0,) * layer.output.channels))
            if isinstance(layer, ir.Conv) and not layer.output.signed
            else layer
            for layer in graph.layers
        ),
    )
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8))
    assert np.array_equal(interpret(wide, images), interpret(graph, images))


def test_dead_channels_and_tiny_weights() -> None:
    module = randomize(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU6()))
    module[0].weight.data[0] = 0
    module[0].bias.data[0] = -1
    module[0].weight.data[1] *= 1e-12
    module[2].weight.data[1] = -module[2].weight.data[1].abs()
    graph = export(lower(module, Shape(1, 6, 6)))
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 6))
    maps = emulate(graph, images)
    assert np.array_equal(maps, interpret(graph, images))
    assert graph.feature_maps["0"].format.high[0] == 0


def test_dense_uses_its_bits_and_checks_them() -> None:
    source = ir.FeatureMap(Shape(2, 1, 2), GraphBuilder(Shape(2, 1, 2)).format(2))
    weight = np.random.default_rng(0).normal(size=(5, 4))
    layer = quantize_dense("dense", "input", source, weight, np.arange(5.0))
    assert 64 <= np.abs(layer.weight.array.astype(int)).max() <= 127
    fractions = np.tile(source.format.fractions, 2)
    found = layer.weight.array * 2.0 ** (fractions - layer.fraction)
    assert np.allclose(found, weight, atol=2.0 ** (fractions.max() - layer.fraction))
    with pytest.raises(ModelError, match="finite"):
        quantize_dense("dense", "input", source, weight * np.nan, np.arange(5.0))
    huge = quantize_dense("dense", "input", source, weight, np.full(5, 1e12))
    assert huge.bias.array.dtype == np.int32 and huge.bias.array.min() > 0


def test_finetune_learns_another_task_on_the_same_wires(trained: net.Network) -> None:
    context = Context()
    data = context.dataset
    graph = Po2Quantizer().run(trained, Po2Options(mode="ptq", terms=2), context)
    odd = data.train_labels % 2
    taught = finetune_classifier(graph, data.train_images, odd, ("even", "odd"), 1)
    assert taught.layers[:-1] == graph.layers[:-1]
    assert taught.classes[:2] == ("even", "odd") and len(taught.classes) == 10
    picked = emulate(taught, data.test_images).argmax(axis=1)
    assert picked.max() <= 1
    assert (picked == data.test_labels % 2).mean() > 0.95
    assert finetune_classifier(graph, data.train_images, odd, 2, 1).layers == taught.layers
    shuffled = np.random.default_rng(0).permutation(odd)
    nonsense = finetune_classifier(graph, data.train_images, shuffled, 2, 1)
    assert (emulate(nonsense, data.test_images).argmax(1) == data.test_labels % 2).mean() < 0.7


def test_unused_classes_never_win() -> None:
    graph = GraphBuilder(Shape(2, 2, 2)).dense(3).build()
    dense = graph.classifier
    assert dense is not None
    worst = replace(
        dense, weight=Constant(np.zeros((3, 8), dtype=np.int8)), bias=Constant(np.full(3, -(2**31), np.int32))
    )
    padded = verify(replace(graph, layers=(pad_classes(worst, 6),)))
    assert emulate(padded, np.full((1, 2, 2, 2), 255)).argmax() == 0


@pytest.mark.parametrize(
    ("labels", "classes", "reason"),
    [
        (np.zeros(3), 2, "fit together"),
        (np.array([0, 2]), 2, "out of range"),
        (np.array([0, 1]), 11, "classes"),
    ],
)
def test_finetune_checks_the_task(labels: np.ndarray, classes: int, reason: str) -> None:
    graph = GraphBuilder(Shape(2, 2, 2)).dense(3).build()
    images = np.zeros((2, 2, 2, 2), dtype=np.uint8)
    with pytest.raises(ModelError, match=reason):
        finetune_classifier(graph, images, labels.astype(np.int64), classes, 1)
    with pytest.raises(ModelError, match="no programmable layer"):
        hard = GraphBuilder(Shape(2, 2, 2)).conv(2).build()
        finetune_classifier(hard, images, np.zeros(2, dtype=np.int64), 1, 1)


class Overflowing(NetworkModule):
    """Give logits beyond any float."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels) * float("inf")


def test_nan_and_divergence_are_reported(trained: net.Network) -> None:
    data = Context().dataset
    with pytest.raises(ModelError, match="diverged"):
        fit(Overflowing(trained), data.train_images[:64], data.train_labels[:64], Recipe(1, 1e-3), 1)
    first = trained.layers[0]
    assert isinstance(first, net.Conv)
    bad = replace(first, bias=Constant(np.full(first.bias.array.shape, np.nan, dtype=np.float32)))
    with pytest.raises(ModelError, match="not finite"):
        export(replace(trained, layers=(bad, *trained.layers[1:])))


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 0},
        {"terms": 3},
        {"activation_bits": 17},
        {"mode": "none"},
        {"typo": 1},
        {"mode": "ptq", "epochs": 3},
    ],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Po2Options(**options)  # type: ignore[arg-type]


def test_ptq_has_no_epochs() -> None:
    Po2Options(mode="ptq", epochs=0)
    with pytest.raises(ValidationError, match="ptq does not train"):
        Po2Options(mode="ptq", epochs=1)


def test_training_keeps_the_best_epoch(pruned: net.Network) -> None:
    """An epoch that ruins the weights must not be the one that stays."""
    data = small(64).dataset
    sample = torch.from_numpy(data.train_images)
    module = QuantizedModule(pruned, Po2Rounding(), calibrate(AverageModule(pruned), sample, FormatOptions()))
    best = BestEpoch(module, data.train_images, data.train_labels, 0.0, 1)
    best.visit()
    kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        module.parameters_of(pruned.layers[0]).weight.mul_(-1)
    best.visit()
    best.restore()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in module.state_dict().items())


@pytest.mark.slow
def test_digits_from_checkpoint_to_graph() -> None:
    """The bars: hardened at most one point below float, half of the weights gone."""
    from hsflow_prune.stage import MagnitudeOptions, MagnitudePruner

    context = Context()
    network = TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), context)
    thin = MagnitudePruner().run(network, MagnitudeOptions(), context)
    graph = Po2Quantizer().run(thin, Po2Options(), context)
    assert context.metrics["accuracy_po2"] >= context.metrics["accuracy_float"] - 1
    assert context.metrics["zero_fraction"] >= 0.5
    images = context.dataset.test_images[:50]
    assert np.array_equal(emulate(graph, images), interpret(graph, images))


def conv_weights(module: nn.Module) -> int:
    """Return the number of a module's convolution weights."""
    return sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Conv2d))
