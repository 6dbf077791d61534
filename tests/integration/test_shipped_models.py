"""The models inside the package: whole, good enough, small enough, and as their figures say."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import SHIPPED, Bundle, shipped

ROOT = Path(__file__).resolve().parents[2]
FLOORS = {
    # Both gave up a part of the translated set for what support desks say.
    ("emotions-ru-small", "test_goemotions"): (0.63, 0.55),
    ("emotions-ru-small", "test_cedr"): (0.64, 0.625),
    ("emotions-ru-small", "test_brighter"): (0.72, 0.725),
    ("emotions-ru-tiny", "test_goemotions"): (0.63, 0.55),
    ("emotions-ru-tiny", "test_cedr"): (0.635, 0.615),
    ("emotions-ru-tiny", "test_brighter"): (0.72, 0.73),
}
"""Weighted and macro F1 below which a new model may not fall."""

ROWS = {"test_goemotions": 5427, "test_cedr": 1882, "test_brighter": 670}
CHECKLIST_FLOORS = {"emotions-ru-small": 0.9, "emotions-ru-tiny": 0.87}
"""Lines of the check list that must pass."""

GOALS = {"emotions-ru-small": (0.675, 0.591)}
"""What the default model is meant to reach there and does not reach yet."""

SENTENCES = {
    "как же я рад тебя видеть это просто чудесно": "joy",
    "мне очень грустно и одиноко хочется плакать": "sadness",
    "ты меня бесишь чёрт возьми ненавижу тебя": "anger",
    "мне страшно я боюсь выходить на улицу": "fear",
    "ничего себе вот это неожиданность я не могу поверить": "surprise",
}


@pytest.fixture(scope="module", params=SHIPPED)
def classifier(request):
    return EmotionClassifier(request.param)


def _quality(name, weights):
    path = ROOT / "benchmarks" / "results" / f"quality-{name}.json"
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    (found,) = [r for r in results if (r["model"], r["weights"]) == (name, weights)]
    return found


@pytest.mark.parametrize("text", SENTENCES)
def test_plain_sentences_get_their_emotion(classifier, text):
    assert SENTENCES[text] in classifier(text).labels


def test_the_same_text_scores_alike_alone_and_in_a_batch(classifier):
    # Padding changes the order of float sums, which can tip an activation to the next INT8 step.
    texts = [*SENTENCES, "да", "нет не надо " * 20, "я " * 300, "", "😡"]
    together = classifier.predict_proba(texts)
    alone = np.concatenate([classifier.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=0.01)


@pytest.mark.parametrize("name", SHIPPED)
def test_manifest_figures_are_the_committed_ones(name):
    manifest = Bundle.load(name).manifest
    assert manifest.precision == "int8"
    for weights in ("int8", "fp32"):
        assert manifest.metrics[weights] == _quality(name, weights)["splits"]


NOT_YET = pytest.mark.xfail(strict=True, reason="the goal is not reached yet")


@pytest.mark.parametrize(
    ("name", "split", "floors"),
    [
        *((*key, floors) for key, floors in FLOORS.items()),
        *(pytest.param(name, "test_goemotions", GOALS[name], marks=NOT_YET) for name in GOALS),
    ],
)
def test_int8_reaches_the_floor_on_the_test_splits(name, split, floors):
    scores = _quality(name, "int8")["splits"][split]
    assert scores["rows"] == ROWS[split]
    assert (scores["weighted_f1"] >= floors[0], scores["macro_f1"] >= floors[1]) == (True, True)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_check_list_passes_as_far_as_it_did(name):
    path = ROOT / "benchmarks" / "results" / "checklist.json"
    found = json.loads(path.read_text(encoding="utf-8"))["checklists"]
    (groups,) = [one["groups"] for one in found if one["model"] == name]
    lines, passed = (sum(group[key] for group in groups) for key in ("lines", "passed"))
    assert passed / lines >= CHECKLIST_FLOORS[name]


def test_the_models_fit_the_wheel():
    total = sum(f.stat().st_size for name in SHIPPED for f in shipped(name).rglob("*"))
    assert total < 60e6


@pytest.mark.parametrize("name", SHIPPED)
def test_training_data_allow_redistribution(name):
    manifest = Bundle.load(name).manifest
    assert {source.licence for source in manifest.training_data} <= {
        "MIT",
        "MIT AND Apache-2.0",
        "Apache-2.0",
        "CC-BY-4.0",
        "CC0-1.0",
    }


def test_a_cold_classification_takes_under_two_seconds():
    command = [sys.executable, "-m", "ov_emotions", "classify", "как же я рад", "--json"]
    subprocess.run(command, check=True, capture_output=True)  # the files are read from disk once
    times = []
    for _ in range(3):
        started = time.perf_counter()
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        times.append(time.perf_counter() - started)
    assert "joy" in json.loads(answer.stdout)["labels"]
    assert min(times) < 2.0
