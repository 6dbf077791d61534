from __future__ import annotations

import json
from pathlib import Path

import pytest

from ov_emotions.errors import TrainingError
from ov_emotions.training.config import TrainConfig


def _config(**values) -> TrainConfig:
    return TrainConfig("base", Path("data"), Path("out"), **values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("head_learning_rate", -1e-3),
        ("max_grad_norm", 0.0),
        ("max_length", 3),
        ("warmup", 1.0),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("ema_decay", 1.0),
        ("label_smoothing", 1.5),
        ("patience", 0),
        ("evaluations_per_epoch", 0),
        ("weight_decay", -0.1),
        ("seed", -1),
        ("teacher_weight", 1.1),
        ("precision", "fp64"),
        ("accumulation_steps", 0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("hidden_size", -1),
        ("hidden_dropout", 1.0),
        ("activation", "sine"),
        ("loss", "hinge"),
        ("class_weighting", "some"),
        ("effective_beta", 1.0),
        ("focal_alpha", -0.5),
        ("focal_gamma", -1.0),
        ("asymmetric_clip", float("nan")),
        ("optimizer", "sgd"),
        ("schedule", "step"),
        ("track", "elsewhere"),
        ("max_rows", -1),
        ("pooling", "max"),
        ("unlabelled_rows", 10),
        ("unlabelled_rows", -1),
        ("recombined_rows", 10),
        ("recombined_rows", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(TrainingError, match=name):
        _config(**{name: value})


def test_the_edges_of_the_ranges_are_allowed():
    config = _config(dropout=0.0, warmup=0.0, teacher_weight=1.0, max_length=4, seed=0)
    assert config.max_length == 4


def test_a_configuration_becomes_plain_json():
    config = _config(
        teachers=(Path("t/best"),), unlabelled=(Path("a.txt"),), origin_weight={"cedr": 2.0}
    )
    plain = config.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["data"] == "data"
    assert plain["teachers"] == ["t/best"]
    assert plain["unlabelled"] == ["a.txt"]
    assert plain["origin_weight"] == {"cedr": 2.0}
    assert plain["epochs"] == TrainConfig.epochs


def test_equal_configurations_have_equal_json():
    assert _config().to_dict() == _config().to_dict()
    assert _config(seed=1).to_dict() != _config(seed=2).to_dict()
