from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

import torch

from ov_emotions.data.dataset import UNKNOWN
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.loss import (
    asymmetric,
    bce,
    choose_loss,
    focal,
    loss_scale,
    masked_loss,
    positive_factors,
)
from ov_emotions.training.optimizer import rate_at

LOGITS = torch.tensor([[0.3, -1.2], [2.0, 0.1]])
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
P = 1 / (1 + np.exp(-LOGITS.numpy()))
PT = np.where(TARGETS.numpy() == 1, P, 1 - P)


def test_the_focal_loss_is_the_paper_s():
    expected = -np.array([[0.25, 0.75], [0.75, 0.25]]) * (1 - PT) ** 2 * np.log(PT)
    np.testing.assert_allclose(focal(LOGITS, TARGETS, 2.0, 0.25), expected, rtol=1e-5)
    np.testing.assert_allclose(focal(LOGITS, TARGETS, 0.0, -1.0), bce(LOGITS, TARGETS), rtol=1e-6)


def test_the_asymmetric_loss_is_the_paper_s():
    shifted = np.maximum(P - 0.25, 0)  # shifts the second entry of the first row to nothing
    assert shifted[0, 1] == 0
    expected = np.where(
        TARGETS.numpy() == 1,
        -(1 - P) * np.log(P),
        -(shifted**4) * np.log(1 - shifted),
    )
    loss = asymmetric(LOGITS, TARGETS, 1.0, 4.0, 0.25)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-12)
    plain = asymmetric(LOGITS, TARGETS, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(plain, bce(LOGITS, TARGETS), rtol=1e-6)


@pytest.mark.parametrize("loss", ["bce", "focal", "asymmetric"])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_no_loss_has_a_gradient_without_bounds(loss, gamma):
    config = TrainConfig(
        "b",
        Path("d"),
        Path("o"),
        loss=loss,
        focal_gamma=gamma,
        asymmetric_positive=gamma,
        asymmetric_negative=gamma,
    )
    logits = torch.tensor([[-200.0, -30.0, 0.0, 30.0, 200.0]] * 2).requires_grad_()
    targets = torch.stack([torch.ones(5), torch.zeros(5)])
    value = masked_loss(
        logits, targets, torch.ones(2, 5), torch.ones(2), None, 0.5, choose_loss(config)
    )
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() < 100


@pytest.mark.parametrize("teacher", [None, torch.full_like(LOGITS, 0.3)])
def test_a_batch_s_loss_is_the_sum_of_its_parts_by_their_scale(teacher):
    weights = torch.tensor([[1.0, 0.0], [3.0, 1.0]])
    rows = torch.tensor([2.0, 0.5])
    whole = masked_loss(LOGITS, TARGETS, weights, rows, teacher, 0.5)
    taught = teacher is not None
    total = loss_scale(weights.numpy(), rows.numpy(), taught)
    parts = 0.0
    for i in (slice(0, 1), slice(1, 2)):
        part = masked_loss(
            LOGITS[i], TARGETS[i], weights[i], rows[i], teacher[i] if taught else None, 0.5
        )
        parts += float(part) * loss_scale(weights[i].numpy(), rows[i].numpy(), taught) / total
    assert parts == pytest.approx(float(whole), rel=1e-6)


def test_class_weights_follow_how_often_a_label_is_known_to_be_there():
    # 2 present, 8 absent, 5 unknown; always present; never known.
    targets = np.array(
        [[1, 1, UNKNOWN]] * 2 + [[0, 1, UNKNOWN]] * 8 + [[UNKNOWN, UNKNOWN, UNKNOWN]] * 5,
        dtype=np.int8,
    )

    def factors(weighting, beta=0.9):
        return positive_factors(targets, weighting, beta)

    np.testing.assert_array_equal(factors("none"), [1, 1, 1])
    np.testing.assert_allclose(factors("inverse"), [4, 1, 1])
    np.testing.assert_allclose(factors("sqrt_inverse"), [2, 1, 1])
    effective = (1 - 0.9**8) / (1 - 0.9**2)
    np.testing.assert_allclose(factors("effective"), [effective, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(factors("effective", 0.999999), [4, 1, 1], rtol=1e-3)
    np.testing.assert_array_equal(factors("effective", 0.0), [1, 1, 1])


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("linear", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1, 1)]
)
def test_the_rate_rises_to_its_peak_and_then_follows_its_schedule(schedule, middle, end):
    rates = [rate_at(step, 110, 10 / 110, schedule) for step in range(111)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == pytest.approx(1)
    assert rates[60] == pytest.approx(middle)
    assert rates[110] == pytest.approx(end)
    quarter = {"linear": 0.75, "cosine": (1 + math.cos(math.pi / 4)) / 2, "constant": 1}[schedule]
    assert rates[35] == pytest.approx(quarter)
