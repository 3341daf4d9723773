# SPDX-License-Identifier: Apache-2.0
"""Magnitude pruning: exact shares, exact zeros, and zeros that stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hsflow_prune.magnitude import prune, zero_fraction
from hsflow_prune.stage import MagnitudeOptions, MagnitudePruner, NoPruner, sparsities
from hsflow_torch.lower import lower
from hsflow_torch.models.digits import DigitsNet
from hsflow_torch.stage import TorchLoader, TorchOptions
from pydantic import ValidationError
from torch import nn

from hsflow.errors import ModelError
from hsflow.ir.network import Conv, Dense, Network
from hsflow.ir.tensor import Shape
from tests.torch_models import CHECKPOINT, Context, randomize, small


@pytest.fixture(scope="module")
def network() -> Network:
    return lower(randomize(DigitsNet()), Shape(1, 8, 8))


def convs(network: Network) -> list[Conv]:
    return [layer for layer in network.layers if isinstance(layer, Conv)]


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_share_of_zeros(network: Network, sparsity: float, scope: str) -> None:
    pruned = prune(network, sparsity, "unstructured", scope)
    groups = [convs(pruned)] if scope == "global" else [[conv] for conv in convs(pruned)]
    for group in groups:
        size = sum(conv.weight.array.size for conv in group)
        zeros = sum(int((conv.weight.array == 0).sum()) for conv in group)
        assert zeros == int(np.ceil(sparsity * size - 1e-9))


def test_the_smallest_go_and_the_rest_is_untouched(network: Network) -> None:
    pruned = prune(network, 0.6, "unstructured", "global")
    gone, kept = [], []
    for before, after in zip(convs(network), convs(pruned), strict=True):
        assert after.mask is not None
        mask = after.mask.array
        assert np.array_equal(after.weight.array, np.where(mask, before.weight.array, 0))
        gone.append(np.abs(before.weight.array[~mask]))
        kept.append(np.abs(before.weight.array[mask]))
    assert np.concatenate(gone).max() <= np.concatenate(kept).min()


def test_the_given_network_and_the_classifier_stay(network: Network) -> None:
    assert zero_fraction(network) == 0
    pruned = prune(network, 0.5, "unstructured", "global")
    assert zero_fraction(network) == 0
    assert isinstance(pruned.layers[-1], Dense) and pruned.layers[-1] == network.layers[-1]


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", [0.3, 0.99])
def test_channels_go_whole_but_never_all(network: Network, scope: str, sparsity: float) -> None:
    for conv in convs(prune(network, sparsity, "channel", scope)):
        zeros = (conv.weight.array == 0).reshape(conv.weight.array.shape[0], -1)
        assert (zeros.all(axis=1) == zeros.any(axis=1)).all()
        assert not zeros.all()
        if scope == "layer":
            channels = len(zeros)
            assert zeros.all(axis=1).sum() == min(int(np.ceil(sparsity * channels - 1e-9)), channels - 1)


def test_what_was_pruned_stays_pruned(network: Network) -> None:
    once = prune(network, 0.3, "unstructured", "global")
    twice = prune(once, 0.6, "unstructured", "layer")
    for first, second in zip(convs(once), convs(twice), strict=True):
        assert first.mask is not None and second.mask is not None
        assert not (second.mask.array & ~first.mask.array).any()


def test_skipped_layers_stay(network: Network) -> None:
    pruned = prune(network, 0.5, "unstructured", "layer", ("features.0.0",))
    assert convs(pruned)[0] == convs(network)[0]
    with pytest.raises(ModelError, match=r"features\.9"):
        MagnitudePruner().run(network, MagnitudeOptions(skip=("features.9",)), Context())


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_nothing_to_prune(network: Network, scope: str) -> None:
    names = tuple(conv.name for conv in convs(network))
    assert prune(network, 0.5, "unstructured", scope, names) == network
    with pytest.raises(ModelError, match="no layer is left to prune"):
        MagnitudePruner().run(network, MagnitudeOptions(skip=names), Context())
    flat = lower(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), Shape(1, 8, 8))
    last = flat.layers[-1]
    assert isinstance(last, Dense)
    dense = replace(flat, layers=(replace(last, source="input"),))
    assert prune(dense, 0.5, "channel", scope) == dense
    MagnitudePruner().run(dense, MagnitudeOptions(epochs=0), Context())


def test_one_shot_is_one_step() -> None:
    MagnitudeOptions(schedule="one-shot", steps=1)
    with pytest.raises(ValidationError, match="one-shot prunes in one"):
        MagnitudeOptions(schedule="one-shot", steps=2)


def test_gradual_schedule_ends_at_the_goal_with_shrinking_steps() -> None:
    found = sparsities(MagnitudeOptions(sparsity=0.8, schedule="gradual", steps=4))
    assert found[-1] == pytest.approx(0.8) and len(found) == 4
    growth = np.diff([0.0, *found])
    assert (np.diff(growth) < 0).all()
    assert sparsities(MagnitudeOptions(sparsity=0.8, schedule="one-shot")) == (0.8,)


def test_fine_tuning_keeps_zeros_recovers_and_repeats() -> None:
    context = small()
    network = TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), context)
    options = MagnitudeOptions(sparsity=0.5, schedule="one-shot", epochs=2)
    tuned = MagnitudePruner().run(network, options, context)
    accuracy, zeros = context.metrics["accuracy_pruned"], context.metrics["zero_fraction"]
    assert zeros >= 0.5 and zero_fraction(tuned) == zeros
    MagnitudePruner().run(network, options.model_copy(update={"epochs": 0}), context)
    assert accuracy > context.metrics["accuracy_pruned"] + 5
    assert MagnitudePruner().run(network, options, context) == tuned
    assert MagnitudePruner().run(network, options, small(seed=2)) != tuned


def test_none_changes_nothing(network: Network) -> None:
    context = Context()
    assert NoPruner().run(network, NoPruner.options_model(), context) is network
    assert context.metrics["zero_fraction"] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"sparsity": 1.0},
        {"sparsity": -0.1},
        {"granularity": "row"},
        {"steps": 0},
        {"typo": 1},
        {"schedule": "one-shot", "steps": 3},
    ],
)
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MagnitudeOptions(**options)  # type: ignore[arg-type]
