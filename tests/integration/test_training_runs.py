"""Runs on a two-layer encoder and some hundred texts: learning, options, kills, refusals."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from raw_sets import TELLING

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("accelerate", reason="training needs accelerate", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)

import torch
import transformers
from filelock import FileLock
from safetensors.torch import load_file, save_file

from ov_emotions import EmotionClassifier
from ov_emotions.cli.main import main
from ov_emotions.errors import CheckpointError, DataError, TrainingError
from ov_emotions.files import sha256_file, write_text
from ov_emotions.labels import EKMAN
from ov_emotions.progress import Progress, Tell
from ov_emotions.training import model as models
from ov_emotions.training import teachers
from ov_emotions.training.checkpoint import CheckpointFacts, HeadConfig, read_checkpoint_facts
from ov_emotions.training.folder import last_saved
from ov_emotions.training.model import EmotionModel
from ov_emotions.training.run import train
from ov_emotions.training.settings import TrainConfig, load_settings, settings_text
from ov_emotions.training.teachers import draw_texts, find_teachers, teach

pytestmark = pytest.mark.usefixtures("one_thread")
SAVE_EVERY = "ov_emotions.training.trainer._SAVE_EVERY_SECONDS"
QUICK = {"epochs": 1, "batch_size": 32, "max_rows": 100, "evaluations_per_epoch": 1}


@pytest.fixture
def quick(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """An epoch of four steps."""
    return replace(config, output=tmp_path / "run", **QUICK)


@pytest.fixture(scope="module")
def plain(config: TrainConfig, tmp_path_factory, one_thread: None) -> TrainConfig:  # noqa: ARG001
    """A quick run where no option is taken, trained."""
    run = replace(config, output=tmp_path_factory.mktemp("plain") / "run", **QUICK)
    train(run)
    return run


def _weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return load_file(config.output / "best" / "model.safetensors")


def _history(config: TrainConfig) -> list[dict[str, float]]:
    return json.loads((config.output / "history.json").read_text("utf-8"))


def _outcome(config: TrainConfig) -> tuple[str, str]:
    weights = sha256_file(config.output / "best" / "model.safetensors")
    return weights, (config.output / "history.json").read_text(encoding="utf-8")


# Learning


def test_training_learns_and_the_checkpoint_says_what_it_came_from(facts, config, prepared):
    assert facts.selection["macro_f1"] > 0.9
    assert facts.labels == tuple(TELLING)
    assert set(facts.thresholds) == set(TELLING)
    assert facts.training["seed"] == config.seed
    assert facts.training_rows == len(prepared.split("train"))
    assert facts.data.manifest_sha256 == sha256_file(prepared.folder / "prepared.json")
    rows = {source.name: source.rows for source in facts.data.sources}
    assert rows == prepared.manifest.splits["train"].rows_by_origin


def test_the_same_seed_repeats_the_run_and_another_does_not(plain, quick):
    written = load_settings(
        TrainConfig, file=plain.output / "config.toml", given={"output": quick.output}
    )
    train(written)
    assert _outcome(written) == _outcome(plain)
    other = replace(quick, output=quick.output.parent / "other", seed=1)
    train(other)
    assert _history(other)[0]["loss"] != _history(plain)[0]["loss"]
    with (plain.output / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == _history(plain)


def test_a_run_stops_when_validation_stops_improving(quick):
    # Nothing changes at this rate, so the second score cannot be better than the first.
    still = replace(quick, epochs=4, learning_rate=1e-12, head_learning_rate=1e-12, patience=1)
    train(still)
    assert len(_history(still)) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 48, "activation": "tanh", "hidden_dropout": 0.85},
        {"pooling": "cls+mean"},
        {"loss": "asymmetric", "label_smoothing": 0.1, "row_weight": {"fear": 2.0}},
        {"class_weighting": "inverse", "positive_weight": {"joy": 3.0}},
        {"schedule": "cosine", "warmup": 0.3},
        {"schedule": "constant", "optimizer": "adam"},
        {"freeze_embeddings": True},
        {"accumulation_steps": 2},
        {"max_grad_norm": 0.01},
        {"precision": "bf16", "ema_decay": 0.5},
        {"attention": "eager", "dropout": 0.5},
    ],
    ids=lambda options: " ".join(f"{name}={value}" for name, value in options.items()),
)
def test_every_option_trains_is_written_down_and_changes_the_model(quick, plain, options):
    config = replace(quick, **options)
    facts = train(config)
    assert np.isfinite(_history(config)[-1]["loss"])
    for name, value in options.items():
        assert facts.training[name] == value
    model = EmotionModel.load(config.output / "best")
    for name in {field.name for field in dataclasses.fields(HeadConfig)} & set(options):
        assert getattr(model.head, name) == options[name]
    assert _outcome(config)[0] != _outcome(plain)[0]
    assert load_settings(TrainConfig, file=config.output / "config.toml") == config
    if config.freeze_embeddings:
        base = EmotionModel.from_base(quick.base, HeadConfig(7)).state_dict()
        for name, value in _weights(config).items():
            if name.startswith("encoder."):
                assert torch.equal(value, base[name].half()) is (".embeddings." in f".{name}")


def test_compiling_changes_no_more_than_rounding(quick, plain, monkeypatch):
    # The graphs are traced for real; they run without the C++ compiler, which takes long.
    monkeypatch.setattr("ov_emotions.training.run._COMPILER", "eager")
    train(replace(quick, compile=True))
    for name, value in _weights(quick).items():
        torch.testing.assert_close(value, _weights(plain)[name], atol=2e-3, rtol=1e-2)

    def broken(*_args: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("ov_emotions.training.run._COMPILER", broken)
    with pytest.raises(TrainingError, match=r"torch\.compile does not take this model here"):
        train(replace(quick, compile=True, output=quick.output.parent / "broken"))


@pytest.fixture(scope="module")
def calm_base(config: TrainConfig, tmp_path_factory) -> str:
    """The base without dropout inside: what is added up then does not depend on the order."""
    folder = tmp_path_factory.mktemp("calm") / "base"
    shutil.copytree(config.base, folder)
    path = folder / "config.json"
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_text(path, json.dumps(json.loads(path.read_text("utf-8")) | calm))
    return str(folder)


def test_accumulating_halves_is_the_whole_batch(quick, calm_base):
    whole = replace(quick, base=calm_base, dropout=0.0, max_rows=64, batch_size=64)
    halves = replace(whole, output=quick.output.parent / "h", batch_size=32, accumulation_steps=2)
    train(whole)
    train(halves)
    assert _history(whole)[-1]["step"] == _history(halves)[-1]["step"] == 1
    assert _history(halves)[-1]["loss"] == pytest.approx(_history(whole)[-1]["loss"], abs=2e-5)


def test_a_checkpoint_trained_on_keeps_its_head_and_credits_its_sets(quick, tmp_path):
    first = replace(quick, hidden_size=16, hidden_dropout=0.5)
    train(first)
    second = replace(
        first,
        base=str(first.output / "best"),
        output=tmp_path / "on",
        hidden_dropout=0.1,
        learning_rate=1e-9,
        head_learning_rate=1e-9,
        origin_weight={"cedr": 0.0, "brighter_rus": 0.0, "ru_izard": 0.0},
    )
    facts = train(second)
    assert EmotionModel.load(second.output / "best").head.hidden_dropout == 0.1
    for name, value in _weights(second).items():
        torch.testing.assert_close(value, _weights(first)[name], atol=1e-3, rtol=1e-2)
    assert facts.earlier_training["training"]["output"] == str(first.output)
    assert facts.data.sources[0].name == "ru_goemotions"
    assert len(facts.data.sources) == 4
    with pytest.raises(TrainingError, match="hidden_size 16; this run has 8"):
        train(replace(second, output=tmp_path / "other", hidden_size=8))


# Kills

# A server of processes that has imported what they need: each is there at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ov_emotions.cli.main", "ov_emotions.training.run"])


def _command(file: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    models._export_failure = lambda _: None  # the base is exported by other tests
    rank = environment.get("RANK", "0")
    with (
        file.with_name(f"answer{rank}").open("w", encoding="utf-8") as answer,
        contextlib.redirect_stdout(answer),
    ):
        sys.exit(main(["train", "--json", "--config", str(file)]))


def _start(config: TrainConfig, **environment: str) -> BaseProcess:
    config.output.mkdir(exist_ok=True)
    file = config.output / "given.toml"
    write_text(file, settings_text(config))
    process = FORKS.Process(target=_command, args=(file, environment))
    process.start()
    return process


def _launch(config: TrainConfig) -> list[BaseProcess]:
    """Start what torchrun would start, without its own process between."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [_start(config, **common, RANK=str(r), LOCAL_RANK=str(r)) for r in range(2)]


def _kill_after(processes: list[BaseProcess], done: Callable[[], object]) -> None:
    try:
        deadline = time.monotonic() + 240
        while not done():
            assert processes[0].exitcode is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert processes[0].exitcode == -signal.SIGKILL


def _finish(processes: list[BaseProcess]) -> None:
    try:
        for process in processes:
            process.join(240)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()


def _has_scored(output: Path) -> bool:
    return (output / "history.json").is_file()


def test_a_run_that_is_killed_for_good_ends_bit_for_bit_as_an_unbroken_one(quick, tmp_path):
    # Long enough that the kill comes in time.
    whole = replace(quick, epochs=8, max_rows=0, patience=100, ema_decay=0.9)
    train(whole)
    for moment in (_has_scored, last_saved):
        config = replace(whole, output=tmp_path / moment.__name__)
        _kill_after([_start(config)], partial(moment, config.output))
        steps: list[int] = []
        train(config, lambda progress, steps=steps: steps.append(progress.done))
        assert steps[0] > 1 or moment is _has_scored
        assert _outcome(config) == _outcome(whole)
        assert not [*config.output.glob(".*.tmp"), *config.output.glob("checkpoint-*")]


class KilledError(Exception):
    pass


def _killed_at(step: int) -> Tell:
    def tell(progress: Progress) -> None:
        if progress.unit == "steps" and progress.done == step:
            raise KilledError

    return tell


def test_a_run_stopped_within_an_epoch_goes_on_with_its_batches_dropout_and_average(
    quick, tmp_path, monkeypatch
):
    monkeypatch.setattr(SAVE_EVERY, 0.0)
    whole = replace(
        quick, output=tmp_path / "whole", epochs=2, ema_decay=0.9, dropout=0.3, accumulation_steps=2
    )
    broken = replace(whole, output=tmp_path / "broken", batch_size=whole.batch_size)
    train(whole)
    with pytest.raises(KilledError):
        train(broken, _killed_at(4))
    steps: list[int] = []
    train(broken, lambda progress: steps.append(progress.done))
    assert steps == [4]
    assert _outcome(broken) == _outcome(whole)
    train(broken, lambda progress: steps.append(progress.done))
    assert steps == [4], "it has ended, and nothing is done again"


@pytest.mark.usefixtures("facts")
def test_a_folder_of_another_run_is_refused_with_what_differs(config, tmp_path, monkeypatch):
    described = (config.output / "config.toml").read_text(encoding="utf-8")
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate was 0.004, is 0.001"):
        train(replace(config, learning_rate=1e-3))
    assert (config.output / "config.toml").read_text(encoding="utf-8") == described
    data = tmp_path / "prepared"
    shutil.copytree(config.data, data)
    run = replace(config, data=data, output=tmp_path / "run", epochs=1, max_rows=40)
    train(run)
    manifest = json.loads((data / "prepared.json").read_text(encoding="utf-8"))
    (data / "prepared.json").write_text(json.dumps(manifest | {"seed": 1}), encoding="utf-8")
    with pytest.raises(TrainingError, match="other data"):
        train(run)
    monkeypatch.setattr(transformers.TrainingArguments, "world_size", 2)
    with pytest.raises(TrainingError, match="a run of 1 processes, and there are 2"):
        train(config)
    (tmp_path / "state.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match="of an older version of this library"):
        train(replace(config, output=tmp_path))


def test_two_runs_do_not_share_a_folder_and_what_a_kill_left_half_written_is_put_right(quick):
    quick.output.mkdir()
    with (
        FileLock(quick.output / ".lock"),
        pytest.raises(TrainingError, match="another process trains in"),
    ):
        train(quick)
    facts = train(quick)
    before, output = _outcome(quick), quick.output
    # Killed between the two renames: the older folder moved away, the new one not yet in place.
    shutil.copytree(output / "best", output / ".best.0000.tmp")
    older = json.loads((output / "best" / "checkpoint.json").read_text("utf-8")) | {"step": 1}
    (output / ".best.0000.tmp" / "checkpoint.json").write_text(json.dumps(older), encoding="utf-8")
    (output / "best").rename(output / ".best.1111.tmp")
    (output / ".best.2222.tmp").mkdir()
    (output / ".run.json.3333.tmp").write_bytes(b"half")
    (output / "checkpoint-9").mkdir()
    assert train(quick) == facts
    assert _outcome(quick) == before
    assert not [*output.glob(".*.tmp"), *output.glob("checkpoint-*")]


def test_a_damaged_state_is_named_and_the_checkpoint_is_intact(quick, monkeypatch):
    monkeypatch.setattr(SAVE_EVERY, 0.0)
    config = replace(quick, epochs=3)
    with pytest.raises(KilledError):
        train(config, _killed_at(7))
    before = _outcome(config)
    (saved,) = config.output.glob("checkpoint-*")
    for name in ("optimizer.pt", "model.safetensors", "rng_state.pth"):
        whole = (saved / name).read_bytes()
        (saved / name).write_bytes(whole[:50])
        with pytest.raises(TrainingError, match=r"checkpoint-6 cannot be read .*; delete it to st"):
            train(config)
        (saved / name).write_bytes(whole)
    assert _outcome(config) == before
    EmotionModel.load(config.output / "best")
    shutil.rmtree(saved)
    train(config)
    assert _history(config)[-1]["step"] == 12


@pytest.fixture(scope="module")
def two_epochs(plain: TrainConfig, tmp_path_factory) -> TrainConfig:
    run = replace(plain, output=tmp_path_factory.mktemp("two") / "run", epochs=2)
    train(run)
    return run


@pytest.mark.parametrize("room", [0.0, 2.2])
def test_a_full_disk_ends_a_run_in_a_sentence_and_leaves_the_last_checkpoint(
    two_epochs, small_disk, leave_room, room
):
    # What the run writes in the order it writes: settings, best (1), the state (about 6), again.
    size = sum(f.stat().st_size for f in (two_epochs.output / "best").iterdir())
    filler = leave_room(int(size * room) + 12_000)
    run = replace(two_epochs, output=small_disk / "run")
    with pytest.raises(TrainingError, match=r"could not be written .*(space|writing|write)"):
        train(run)
    assert not list(run.output.glob(".*.tmp"))
    if (run.output / "best").exists():
        EmotionModel.load(run.output / "best")
        assert read_checkpoint_facts(run.output / "best").step > 0
    filler.unlink()
    train(run)
    assert _outcome(run) == _outcome(two_epochs)


# Several processes


def test_two_processes_learn_what_one_learns_and_the_first_alone_writes_and_answers(
    quick, calm_base, tmp_path
):
    config = replace(
        quick,
        base=calm_base,
        dropout=0.0,
        epochs=2,
        batch_size=33,
        accumulation_steps=2,
        class_weighting="inverse",
        row_weight={"fear": 2.0},
        # Adam divides by the size of gradients, which makes much of rounding where they are small.
        learning_rate=1e-3,
        head_learning_rate=1e-3,
    )
    _finish(_launch(config))
    assert json.loads((config.output / "answer0").read_text("utf-8"))["processes"] == 2
    assert (config.output / "answer1").read_text("utf-8") == ""
    alone = replace(config, output=tmp_path / "alone")
    assert train(alone).processes == 1
    two, one = _weights(config), _weights(alone)
    for name in one:
        np.testing.assert_allclose(two[name].float(), one[name].float(), atol=2e-3, err_msg=name)
    for ours, theirs in zip(_history(config), _history(alone), strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=2e-3)


def test_two_killed_processes_go_on_and_end_bit_for_bit_as_unbroken_ones(quick, tmp_path):
    # With dropout: each process draws its own, and draws it again.
    config = replace(quick, dropout=0.3, epochs=6, max_rows=300, patience=100)
    _kill_after(_launch(config), partial(last_saved, config.output))
    _finish(_launch(config))
    whole = replace(config, output=tmp_path / "whole")
    _finish(_launch(whole))
    assert _outcome(config) == _outcome(whole)


# Teachers


def _teach(texts, config: TrainConfig, *names: object) -> np.ndarray:
    student = replace(config, teachers=tuple(map(str, names)))
    return teach(texts, find_teachers(student, tuple(TELLING)), student)


def test_an_int8_bundle_teaches_like_its_checkpoint(config, checkpoint, int8, prepared):
    texts = prepared.split("train").texts[:40]
    ours, theirs = _teach(texts, config, int8.folder), _teach(texts, config, checkpoint)
    assert np.abs(ours - theirs).max() < 0.1
    both = _teach(texts, config, int8.folder, checkpoint)
    np.testing.assert_allclose(both, (ours + theirs) / 2, atol=1e-6)
    found = _teach(["как же я рад тебя видеть"], config, "emotions-ru-tiny")
    assert EKMAN.labels[int(found[0].argmax())] == "joy"


def test_what_a_bundle_said_holds_whatever_the_student_computes_in(
    config, int8, prepared, tmp_path, monkeypatch
):
    texts, kept = prepared.split("train").texts[:5], replace(config, teacher_cache=tmp_path)
    told = _teach(texts, replace(kept, precision="fp32"), int8.folder)
    monkeypatch.delattr(teachers, "_ask_bundle")
    again = _teach(texts, replace(kept, precision="bf16", max_length=8), int8.folder)
    assert again.tolist() == told.tolist()


def test_texts_that_nobody_labelled_are_drawn_scored_once_and_counted(
    config, checkpoint, prepared, tmp_path, monkeypatch
):
    held_out = prepared.split("test_goemotions").texts[:5]
    lines = [*held_out, held_out[0].upper() + "!", "ёлка стоит в углу", "дождь идёт с утра"]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    student = replace(
        config,
        output=tmp_path / "one",
        epochs=1,
        teachers=(str(checkpoint),),
        teacher_cache=tmp_path / "kept",
        unlabelled=(tmp_path / "texts.txt",),
        unlabelled_rows=100,
        unlabelled_source="made up",
        unlabelled_licence="CC0-1.0",
        recombined_rows=50,
    )
    texts = prepared.split("train").texts
    drawn = draw_texts(texts, prepared, student)
    assert sorted(drawn.unlabelled) == ["дождь идёт с утра", "ёлка стоит в углу"]
    assert drawn == draw_texts(texts, prepared, student)
    assert draw_texts(texts, prepared, replace(student, seed=5)).recombined != drawn.recombined
    told: list[Progress] = []
    facts = train(student, told.append)
    assert {"texts", "steps"} == {progress.unit for progress in told}
    assert any(progress.note == f"asking {checkpoint.name}" for progress in told)
    assert facts.drawn_rows == {
        "unlabelled": 2,
        "recombined": len(drawn.recombined),
        "left_out_as_held_out": drawn.held_out,
    }
    assert facts.training_rows == len(texts) + len(drawn.texts)
    source = facts.data.sources[-1]
    assert (source.name, source.rows, source.licence) == ("unlabelled", 2, "CC0-1.0")
    assert source.url.strip(), "a bundle's manifest refuses a blank one"
    (kept,) = (tmp_path / "kept").iterdir()
    assert np.load(kept).shape == (facts.training_rows, len(TELLING))

    def asked_again(*_: object, **__: object) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(teachers, "predict_logits", asked_again)
    two = replace(student, output=tmp_path / "two")
    train(two)
    assert _outcome(two) == _outcome(student)
    with pytest.raises(AssertionError, match="asked again"):
        train(replace(student, output=tmp_path / "three", max_length=8))


# Refusals: before anything is tokenised, scored or trained


@pytest.fixture
def nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def begins(*_: object, **__: object) -> None:
        raise AssertionError("the work had begun")

    for name in ("tokenize", "load_tokenizer", "draw_texts", "teach"):
        monkeypatch.setattr(f"ov_emotions.training.run.{name}", begins)


@pytest.mark.usefixtures("nothing_begins")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"teachers": ("emotions-ru-tyny",)}, TrainingError, "teachers: .*emotions-ru-tyny"),
        ({"teachers": ("RUN",)}, TrainingError, "did you mean .*best"),
        ({"base": "RUN"}, CheckpointError, "did you mean .*best"),
        ({"base": "BUNDLE"}, CheckpointError, "is a bundle, which does not learn"),
        ({"base": "./missing"}, CheckpointError, "there is no folder ./missing"),
        ({"row_weight": {"rage": 2.0}}, TrainingError, "row_weight: .*'rage' is not in"),
        ({"origin_weight": {"cedar": 2.0}}, TrainingError, "cedar; there are brighter_rus, cedr"),
        ({"data": Path("missing")}, DataError, "is not a prepared folder"),
        ({"track": "mlflow"}, ImportError, r"pip install 'ov-emotions\[tracking\]'"),
    ],
)
def test_what_cannot_be_is_refused_before_it_costs_minutes(
    quick, checkpoint, int8, monkeypatch, options, error, message
):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    places = {"RUN": str(checkpoint.parent), "BUNDLE": str(int8.folder)}
    options = {
        name: tuple(places.get(v, v) for v in value)
        if isinstance(value, tuple)
        else places.get(str(value), value)
        for name, value in options.items()
    }
    with pytest.raises(error, match=message):
        train(replace(quick, **options))
    assert not quick.output.exists()


@pytest.fixture(scope="module")
def classifier_base(tiny_base: Path, tmp_path_factory) -> Path:
    """What a transformers notebook leaves: a classifier with a head of its own."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("classifier") / "bert"
    config = transformers.BertConfig.from_pretrained(tiny_base, num_labels=3)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    shutil.copy(tiny_base / "tokenizer.json", folder)
    return folder


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module."])
def test_a_classifier_s_encoder_is_taken_whatever_its_weights_are_called(
    classifier_base, tmp_path, caplog, prefix
):
    base = tmp_path / "base"
    shutil.copytree(classifier_base, base)
    # Copies: what is read is the file itself, which is written over.
    weights = {prefix + k: v.clone() for k, v in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    model = EmotionModel.from_base(str(base), HeadConfig(7))
    expected = weights[f"{prefix}bert.embeddings.word_embeddings.weight"]
    assert torch.equal(model.encoder.embeddings.word_embeddings.weight, expected)
    assert "its head (LABEL_0, LABEL_1, LABEL_2) is left out" in caplog.text


def _written(name: str, text: str) -> Callable[[Path], None]:
    return lambda base: write_text(base / name, text)


def _other_names(base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    renamed = {f"tower.{i}": v.clone() for i, v in enumerate(weights.values())}
    save_file(renamed, base / "model.safetensors", metadata={"format": "pt"})


def _latin(base: Path) -> None:
    spec = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    latin = {k: i for i, k in enumerate(k for k in spec["model"]["vocab"] if k.isascii())}
    spec["model"]["vocab"] = latin
    write_text(base / "tokenizer.json", json.dumps(spec))


def _larger_tokenizer(base: Path) -> None:
    config = json.loads((base / "config.json").read_text("utf-8"))
    small = transformers.BertConfig(**config | {"vocab_size": 20})
    transformers.BertModel(small, add_pooling_layer=False).save_pretrained(base)


def _unexportable(base: Path) -> None:
    config = transformers.MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1)
    transformers.MambaModel(config).save_pretrained(base)


def _seq2seq(base: Path) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(vocab_size=300, **sizes)
    transformers.T5ForConditionalGeneration(config).save_pretrained(base)


@pytest.mark.filterwarnings("ignore")  # of converting, and of what Mamba lacks here
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_other_names, "are not those of a bert encoder: 100% of them would start random"),
        (lambda base: (base / "tokenizer.json").unlink(), "has no tokeniser"),
        (_written("adapter_config.json", "{}"), "is an adapter .*merge it into its base"),
        (_latin, "of the words of the training texts are unknown to the tokeniser"),
        (_larger_tokenizer, "they do not belong together"),
        (_unexportable, "is a mamba model, and OpenVINO cannot take such a one"),
        (_seq2seq, "is a t5 model, which writes text from text; train it by"),
        (lambda base: (base / "config.json").unlink(), "has no config.json"),
        (_written("model.safetensors", "0" * 100), "cannot load"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_base_that_cannot_be_trained_or_served_is_refused_in_a_sentence(
    quick, tiny_base, tmp_path, damage, message
):
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    damage(base)
    with pytest.raises((CheckpointError, TrainingError), match=message):
        train(replace(quick, base=str(base)))
    assert not (quick.output / "best").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 41}, r"max_length is 41, and .* reads at most 40"),
        (
            {"learning_rate": 1e30, "epochs": 3},
            r"the loss became nan at step .*; lower the learning",
        ),
    ],
)
def test_more_tokens_than_can_be_read_and_a_loss_that_is_no_number_end_the_run(
    quick, options, message
):
    with pytest.raises(TrainingError, match=message):
        train(replace(quick, **options))


# Encoders that are not BERT


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "pad_token_id": 0,
}
OTHERS = {
    "gemma3_text": {
        "use_bidirectional_attention": True,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 16,
    },
    "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "share_att_key": True,
        "type_vocab_size": 0,
    },
}


@pytest.mark.filterwarnings("ignore")  # of converting
@pytest.mark.parametrize("kind", OTHERS)
def test_encoders_of_other_kinds_are_trained_quantized_and_served(
    config, tiny_base, tmp_path, kind
):
    base = tmp_path / "base"
    base.mkdir()
    shutil.copy(tiny_base / "tokenizer.json", base)
    size = len(json.loads((base / "tokenizer.json").read_text("utf-8"))["model"]["vocab"])
    torch.manual_seed(2)
    encoder = transformers.AutoConfig.for_model(kind, vocab_size=size, **SIZES, **OTHERS[kind])
    transformers.AutoModel.from_config(encoder).save_pretrained(base)
    run = replace(config, base=str(base), output=tmp_path / "run", epochs=3)
    facts: CheckpointFacts = train(run)
    assert facts.selection["macro_f1"] > 0.6
    assert _history(run)[-1]["loss"] < _history(run)[0]["loss"]
    assert EmotionModel.load(run.output / "best").config.model_type == kind
    folders = {name: str(tmp_path / name) for name in ("fp32", "int8", "served")}
    best, data = str(run.output / "best"), ["--data", str(run.data)]
    assert main(["export", best, folders["fp32"], *data]) == 0
    small = ["--subset-size", "40", *data]
    assert main(["quantize", folders["fp32"], folders["int8"], *small]) == 0
    assert main(["ovms", "build", folders["int8"], folders["served"]]) == 0
    texts = [f"{word} утро" for word in TELLING.values()]
    with EmotionClassifier(folders["int8"]) as small, EmotionClassifier(folders["fp32"]) as large:
        difference = np.abs(small.predict_proba(texts) - large.predict_proba(texts))
    assert difference.max() < 0.15
