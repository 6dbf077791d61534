"""The whole way with other labels than the seven: prepare or import, train, INT8, serve."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from raw_sets import TELLING, telling_rows, write_set

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("optimum.intel", reason="export needs optimum-intel", exc_type=ImportError)
pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.data.dataset import PreparedData
from ov_emotions.data.prepare import prepare
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.errors import CheckpointError, DataError, InputError
from ov_emotions.evaluation.run import evaluate
from ov_emotions.labels import GOEMOTIONS, LabelSet
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.serving.text_nodes import string_core
from ov_emotions.training.run import train

OWN = {"злость, гнев": "злюсь", "joy": "радость", "label=x": "боюсь"}
"""Names that a table, a flag or a separator could trip over, and the words that give them away."""


@dataclass(frozen=True)
class Made:
    """What came out of the whole way."""

    prepared: PreparedData
    label_set: LabelSet
    checkpoint: Path
    fp32: Bundle
    int8: Bundle


def _own(folder: Path) -> Path:
    for name, count, seed in (("train", 400, 0), ("validation", 300, 1)):
        lines = [
            json.dumps({"utterance": text, "labels": labels}, ensure_ascii=False)
            for text, labels in telling_rows(count, seed, OWN)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    files = [str(folder / "train.jsonl"), "--validation", str(folder / "validation.jsonl")]
    flags = ["--output", str(folder / "prepared"), "--text-column", "utterance", "--name", "calls"]
    flags += ["--russian", "joy=радость", "--licence", "CC0-1.0", "--attribution", "us"]
    assert main(["data", "import", *files, *flags]) == 0
    return folder / "prepared"


def _goemotions(folder: Path) -> Path:
    words = {label: TELLING.get(label, GOEMOTIONS.russian[label]) for label in GOEMOTIONS.labels}
    counts = {"train_partial": 600, "validation": 400, "test": 100}
    for seed, (name, count) in enumerate(counts.items()):
        path = f"ru_goemotions/{name}.csv"
        write_set(folder / "raw", path, telling_rows(count, seed, words))
    prepare(PrepareConfig(folder / "raw", folder / "prepared", "goemotions-28"))
    return folder / "prepared"


@pytest.fixture(scope="module", params=[_own, _goemotions], ids=["own", "goemotions-28"])
def made(request, config, tmp_path_factory, one_thread) -> Made:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("labels")
    prepared = PreparedData.open(request.param(folder))
    # Only the three labels are held to their scores.
    epochs = config.epochs if request.param is _own else 1
    train(replace(config, data=prepared.folder, output=folder / "run", epochs=epochs))
    checkpoint = folder / "run" / "best"
    data = ["--data", str(prepared.folder)]
    assert main(["export", str(checkpoint), str(folder / "fp32"), *data]) == 0
    int8 = ["quantize", str(folder / "fp32"), str(folder / "int8"), "--subset-size", "40"]
    assert main([*int8, *data]) == 0
    bundles = [Bundle.load(folder / name) for name in ("fp32", "int8")]
    return Made(prepared, prepared.label_set, checkpoint, *bundles)


def test_every_step_keeps_the_labels_and_their_order(made):
    facts = json.loads((made.checkpoint / "checkpoint.json").read_text(encoding="utf-8"))
    assert tuple(facts["labels"]) == made.label_set.labels
    assert facts["label_names_ru"] == dict(made.label_set.russian)
    for bundle in (made.fp32, made.int8):
        assert bundle.manifest.labels == made.label_set.labels
        assert bundle.manifest.label_names_ru == dict(made.label_set.russian)
        assert set(bundle.manifest.thresholds) == set(made.label_set.labels)
    assert made.int8.manifest.precision == "int8"


def test_the_card_names_the_data_that_it_was_trained_on(made):
    (source,) = made.int8.manifest.training_data
    assert source.name in ("calls", "ru_goemotions")
    assert source.rows == made.prepared.manifest.splits["train"].rows
    card = (made.int8.folder / "README.md").read_text(encoding="utf-8")
    assert source.attribution in card
    assert "](unknown)" not in card
    assert ("the same as neutral" in card) == ("neutral" in made.label_set.labels)


def test_the_model_is_scored_on_its_own_test_split(made):
    split = made.prepared.test_split
    scores = evaluate(made.int8, made.prepared, [split]).splits[split]
    assert list(scores.labels) == list(made.label_set.labels)
    if made.label_set.name == "calls-3":
        assert scores.macro_f1 > 0.9


def test_texts_are_classified_with_these_labels(made, capsys):
    text = "утро радость дорога стол окно"
    flags = ["--model", str(made.int8.folder), "--json"]
    assert main(["classify", text, *flags]) == 0
    prediction = json.loads(capsys.readouterr().out)
    assert set(prediction["scores"]) == set(made.label_set.labels)
    for label in made.label_set.labels:
        assert main(["classify", text, *flags, "--threshold", f"{label}=0.000001"]) == 0
        assert label in json.loads(capsys.readouterr().out)["labels"]


def test_the_served_text_model_answers_with_these_names(made):
    if made.label_set.name == "calls-3":
        with pytest.raises(InputError, match="stands in the name 'злость, гнев'"):
            build_text_model(made.int8)
    model = build_text_model(made.int8, TextModelConfig(separator=" | "))
    compiled = string_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    texts = list(made.prepared.split("validation").texts[:20])
    answer = compiled({"text": texts})
    assert answer["probabilities"].shape == (20, len(made.label_set))
    with EmotionClassifier(made.int8, threads=1) as classifier:
        predictions = classifier(texts)
    names = made.label_set.russian
    expected = [{names.get(label, label) for label in p.labels} for p in predictions]
    assert [set(filter(None, row.split(" | "))) for row in answer["labels"].tolist()] == expected
    assert any(expected)


def test_other_labels_are_refused_wherever_they_meet(
    made, config, prepared, fp32, tmp_path, capsys
):
    with pytest.raises(DataError, match="other labels"):
        evaluate(fp32, made.prepared, ["validation"])
    flags = ["--data", str(made.prepared.folder)]
    assert main(["quantize", str(fp32.folder), str(tmp_path / "int8"), *flags]) == 1
    assert "has the labels" in capsys.readouterr().err
    seven = replace(config, data=prepared.folder, output=tmp_path / "run")
    with pytest.raises(CheckpointError, match="has the labels"):
        train(replace(seven, base=str(made.checkpoint)))
    with pytest.raises(CheckpointError, match=r"the teacher .* has the labels"):
        train(replace(seven, teachers=(made.checkpoint,)))
