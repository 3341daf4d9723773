# SPDX-License-Identifier: Apache-2.0
"""The MobileNetV2 benchmark: no scored image calibrates, and scores count what they say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tflite", reason="the extra hsflow[tflite] is not installed")

from random_graphs import GraphBuilder, square

from benchmarks.mobilenetv2.accuracy import _score, folds
from hsflow.ir.tensor import Shape


@pytest.mark.parametrize("both", [False, True])
def test_no_image_is_scored_by_a_network_that_saw_it(both: bool) -> None:
    scored = []
    for calibration, held_out in folds(11, both):
        assert not set(calibration.tolist()) & set(held_out.tolist())
        scored += held_out.tolist()
    assert sorted(scored) == (list(range(11)) if both else list(range(1, 11, 2)))


def test_scores_count_labels_agreement_and_terms() -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 1).conv(3, square(3, 1, 1), terms=2).build("scored")
    logits = np.array([[9, 1, 2, 3, 4, 5, 6], [0, 7, 6, 5, 4, 3, 2]])
    reference = np.array([[9, 0, 0, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0, 0]])
    found = _score("name", logits, reference, np.array([0, 6]), graph, 0.0)
    assert (found.top1, found.top5, found.agreement) == (50.0, 50.0, 50.0)
    terms = (graph.layers[0].weight.sign.array != 0).sum(axis=0)
    assert found.extra_adders == (terms == 2).sum()
    assert found.zeros == pytest.approx(100 * (terms == 0).mean())
