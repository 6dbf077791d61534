"""A tiny random T5 learns to write the labels: train, resume, evaluate, classify."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_sets import FILLERS, TELLING

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)

from tiny_t5 import SPECIAL, tiny_tokenizer, write_tiny_t5

from ov_emotions.cli.main import main
from ov_emotions.data.dataset import UNKNOWN
from ov_emotions.errors import CheckpointError, DataError, TrainingError
from ov_emotions.files import sha256_file, write_text
from ov_emotions.progress import Progress
from ov_emotions.schema import to_builtins
from ov_emotions.training.settings import Text2TextConfig
from ov_emotions.training.text_to_text.classifier import (
    TextToTextClassifier,
    evaluate_text_to_text,
)
from ov_emotions.training.text_to_text.run import train, training_rows
from ov_emotions.training.text_to_text.targets import Text2TextManifest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def manifest(t5_config: Text2TextConfig, one_thread: None) -> Text2TextManifest:  # noqa: ARG001
    return train(t5_config)


@pytest.fixture(scope="session")
def folder(manifest: Text2TextManifest, t5_config: Text2TextConfig) -> Path:  # noqa: ARG001
    return t5_config.output / "best"


@pytest.fixture(scope="session")
def classifier(folder: Path) -> TextToTextClassifier:
    return TextToTextClassifier.from_pretrained(folder)


def _history(config: Text2TextConfig) -> list[dict[str, float]]:
    return json.loads((config.output / "history.json").read_text(encoding="utf-8"))


def _weights(config: Text2TextConfig) -> str:
    return sha256_file(config.output / "best" / "model.safetensors")


# Training


def test_it_learns_and_its_manifest_says_what_it_came_from(manifest, t5_config, prepared) -> None:
    assert manifest.selection["weighted_f1"] > 0.9
    assert manifest.outputs["unparseable_share"] < 0.05
    rows = prepared.manifest.splits["train"].rows_by_origin
    assert manifest.left_out == {name: rows[name] for name in ("brighter_rus", "cedr")}
    learned = {source.name: source.rows for source in manifest.data.sources}
    assert learned == {name: rows[name] for name in ("ru_goemotions", "ru_izard")}
    assert all(source.licence for source in manifest.data.sources)
    assert manifest.training_rows == sum(learned.values())
    assert manifest.training == t5_config.to_dict()


def test_rows_with_unknown_labels_are_left_out_or_taken_for_absent(t5_config, prepared) -> None:
    split = prepared.split("train")
    kept, left_out = training_rows(split, t5_config)
    assert not (kept.targets == UNKNOWN).any()
    assert sum(left_out.values()) == len(split) - len(kept) > 0
    everything, none_left = training_rows(split, replace(t5_config, unknown_labels="absent"))
    assert len(everything) == len(split)
    assert none_left == {}
    cedr, _ = training_rows(split, replace(t5_config, unknown_labels="absent", sets=("cedr",)))
    assert set(cedr.origins) == {"cedr"}
    drawn, _ = training_rows(split, replace(t5_config, rows=7))
    assert len(drawn) == 7


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    ("optimizer", "save_every"), [("adamw", 0.0), ("adafactor", 1e9)], ids=["by step", "by epoch"]
)
def test_a_killed_run_that_goes_on_ends_as_an_unbroken_one(
    t5_config, tmp_path, monkeypatch, save_every, optimizer
) -> None:
    monkeypatch.setattr("ov_emotions.training.trainer._SAVE_EVERY_SECONDS", save_every)
    short = {"epochs": 2, "selection_rows": 20, "rows": 96}
    whole = replace(t5_config, output=tmp_path / "whole", optimizer=optimizer, **short)
    broken = replace(whole, output=tmp_path / "broken")
    train(whole)
    steps = _history(whole)[-1]["step"]

    def die(progress: Progress) -> None:
        if progress.done == steps // 2 + 3:
            raise KilledError

    with pytest.raises(KilledError):
        train(broken, die)
    resumed: list[int] = []
    train(broken, lambda progress: resumed.append(progress.done))
    assert 1 < resumed[0] <= steps // 2 + 3
    assert _history(broken) == _history(whole)
    assert _weights(broken) == _weights(whole)


def test_a_finished_run_is_not_done_again_nor_with_other_settings_or_processes(
    t5_config, manifest, monkeypatch
) -> None:
    steps: list[int] = []
    before = _weights(t5_config)
    assert train(t5_config, lambda progress: steps.append(progress.done)) == manifest
    assert steps == []
    assert _weights(t5_config) == before
    with pytest.raises(TrainingError, match=r"other settings \(beams was 1, is 2\)"):
        train(replace(t5_config, beams=2))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="trains in one process"):
        train(t5_config)


def test_a_run_goes_on_from_an_earlier_one_s_folder(t5_config, folder, tmp_path) -> None:
    second = train(
        replace(
            t5_config,
            base=str(folder),
            output=tmp_path,
            epochs=1,
            learning_rate=1e-4,
            sets=("ru_izard",),
        )
    )
    assert second.selection["weighted_f1"] > 0.9
    assert second.earlier_training is not None
    assert second.earlier_training["training"]["epochs"] == 10
    assert {source.name for source in second.data.sources} == {"ru_izard", "ru_goemotions"}


# What cannot be trained on


def _written(name: str, text: str) -> Callable[[Path], None]:
    return lambda base: write_text(base / name, text)


def _more_pieces() -> str:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["слишком", "много"])
    return tokenizer.to_str()


ENDLESS = json.dumps(json.loads(tiny_tokenizer().to_str()) | {"post_processor": None})
ENGLISH = tiny_tokenizer(["anger, sadness", "joy none"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "cannot load"),
        (_written("model.safetensors", "0" * 100), "cannot load a sequence-to-sequence model"),
        (lambda base: (base / "tokenizer.json").unlink(), "tokeniser"),
        (_written("tokenizer.json", "{}"), "cannot load the tokeniser"),
        (lambda base: write_tiny_t5(base, ENGLISH), r"cannot write 'гнев'.*Russian vocabulary"),
        (_written("tokenizer.json", _more_pieces()), "the tokeniser has"),
        (_written("tokenizer.json", ENDLESS), "does not end a text"),
    ],
)
def test_a_base_that_cannot_be_trained_on_is_refused(
    t5_config, t5_base, tmp_path, spoil, message
) -> None:
    base = tmp_path / "base"
    shutil.copytree(t5_base, base)
    spoil(base)
    with pytest.raises(CheckpointError, match=message):
        train(replace(t5_config, base=str(base), output=tmp_path / "run"))


def test_an_encoder_is_refused_as_a_base(t5_config, tiny_base, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="is a bert model, which does not write text"):
        train(replace(t5_config, base=str(tiny_base), output=tmp_path))


def test_no_rows_to_train_on_are_refused(t5_config, prepared, tmp_path) -> None:
    run = replace(t5_config, output=tmp_path)
    with pytest.raises(TrainingError, match="leaves no rows to train on"):
        training_rows(prepared.split("train").select([]), replace(run, rows=5))
    with pytest.raises(DataError, match="is not a prepared folder"):
        train(replace(run, data=tmp_path / "missing"))
    with pytest.raises(TrainingError, match="have a label that is not annotated"):
        train(replace(run, sets=("cedr",)))
    with pytest.raises(TrainingError, match="without training rows: nowhere"):
        train(replace(run, sets=("nowhere",)))


@pytest.mark.filterwarnings("ignore")  # the library's compiled types lack __module__
def test_a_sentencepiece_vocabulary_serves_without_a_tokenizer_json(t5_config, tmp_path) -> None:
    spm = pytest.importorskip("sentencepiece", reason="reads T5's own vocabularies")
    from tiny_t5 import CORPUS

    base = write_tiny_t5(tmp_path / "base")
    (base / "tokenizer.json").unlink()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(CORPUS)] * 50),
        model_prefix=str(base / "spiece"),
        vocab_size=200,
        hard_vocab_limit=False,
        pad_id=SPECIAL.index("<pad>"),
        eos_id=SPECIAL.index("</s>"),
        unk_id=SPECIAL.index("<unk>"),
        bos_id=-1,
        minloglevel=2,
    )
    run = replace(t5_config, base=str(base), output=tmp_path / "run", epochs=1, rows=64)
    train(replace(run, selection_rows=20, max_target_length=32))
    assert (tmp_path / "run" / "best" / "tokenizer.json").is_file()
    assert len(TextToTextClassifier.from_pretrained(tmp_path / "run" / "best")(["письмо"])) == 1


# Classifying


def test_it_classifies_one_text_or_several(classifier: TextToTextClassifier) -> None:
    texts = [f"утро {word} дорога стол окно" for word in TELLING.values()]
    found = classifier(texts)
    assert [p.labels for p in found].count(()) == 0
    right = [label in p.labels for label, p in zip(TELLING, found, strict=True)]
    assert sum(right) >= 6
    one = classifier(texts[0])
    assert one == found[0]
    assert one.labels == ("anger",)
    assert one.scores["anger"] == 1.0
    assert one.truncated is False
    assert list(classifier.stream(iter(texts), chunk_size=2)) == found


def test_it_knows_its_labels_and_reads_texts_as_transcripts(classifier, prepared) -> None:
    labels = prepared.split("train").label_set
    assert classifier.labels == labels.labels
    assert classifier.label_names_ru == dict(labels.russian)
    assert classifier("УТРО, злюсь!!! Дорога.") == classifier("утро злюсь дорога")
    assert classifier("злюсь " + " ".join(FILLERS * 5)).truncated is True


def test_a_text_with_nothing_to_read_is_not_asked_about(classifier: TextToTextClassifier) -> None:
    before = classifier.counts.outputs
    prediction = classifier(" … 🙂 ")
    assert prediction.labels == ()
    assert set(prediction.scores.values()) == {0.0}
    assert classifier.counts.outputs == before
    assert classifier([]) == []
    assert classifier.predict_proba([]).shape == (0, 7)


def test_scores_agree_with_the_model_s_own_likelihoods(folder: Path) -> None:
    import torch

    from ov_emotions.training.text_to_text.writer import load_model, load_target_tokenizer

    model, tokenizer = load_model(str(folder)), load_target_tokenizer(str(folder))
    classifier = TextToTextClassifier.from_pretrained(folder, beams=128, constrained=True)
    target = classifier.manifest.target_format()
    text = "утро злюсь грущу"
    source = torch.tensor([tokenizer.encode(classifier.manifest.prefix + text).ids])
    likelihood, holds = [], []
    for output in target.all_targets():
        ids = torch.tensor([tokenizer.encode(output).ids])
        with torch.inference_mode():
            logits = model(input_ids=source, labels=ids).logits[0]
        chosen = logits.log_softmax(-1)[torch.arange(ids.shape[1]), ids[0]]
        likelihood.append(float(chosen.sum().exp()))
        holds.append([label in target.parse(output).labels for label in target.labels])
    expected = np.array(likelihood) @ np.array(holds) / sum(likelihood)
    np.testing.assert_allclose(classifier.predict_proba([text])[0], expected, atol=1e-4)


@pytest.fixture
def untrained(t5_base: Path, folder: Path, tmp_path: Path) -> Path:
    """A model's folder with the random weights that training started from."""
    shutil.copytree(folder, tmp_path / "untrained")
    shutil.copy(t5_base / "model.safetensors", tmp_path / "untrained")
    return tmp_path / "untrained"


def test_outputs_that_cannot_be_read_are_counted_and_logged(
    untrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classifier = TextToTextClassifier.from_pretrained(untrained)
    texts = ["утро злюсь дорога", "стол окно"]
    with caplog.at_level(logging.WARNING):
        written = classifier.write(texts)
    assert written.counts.unparseable == 2
    assert classifier.counts.unparseable == 2
    assert not written.predicted.any()
    assert all(written.outputs[i] != "нет" for i in range(2))
    assert "2 of 2 outputs name no label" in caplog.text

    bound = TextToTextClassifier.from_pretrained(untrained, constrained=True)
    written = bound.write(texts)
    assert written.counts.unparseable == written.counts.partly == 0
    target = bound.manifest.target_format()
    assert set(written.outputs) <= set(target.all_targets())


# Evaluating, and the command


def test_evaluation_tells_how_many_outputs_could_not_be_read(folder, prepared) -> None:
    found = evaluate_text_to_text(folder, prepared, ["validation:selection", "test_cedr"])
    result = to_builtins(found)
    assert set(result["splits"]) == {"validation:selection", "test_cedr"}
    scores = result["splits"]["validation:selection"]
    assert scores["weighted_f1"] > 0.9
    assert scores["outputs"]["outputs"] == scores["rows"]
    low, high = scores["intervals_95"]["weighted_f1"]
    assert low <= scores["weighted_f1"] <= high
    assert result["weights_sha256"] == sha256_file(folder / "model.safetensors")


def test_the_command_trains_evaluates_and_classifies(
    t5_base: Path, prepared_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    flags = (
        f"--base {t5_base} --data {prepared_folder} --output {run} --epochs 2 --batch-size 16 "
        "--learning-rate 3e-3 --max-source-length 48 --max-target-length 12 --device cpu "
        "--selection-rows 30"
    )
    assert main(["train", "--task", "text-to-text", *flags.split()]) == 0
    out = capsys.readouterr().out
    assert "outputs that name no label:" in out
    assert "rows of cedr" in out

    assert main(["evaluate", str(run / "best"), "--data", str(prepared_folder)]) == 0
    out = capsys.readouterr().out
    assert "outputs (" in out
    assert "validation:selection" in out

    classify = ["classify", "--model", str(run / "best")]
    assert main([*classify, "--json", "утро злюсь дорога"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert set(line) == {"text", "labels", "scores", "truncated"}
    assert main([*classify, "--russian", "утро злюсь дорога"]) == 0
    assert capsys.readouterr().out.strip()
    assert main([*classify, "..."]) == 0
    assert capsys.readouterr().out.startswith("— none named")
    assert main([*classify, "--threshold", "joy=0.5", "утро"]) == 1
    assert "which has no thresholds" in capsys.readouterr().err


def test_the_command_tells_what_could_not_be_read(
    untrained: Path, prepared_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", "--model", str(untrained), "стол окно", "дорога"]) == 0
    found = capsys.readouterr()
    assert found.out.count("— none named") == 2
    assert "2 of 2 outputs of the model name no label" in found.err
    data = ["--data", str(prepared_folder), "--split", "test_cedr"]
    assert main(["evaluate", str(untrained), *data]) == 0
    out = capsys.readouterr().out
    assert "(100.0%) name no label and count as none" in out
    assert main(["evaluate", str(untrained), *data, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["results"][0]
    assert result["splits"]["test_cedr"]["outputs"]["unparseable_share"] == 1.0
