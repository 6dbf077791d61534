"""Every training option on a two-layer encoder and a hundred texts."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)

import torch
from safetensors.torch import load_file

from ov_emotions.errors import CheckpointError, TrainingError
from ov_emotions.export import ExportConfig, export_bundle
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.device import choose_device
from ov_emotions.training.model import ACTIVATIONS, EmotionModel, HeadConfig
from ov_emotions.training.optimizer import layer_rates, make_optimizer
from ov_emotions.training.run import train
from ov_emotions.training.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def quick(config: TrainConfig, tmp_path: Path, one_thread: None) -> TrainConfig:  # noqa: ARG001
    """An epoch of four steps."""
    return replace(
        config,
        output=tmp_path / "run",
        epochs=1,
        batch_size=32,
        max_rows=100,
        evaluations_per_epoch=1,
    )


def _weights(config: TrainConfig) -> dict[str, torch.Tensor]:
    return load_file(config.output / "best" / "model.safetensors")


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def _history(config: TrainConfig) -> list[dict[str, float]]:
    history: list[dict[str, float]] = json.loads(
        (config.output / "history.json").read_text("utf-8")
    )
    return history


@pytest.fixture(scope="module")
def plain(
    config: TrainConfig,
    tmp_path_factory: pytest.TempPathFactory,
    one_thread: None,  # noqa: ARG001
) -> dict[str, torch.Tensor]:
    """Weights of a quick run where no option is taken."""
    run = replace(
        config,
        output=tmp_path_factory.mktemp("plain") / "run",
        epochs=1,
        batch_size=32,
        max_rows=100,
        evaluations_per_epoch=1,
    )
    train(run)
    return _weights(run)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 48, "activation": "relu", "dropout": 0.85},
        {"hidden_size": 48, "activation": "tanh", "hidden_dropout": 0.85},
        {"pooling": "cls"},
        {"pooling": "cls+mean"},
        {"loss": "focal"},
        {"loss": "focal", "focal_alpha": 0.25, "label_smoothing": 0.1},
        {"loss": "asymmetric"},
        {"loss": "asymmetric", "label_smoothing": 0.1, "row_weight": {"fear": 2.0}},
        {"class_weighting": "inverse"},
        {"class_weighting": "sqrt_inverse", "positive_weight": {"joy": 3.0}},
        {"class_weighting": "effective"},
        {"schedule": "cosine"},
        {"schedule": "constant", "warmup": 0.3},
        {"layer_decay": 0.5},
        {"freeze_embeddings": True},
        {"accumulation_steps": 2},
        {"max_grad_norm": 0.01},
        {"precision": "bf16"},
        {"optimizer": "adam"},
    ],
    ids=lambda options: " ".join(map(str, options)) + " " + str(next(iter(options.values()))),
)
def test_every_option_trains_is_written_down_and_changes_the_model(quick, plain, options):
    config = replace(quick, **options)
    facts = train(config)
    assert facts["training_rows"] == 100
    assert np.isfinite(_history(config)[-1]["loss"])
    for name, value in options.items():
        assert facts["training"][name] == value
    model = EmotionModel.load(config.output / "best")
    for name in {field.name for field in dataclasses.fields(HeadConfig)} & set(options):
        assert getattr(model.head, name) == options[name]
    assert not _same(_weights(config), plain)
    assert load_settings(file=config.output / "config.toml") == config


def test_compiling_changes_no_more_than_rounding(quick, plain, monkeypatch):
    # The graphs are traced for real; they run without the C++ compiler, which takes long.
    monkeypatch.setattr("ov_emotions.training.loop._COMPILER", "eager")
    train(replace(quick, compile=True))
    for name, value in _weights(quick).items():
        torch.testing.assert_close(value, plain[name], atol=2e-3, rtol=1e-2)


def test_a_machine_that_cannot_compile_is_told_so_in_a_sentence(quick, monkeypatch):
    def broken(*_args: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr("ov_emotions.training.loop._COMPILER", broken)
    with pytest.raises(TrainingError, match=r"torch\.compile does not take this model here"):
        train(replace(quick, compile=True))


@pytest.fixture(scope="module")
def calm_base(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base without dropout inside: what is added up then does not depend on the order."""
    folder = tmp_path_factory.mktemp("calm") / "base"
    shutil.copytree(config.base, folder)
    path = folder / "config.json"
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | calm), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("loss", ["bce", "asymmetric"])
def test_accumulating_halves_is_the_whole_batch(quick, calm_base, loss):
    whole = replace(quick, base=calm_base, dropout=0.0, max_rows=64, batch_size=64, loss=loss)
    halves = replace(whole, output=quick.output.parent / "h", batch_size=32, accumulation_steps=2)
    train(whole)
    train(halves)
    assert _history(whole)[-1]["step"] == _history(halves)[-1]["step"] == 1
    assert _history(halves)[-1]["loss"] == pytest.approx(_history(whole)[-1]["loss"], abs=2e-5)


def test_the_embeddings_that_are_frozen_stay_as_the_base_has_them(quick):
    train(replace(quick, freeze_embeddings=True))
    base = EmotionModel.from_base(quick.base, HeadConfig(7)).state_dict()
    for name, value in _weights(quick).items():
        if name.startswith("encoder."):
            assert torch.equal(value, base[name].half()) is (".embeddings." in f".{name}")


def test_lower_layers_learn_slower_and_embeddings_slowest(quick):
    model = EmotionModel.from_base(quick.base, HeadConfig(7, hidden_size=5))
    rates = layer_rates(model, 0.5)
    assert rates["encoder.layer.1.attention.self.query.weight"] == 1.0
    assert rates["encoder.layer.0.output.dense.bias"] == 0.5
    assert rates["embeddings.word_embeddings.weight"] == 0.25
    optimizer = make_optimizer(model, replace(quick, layer_decay=0.5))
    found = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert found[id(model.hidden.weight)] == quick.head_learning_rate
    assert found[id(model.classifier.bias)] == quick.head_learning_rate
    assert found[id(model.encoder.embeddings.word_embeddings.weight)] == quick.learning_rate / 4


def test_a_head_of_two_layers_is_what_it_says_and_sits_between_its_dropouts(quick):
    torch.manual_seed(0)
    head = HeadConfig(7, "cls", 0.85, 12, "tanh", 0.85)
    model = EmotionModel.from_base(quick.base, head).eval()
    ids = torch.tensor([[2, 7, 8, 3]])
    mask = torch.ones_like(ids)
    state = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    inner = torch.tanh(state @ model.hidden.weight.T + model.hidden.bias)
    expected = inner @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(ids, mask), expected)
    model.dropout.train()
    assert not torch.equal(model(ids, mask), expected)
    model.dropout.eval()
    model.hidden_dropout.train()
    assert not torch.equal(model(ids, mask), expected)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_heads_of_two_layers_export_to_the_same_logits(quick, prepared, tmp_path, activation):
    pytest.importorskip("optimum.intel", reason="export needs optimum-intel")
    torch.manual_seed(0)
    facts = train(replace(quick, hidden_size=24, activation=activation, hidden_dropout=0.5))
    assert facts["training"]["activation"] == activation
    config = ExportConfig(
        quick.output / "best", tmp_path / "fp32", "tiny", base_licence="MIT", licence="MIT"
    )
    texts = prepared.validation_part("selection").texts[:20]
    _, parity = export_bundle(config, texts)
    assert parity.largest < 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_the_one_of_its_name(quick, activation):
    model = EmotionModel.from_base(quick.base, HeadConfig(7, hidden_size=3, activation=activation))
    found = model.activate(torch.tensor([-2.0, -0.5, 0.0, 3.0]))
    module = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "leaky_relu": "LeakyReLU"}
    name = module.get(activation, {"tanh": "Tanh", "elu": "ELU"}.get(activation, ""))
    expected = getattr(torch.nn, name)()(torch.tensor([-2.0, -0.5, 0.0, 3.0]))
    torch.testing.assert_close(found, expected)


def test_heads_written_before_there_were_two_layers_are_read():
    for path in sorted((ROOT / "quantize" / "checkpoints").glob("*/head.json")):
        head = HeadConfig(**json.loads(path.read_text(encoding="utf-8")))
        assert head.hidden_size == 0
        assert head.labels == 7


def test_a_head_that_nobody_knows_is_no_usable_checkpoint(quick):
    train(quick)
    path = quick.output / "best" / "head.json"
    head = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(head | {"hidden_size": 4, "activation": "sine"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a usable checkpoint"):
        EmotionModel.load(quick.output / "best")


def test_a_checkpoint_trained_on_keeps_its_head_and_takes_new_dropout(quick, tmp_path):
    first = replace(quick, hidden_size=16, hidden_dropout=0.5)
    train(first)
    best = str(first.output / "best")
    second = replace(
        first, base=best, output=tmp_path / "on", hidden_dropout=0.1, learning_rate=1e-9
    )
    train(replace(second, head_learning_rate=1e-9))
    assert EmotionModel.load(second.output / "best").head.hidden_dropout == 0.1
    for name, value in _weights(second).items():
        torch.testing.assert_close(value, _weights(first)[name], atol=1e-3, rtol=1e-2)
    with pytest.raises(TrainingError, match="hidden_size 16; this run has 8"):
        train(replace(second, output=tmp_path / "other", hidden_size=8))


def test_half_precision_of_the_other_kind_is_for_cuda(quick):
    with pytest.raises(TrainingError, match="fp16 needs CUDA"):
        train(replace(quick, precision="fp16"))
    assert not choose_device("cpu", "bf16").scaler().is_enabled()


def test_the_course_of_a_run_is_a_table_too(quick):
    train(replace(quick, evaluations_per_epoch=2))
    with (quick.output / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == _history(quick)
    assert len(rows) == 2


def test_the_settings_written_with_a_run_repeat_it(quick, tmp_path):
    train(quick)
    written = load_settings(file=quick.output / "config.toml", given={"output": tmp_path / "again"})
    train(written)
    assert _same(_weights(written), _weights(quick))


def test_without_the_package_tracking_is_one_sentence(quick, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"pip install 'ov-emotions\[tracking\]'"):
        train(replace(quick, track="mlflow"))


def test_a_server_that_is_not_there_is_one_sentence(quick, monkeypatch, caplog):
    pytest.importorskip("mlflow", reason="tracking needs mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(TrainingError, match="does not take the run"):
        train(replace(quick, track="mlflow", tracking_uri="http://127.0.0.1:9"))
