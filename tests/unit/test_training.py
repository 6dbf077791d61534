"""What a run is made of: settings, rows and their weights, batches, losses."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("tomli_w", reason="settings are written with tomli-w", exc_type=ImportError)

import torch

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.encoding import TextEncoder, tokenize
from ov_emotions.errors import CheckpointError, TrainingError
from ov_emotions.labels import EKMAN
from ov_emotions.training import settings as settings_module
from ov_emotions.training.checkpoint import load_tokenizer, read_checkpoint_facts
from ov_emotions.training.device import bf16_gain, choose_device
from ov_emotions.training.examples import (
    Examples,
    LengthBatches,
    asymmetric,
    bce,
    choose_loss,
    chosen_rows,
    entry_weights,
    loss_scale,
    masked_sum,
    row_weights,
)
from ov_emotions.training.settings import (
    DistillConfig,
    Text2TextConfig,
    TrainConfig,
    load_settings,
    preset_description,
    preset_names,
    preset_values,
    settings_text,
)

OWN = {"data": Path("d"), "output": Path("o")}
ROOT = Path(__file__).resolve().parents[2]


def _config(**values) -> TrainConfig:
    return TrainConfig(**{"base": "base", **OWN, **values})


# Settings


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TrainConfig, {"epochs": 0}),
        (TrainConfig, {"learning_rate": float("nan")}),
        (TrainConfig, {"max_length": 3}),
        (TrainConfig, {"warmup": 1.0}),
        (TrainConfig, {"dropout": -0.1}),
        (TrainConfig, {"teacher_weight": 1.1}),
        (TrainConfig, {"precision": "fp64"}),
        (TrainConfig, {"loss": "focal"}),
        (TrainConfig, {"unlabelled_rows": 10}),
        (TrainConfig, {"teacher_only": ("cedr",)}),
        (Text2TextConfig, {"rows": -1}),
        (Text2TextConfig, {"optimizer": "sgd"}),
        (Text2TextConfig, {"beams": 0}),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(kind, values):
    with pytest.raises(TrainingError, match=next(iter(values))):
        kind(base="base", **OWN, **values)


def test_what_is_written_with_a_run_says_what_each_key_does_and_reads_back_as_the_same_run(
    tmp_path,
):
    config = _config(
        learning_rate=3e-5,
        compile=True,
        positive_weight={"joy": 2.0},
        teachers=("a", "b"),
        origin_weight={},
        max_grad_norm=float("inf"),
        unlabelled=(Path("x.txt"),),
        unlabelled_source='«кавычки» "и" \\',
    )
    text = settings_text(config)
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    assert load_settings(TrainConfig, file=path) == config
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
    lines = text.splitlines()
    for field in fields(TrainConfig):
        set_ = getattr(config, field.name) is not None and not isinstance(
            getattr(config, field.name), dict
        )
        start = f"{field.name} = " if set_ else f"# {field.name} is not set"
        at = [i for i, line in enumerate(lines) if line.startswith((start, f"[{field.name}]"))]
        assert lines[at[0] - 1].startswith("# ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat = 1.0", r"run.toml: unknown key 'learning_rat'; did you mean 'learning_ra"),
        ("epochs = 1.5", "epochs"),
        ('compile = "yes"', "compile"),
        ("[positive_weight]\njoy = 'much'", "positive_weight"),
        ('base = "b"\ndropout = 1.5', "dropout"),
        ("epochs = ", "not valid TOML"),
        ("", "a run needs base"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=message):
        load_settings(TrainConfig, file=path, given=OWN)


def test_a_flag_wins_over_the_file_over_the_preset_over_the_default(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("epochs = 7\nmax_length = 20\nlearning_rate = 1\n", encoding="utf-8")
    config = load_settings(TrainConfig, "ruroberta-large", file, {**OWN, "max_length": 10})
    assert (config.max_length, config.epochs, config.learning_rate) == (10, 7, 1.0)
    assert (config.optimizer, config.patience) == ("adam", TrainConfig.patience)


def test_the_presets_have_the_settings_of_the_earlier_projects():
    linear, weighted, two = (
        load_settings(TrainConfig, name, given=OWN)
        for name in ("ruroberta-large", "rubert-tiny2-weighted", "ruroberta-large-two-layer")
    )
    assert linear.base == two.base == "ai-forever/ruRoberta-large"
    assert (linear.max_length, linear.batch_size, linear.epochs) == (32, 64, 4)
    assert (linear.optimizer, linear.learning_rate, linear.hidden_size) == ("adam", 1e-5, 0)
    assert (two.max_length, two.epochs, two.hidden_dropout) == (64, 3, 0.85)
    assert 750 <= two.hidden_size <= 800
    assert (weighted.loss, weighted.class_weighting) == ("bce", "inverse")
    student = {"base": "b", "teachers": ("t",)}
    assert load_settings(TrainConfig, "distill", given=OWN | student).to_dict() == (
        DistillConfig(**OWN, **student).to_dict()
    )
    assert all(preset_description(name) and preset_values(name) for name in preset_names())
    with pytest.raises(TrainingError, match="no preset 'x'; choose one of distill, rubert-tiny2"):
        load_settings(TrainConfig, "x", given=OWN)
    for path in (Path(settings_module.__file__).parent / "presets").glob("*.toml"):
        assert not {*OWN, "device"} & set(tomllib.loads(path.read_text("utf-8")))


# Rows


@pytest.fixture
def data():
    targets = np.zeros((4, len(EKMAN)), dtype=np.int8)
    targets[1, EKMAN.index("joy")] = 1
    targets[2, EKMAN.index("joy")] = targets[2, EKMAN.index("fear")] = 1
    targets[3] = UNKNOWN
    made = ("", "emoji", "", "emoji")
    return LabelledTexts(
        EKMAN,
        ("a", "b", "c", "d"),
        targets,
        ("x", "x", "y", "y"),
        np.arange(4),
        made,
        np.array([-1, 0, -1, 2]),
    )


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, [1, 1, 1, 1]),
        ({"row_weight": {"joy": 0.5, "fear": 3.0}}, [1, 0.5, 3, 1]),
        ({"row_weight": {"joy": 2.0}, "origin_weight": {"y": 0.25}}, [1, 2, 0.5, 0.25]),
        (
            {"origin_weight": {"y": 0.5}, "augmentation_weight": {"emoji": 0.25}},
            [1, 0.25, 0.5, 0.125],
        ),
    ],
)
def test_rows_weigh_by_label_set_and_method(data, options, weights):
    np.testing.assert_allclose(row_weights(data, _config(**options)), weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augmentation_weight": {"noise": 0.5}}, "'noise', which made no training row"),
        ({"augmentation_weight": {"emoji": -1.0}}, "augmentation_weight of emoji must be at least"),
        ({"row_weight": {"anticipation": 2.0}}, "'anticipation' is not in ekman-7"),
        ({"teachers": ("t",), "teacher_only": ("z",)}, "without rows: z; there are x, y"),
        ({"origin_weight": {"z": 1.0}}, "without rows: z; there are x, y"),
        ({"origin_weight": {"x": 0.0, "y": 0.0}}, "leaves no training rows"),
    ],
)
def test_weights_of_what_is_not_there_are_refused(data, options, message):
    config = _config(**options)
    with pytest.raises(TrainingError, match=message):
        row_weights(chosen_rows(data, config), config)


def test_entries_weigh_by_what_is_known_of_them(data):
    weights = entry_weights(data, _config(teachers=("t",), teacher_only=("x",)))
    assert not weights[:2].any()
    assert weights[2].all()
    assert not weights[3].any()  # all unknown, whoever labels it
    joy = EKMAN.index("joy")
    inverse = entry_weights(data, _config(class_weighting="inverse"))
    assert inverse[1, joy] == 0.5  # absent once, present twice
    assert inverse[2, EKMAN.index("fear")] == 2
    assert inverse[0, joy] == 1
    by_hand = _config(class_weighting="inverse", positive_weight={"joy": 7.0})
    assert entry_weights(data, by_hand)[1, joy] == 7


def test_teachers_have_no_say_where_labels_alone_are_learned(data):
    said = np.full(data.targets.shape, 0.4, dtype=np.float32)
    config = _config(teachers=("t",), label_only=("x",))
    taught = Examples.of(data, [np.zeros(3, np.int32)] * len(data), said, config).teacher
    known = data.targets != UNKNOWN
    of_x = np.array([origin == "x" for origin in data.origins])[:, None] & known
    assert of_x.any()
    assert (taught[of_x] == data.targets[of_x]).all()
    assert (taught[~of_x] == np.float32(0.4)).all()


# Batches


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=200),
    st.integers(1, 16),
    st.integers(0, 3),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_has_every_row_once_over_all_processes(lengths, batch_size, epoch, processes):
    parts = []
    for rank in range(processes):
        batches = LengthBatches(lengths, batch_size, 1, rank, processes)
        batches.set_epoch(epoch)
        parts.append(list(batches))
        assert len(parts[-1]) == len(batches)
    together = [list(chain(*shares)) for shares in zip(*parts, strict=True)]
    rows = [[row for row in batch if row >= 0] for batch in together]
    assert sorted(chain(*rows)) == list(range(len(lengths)))
    assert max(map(len, rows)) <= batch_size


def test_seed_and_epoch_alone_fix_an_order_of_like_lengths():
    sizes = np.random.default_rng(0).integers(1, 100, 320)

    def order(seed, epoch):
        batches = LengthBatches(sizes.tolist(), 8, seed)
        batches.set_epoch(epoch)
        torch.rand(3)
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert np.mean([np.ptp(sizes[batch]) for batch in order(1, 0)]) < 5
    longest = [sizes[batch].max() for batch in order(1, 0)]
    assert longest != sorted(longest)


def test_long_texts_are_cut_and_a_spelled_separator_reads_as_in_classification(
    tiny_tokenizer_json, tmp_path
):
    (tmp_path / "tokenizer.json").write_text(tiny_tokenizer_json, encoding="utf-8")
    tokenizer = load_tokenizer(str(tmp_path))
    end = tokenizer.token_to_id("[SEP]")
    ids = tokenize(tokenizer, ["злость " * 20, "злость"], 6)
    assert [len(row) for row in ids] == [6, 3]
    assert ids[0][-1] == end
    assert tokenizer.truncation is None
    text = "злость [SEP] [PAD] слово"
    trained = tokenize(tokenizer, [text], 32)[0].tolist()
    classified = TextEncoder(Tokenizer.from_str(tiny_tokenizer_json), 32).encode([text]).ids
    assert trained == classified.tolist()
    assert trained.count(end) == 1


# Losses

LOGITS = torch.tensor([[0.3, -1.2], [2.0, 0.1]])
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ROWS = torch.ones(2)
P = 1 / (1 + np.exp(-LOGITS.numpy()))


def _loss(logits, weights, rows=ROWS, teacher=None, share=0.5, targets=TARGETS, loss=bce):
    scale = loss_scale(weights, rows, taught=teacher is not None)
    return masked_sum(logits, targets, weights, rows, teacher, share, loss) / scale.clamp(min=1e-6)


def test_the_loss_is_the_mean_over_known_entries_and_an_unknown_one_pulls_nothing():
    weights = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = -np.mean([np.log(P[0, 0]), np.log(1 - P[1, 0]), np.log(P[1, 1])])
    logits = LOGITS.clone().requires_grad_()
    loss = _loss(logits, weights)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert logits.grad[0, 1] == 0
    assert (logits.grad[weights > 0] != 0).all()
    assert float(_loss(LOGITS, torch.zeros_like(LOGITS))) == 0.0


def test_a_row_without_any_known_label_learns_from_the_teacher_alone():
    logits = LOGITS.clone().requires_grad_()
    weights = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    _loss(logits, weights, teacher=torch.sigmoid(LOGITS)).backward()
    # The teacher agrees with the model there, so nothing pulls.
    np.testing.assert_allclose(logits.grad[0], 0, atol=1e-7)
    assert (logits.grad[1].abs() > 0.01).all()
    alone, half = {"share": 1.0}, torch.full_like(LOGITS, 0.5)
    ones = torch.ones_like(LOGITS)
    assert float(_loss(LOGITS, ones, teacher=half, **alone)) == pytest.approx(
        float(_loss(LOGITS, ones, teacher=half, targets=1 - TARGETS, **alone))
    )


@pytest.mark.parametrize("teacher", [None, torch.full_like(LOGITS, 0.3)])
def test_a_row_of_weight_two_counts_twice_and_a_step_is_the_sum_of_its_parts(teacher):
    weights = torch.tensor([[1.0, 0.0], [3.0, 1.0]])
    rows = torch.tensor([2.0, 1.0])
    whole = _loss(LOGITS, weights, rows, teacher)
    twice = [0, 0, 1]
    repeated = _loss(
        LOGITS[twice],
        weights[twice],
        torch.ones(3),
        None if teacher is None else teacher[twice],
        targets=TARGETS[twice],
    )
    assert float(whole) == pytest.approx(float(repeated), rel=1e-5)
    taught = teacher is not None
    total = loss_scale(weights, rows, taught=taught)
    parts = [
        masked_sum(LOGITS[i], TARGETS[i], weights[i], rows[i], teacher[i] if taught else None, 0.5)
        / total
        for i in (slice(0, 1), slice(1, 2))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)


def test_the_asymmetric_loss_is_the_paper_s_and_no_loss_has_a_gradient_without_bounds():
    shifted = np.maximum(P - 0.25, 0)  # shifts the second entry of the first row to nothing
    assert shifted[0, 1] == 0
    absent = -(shifted**4) * np.log(1 - shifted)
    expected = np.where(TARGETS.numpy() == 1, -(1 - P) * np.log(P), absent)
    loss = asymmetric(LOGITS, TARGETS, 1.0, 4.0, 0.25)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-12)
    plain = asymmetric(LOGITS, TARGETS, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(plain, bce(LOGITS, TARGETS), rtol=1e-6)
    for config in (_config(), _config(loss="asymmetric", asymmetric_positive=0.5)):
        logits = torch.tensor([[-200.0, -30.0, 0.0, 30.0, 200.0]] * 2).requires_grad_()
        targets, ones = torch.stack([torch.ones(5), torch.zeros(5)]), torch.ones(2, 5)
        value = _loss(logits, ones, targets=targets, loss=choose_loss(config))
        value.backward()
        assert torch.isfinite(value)
        assert logits.grad.abs().max() < 100


# Devices and checkpoints


@pytest.mark.parametrize(
    ("device", "precision", "processes", "message"),
    [
        ("gpu", "fp32", "1", "'gpu' is none of auto, cpu, cuda"),
        ("cuda:99", "fp32", "1", "cuda:99 was asked for"),
        ("cpu", "fp16", "1", "fp16 needs CUDA"),
        ("cuda:1", "fp32", "2", "cuda:1 was asked for, but several processes"),
    ],
)
def test_a_device_that_cannot_be_is_refused_by_name(
    monkeypatch, device, precision, processes, message
):
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(TrainingError, match=message):
        choose_device(device, precision)


@pytest.mark.parametrize(
    ("gain", "precision", "attention"),
    [(0.5, "fp32", "auto"), (1.8, "bf16 autocast", "eager")],
)
def test_auto_takes_what_the_cpu_multiplies_faster(monkeypatch, gain, precision, attention):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr("ov_emotions.training.device.bf16_gain", lambda: gain)
    device = choose_device("cpu", "auto")
    assert (device.precision, device.attention("auto")) == (precision, attention)
    assert device.attention("sdpa") == "sdpa"
    assert choose_device("cpu", "bf16").precision == "bf16 autocast"


def test_the_gain_of_bf16_is_measured():
    assert 0.01 < bf16_gain() < 100


def test_the_committed_checkpoints_are_read():
    seeds = {"emotions-ru-small-desk": 22, "emotions-ru-small-forum": 5, "emotions-ru-tiny": 7}
    for name, seed in seeds.items():
        folder = ROOT / "quantize" / "checkpoints" / name
        facts = read_checkpoint_facts(folder)
        assert facts.labels == EKMAN.labels
        assert sum(source.rows for source in facts.data.sources) > 10_000
        assert facts.run_facts()["training"]["seed"] == seed


@pytest.mark.parametrize(
    ("folder", "text", "message"),
    [
        (".", None, "it has no checkpoint.json"),
        (".", "{", "not valid JSON"),
        (".", "[1]", "expected object"),
        (".", '{"schema": 2}', "schema"),
        (".", '{"schema": 1, "labels": ["joy"]}', "label_names_ru"),
        ("best", "{}", r"did you mean .*best"),  # the folder of the run was named
    ],
)
def test_a_folder_that_is_no_checkpoint_is_told_in_a_sentence(tmp_path, folder, text, message):
    (tmp_path / folder).mkdir(exist_ok=True)
    if text is not None:
        (tmp_path / folder / "checkpoint.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint_facts(tmp_path)
