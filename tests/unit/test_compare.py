from __future__ import annotations

import numpy as np
import pytest

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.labels import EKMAN
from ov_emotions.quantization.compare import Answers, compare
from ov_emotions.quantization.timing import judge_noise, measure, spread

LABELS = EKMAN.labels


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    targets = (rng.random((300, len(LABELS))) < 0.3).astype(np.int8)
    targets[:50, 1] = -1
    texts = tuple(f"текст {i}" for i in range(300))
    return LabelledTexts(EKMAN, texts, targets, ("x",) * 300, np.arange(300))


def test_a_candidate_is_held_against_the_reference(data):
    rng = np.random.default_rng(3)
    reference = rng.random(data.targets.shape).astype(np.float32)
    ours = reference.copy()
    ours[7, 3] = 1 - ours[7, 3] + (0.2 if abs(ours[7, 3] - 0.5) < 0.1 else 0.0)
    both = (Answers(p, p >= 0.5, p >= 0.4) for p in (ours, reference))
    found = compare(data, *both, samples=100, seed=1, folds=5)
    assert found.rows == 300
    assert found.frozen.flipped == pytest.approx(1 / ours.size, abs=1e-6)
    assert found.frozen.flipped_rows == pytest.approx(1 / 300, abs=1e-6)
    assert found.refitted.weighted_f1 != found.frozen.weighted_f1
    (change,) = found.largest_changes
    assert (change.row, change.label, change.text) == (7, LABELS[3], "текст 7")
    assert change.candidate == pytest.approx(ours[7, 3], abs=1e-4)
    assert 0 < found.ece < 1
    assert set(found.ece_labels) == set(LABELS)


# Timing


def test_a_round_gives_percentiles_and_throughput():
    calls = []
    figures = measure(calls.append, ["a", "b"], ["a", "b", "c"])
    assert calls == [["a"], ["b"], ["a", "b", "c"]]
    assert 0 <= figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"]
    assert figures["texts_per_second"] > 0
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


@pytest.mark.parametrize(
    ("rounds", "stolen", "noisy", "told"),
    [
        ({"a": [1.0, 1.02, 0.99], "b": [2.0, 2.1, 2.0]}, 1, False, "quiet enough"),
        ({"a": [1.0, 2.0, 3.0], "b": [2.0, 4.1, 8.0]}, 1, True, "too noisy"),
        ({"a": [1.0, 1.0]}, 100, True, "10.0 % of the processor was held by others: too noisy"),
        ({"a": [1.0]}, 1, False, "A single round does not tell"),
    ],
)
def test_noise_is_what_rounds_differ_by_and_what_others_hold(rounds, stolen, noisy, told):
    found = judge_noise(rounds, (0, 0), (1000, stolen))
    assert (found["noisy"], found["stolen"]) == (noisy, stolen / 1000)
    assert told in found["sentence"]
