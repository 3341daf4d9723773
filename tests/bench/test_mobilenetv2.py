# SPDX-License-Identifier: Apache-2.0
"""The MobileNetV2 benchmark: no scored image calibrates, and scores count what they say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tflite", reason="the extra hsflow[tflite] is not installed")

from random_graphs import GraphBuilder, square

from benchmarks.mobilenetv2.accuracy import _divergence, _score, folds
from hsflow.ir.tensor import Shape


@pytest.mark.parametrize("both", [False, True])
def test_no_image_is_scored_by_a_network_that_saw_it(both: bool) -> None:
    scored = []
    for calibration, held_out in folds(11, both):
        assert not set(calibration.tolist()) & set(held_out.tolist())
        scored += held_out.tolist()
    assert sorted(scored) == (list(range(11)) if both else list(range(1, 11, 2)))


def test_scores_count_labels_agreement_and_terms() -> None:
    # One output with the scale 3 and weights of one term each, one with weights 1, 5 and 0.
    sign = np.array([[[1, 1, -1], [1, 1, 0]], [[1, 1, -1], [0, 1, 0]]])[..., np.newaxis, np.newaxis]
    exponent = np.array([[[1, 2, 3], [0, 2, 0]], [[0, 1, 2], [0, 0, 0]]])[..., np.newaxis, np.newaxis]
    graph = GraphBuilder(Shape(3, 4, 4), 1).conv(2, square(1), weight=(sign, exponent)).build("scored")
    logits = np.array([[9, 1, 2, 3, 4, 5, 6], [0, 7, 6, 5, 4, 3, 2]])
    reference = np.array([[9, 0, 0, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0, 0]])
    found = _score("name", logits, reference, np.array([0, 6]), graph, 0.0)
    assert (found.top1, found.top5, found.agreement) == (50.0, 50.0, 50.0)
    assert found.extra_adders == 2, "one for 5, one for the scale"
    assert found.second_terms == found.zeros == pytest.approx(100 / 6)


def test_divergence_is_that_of_the_classes() -> None:
    one = np.log(np.array([[0.5, 0.25, 0.25]]))
    other = np.log(np.array([[0.25, 0.25, 0.5]])) + 7
    assert _divergence(one, one + 3) == pytest.approx(0, abs=1e-12)
    assert _divergence(one, other) == pytest.approx(0.25 * np.log(2))
