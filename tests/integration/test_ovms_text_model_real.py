"""The served models of the shipped bundles against the classifier, on real and hostile texts."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.normalize import normalize
from ov_emotions.serving.repository import publish
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_check import PROBES, TOLERANCE, compare
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.serving.text_nodes import string_core
from ov_emotions.serving.text_tokenizer import tokenizer_model
from ov_emotions.texts import read_texts

USE_WITHOUT_THE_LIBRARY = """
import sys
import openvino_tokenizers, openvino
model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
print(*model({"text": ["как же я рад тебя видеть это просто чудесно", ""]})["labels"], sep="|")
heavy = {"ov_emotions", "tokenizers", "transformers", "torch"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(scope="module", params=SHIPPED)
def bundle(request):
    return Bundle.load(request.param)


@pytest.fixture(scope="module")
def goemotions(shared):
    path = shared / "data" / "ru_goemotions" / "test.csv"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    return [str(row) for row in read_texts(path, "ru_text")]


def test_hostile_texts_differ_for_known_reasons_only(bundle):
    rng = random.Random(0)
    alphabet = [
        chr(c) for c in (*range(32, 127), *range(0x400, 0x500), 0x301, 0x306, 0x308, 0x200D)
    ]
    texts = [*PROBES]
    texts += ["".join(rng.choices(alphabet, k=rng.randint(1, 40))) for _ in range(300)]
    # Single texts take the copies of few widths, and batches never do.
    for batch_size, part, copies in ((1, texts[:60], True), (64, texts, False)):
        config = TextModelConfig(few_widths=copies)
        model = build_text_model(bundle, config)
        found = compare(bundle, model, config, part, batch_size=batch_size)
        assert found.largest <= TOLERANCE
        assert found.counts().get("unexplained", 0) == 0, found.differences


def test_russian_letters_marks_and_signs_are_normalised_alike(bundle):
    # Every character that a Russian text could hold, alone, inside a word, and after an @.
    if bundle.manifest.name != SHIPPED[0]:
        pytest.skip("the normaliser of all shipped models is the same")
    ranges = ((0x20, 0x250), (0x400, 0x530), (0x2000, 0x2C00), (0xFB00, 0xFB07), (0x1F300, 0x1FA00))
    texts = [
        pattern.format(chr(c))
        for low, high in ranges
        for c in range(low, high)
        for pattern in ("{}", "а{}б", "@а{}б я", "[а{}] я", "www.{} я")
    ]
    graph = string_core().compile_model(tokenizer_model(bundle), "CPU")
    found = graph({"text": texts})["normalized"].tolist()
    differing = [text for text, graph in zip(texts, found, strict=True) if graph != normalize(text)]
    assert differing == []


@pytest.mark.slow
def test_all_of_goemotions_test_differs_for_known_reasons_only(bundle, goemotions):
    config = TextModelConfig(few_widths=False)
    # Texts of one length side by side, so that little of a batch is padding.
    texts = sorted(goemotions, key=len)
    found = compare(bundle, build_text_model(bundle, config), config, texts, batch_size=64)
    assert found.texts == 5427
    assert found.largest <= TOLERANCE
    assert found.counts().get("unexplained", 0) == 0, found.differences
    # Four texts have a stack of marks or a run of one letter; the rest hang on their thresholds.
    assert len(found.differences) <= 20


def test_a_published_model_needs_openvino_alone(bundle, tmp_path):
    folder = publish(build_text_model(bundle), tmp_path).folder
    answer = subprocess.run(
        [sys.executable, "-c", USE_WITHOUT_THE_LIBRARY, str(folder / "model.xml")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=240,
    )
    assert "радость" in answer.stdout
    assert answer.stdout.strip().endswith("|")
