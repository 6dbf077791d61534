from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

import torch

from ov_emotions.errors import TrainingError
from ov_emotions.training.device import choose_device
from ov_emotions.training.loss import masked_loss

LOGITS = torch.tensor([[0.3, -1.2], [2.0, 0.1]])
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ROWS = torch.ones(2)


def test_the_loss_is_the_mean_over_known_entries():
    weights = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    probabilities = 1 / (1 + np.exp(-LOGITS.numpy()))
    expected = -np.mean(
        [np.log(probabilities[0, 0]), np.log(1 - probabilities[1, 0]), np.log(probabilities[1, 1])]
    )
    loss = masked_loss(LOGITS, TARGETS, weights, ROWS, None, 0.5)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_an_unknown_entry_pulls_no_logit():
    logits = LOGITS.clone().requires_grad_()
    weights = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    masked_loss(logits, TARGETS, weights, ROWS, None, 0.5).backward()
    assert logits.grad[0, 1] == 0
    assert (logits.grad[weights > 0] != 0).all()


def test_a_row_without_any_known_label_learns_from_the_teacher_alone():
    logits = LOGITS.clone().requires_grad_()
    weights = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    teacher = torch.sigmoid(LOGITS)
    masked_loss(logits, TARGETS, weights, ROWS, teacher, 0.5).backward()
    # The teacher agrees with the model there, so nothing pulls.
    np.testing.assert_allclose(logits.grad[0], 0, atol=1e-7)
    assert (logits.grad[1].abs() > 0.01).all()


def test_a_teacher_of_full_weight_leaves_no_part_to_the_labels():
    ones = torch.ones_like(LOGITS)
    teacher = torch.full_like(LOGITS, 0.5)
    loss = masked_loss(LOGITS, TARGETS, ones, ROWS, teacher, 1.0)
    assert float(loss) == pytest.approx(
        float(masked_loss(LOGITS, 1 - TARGETS, ones, ROWS, teacher, 1.0))
    )


@pytest.mark.parametrize("teacher", [None, torch.full_like(LOGITS, 0.3)])
def test_a_row_of_weight_two_counts_like_the_row_twice(teacher):
    ones = torch.ones_like(LOGITS)
    weighted = masked_loss(LOGITS, TARGETS, ones, torch.tensor([2.0, 1.0]), teacher, 0.5)
    twice = [0, 0, 1]
    repeated = masked_loss(
        LOGITS[twice],
        TARGETS[twice],
        ones[twice],
        torch.ones(3),
        None if teacher is None else teacher[twice],
        0.5,
    )
    assert float(weighted) == pytest.approx(float(repeated), rel=1e-5)


def test_a_batch_without_known_entries_has_no_loss():
    assert float(masked_loss(LOGITS, TARGETS, torch.zeros_like(LOGITS), ROWS, None, 0.5)) == 0.0


def test_a_device_that_does_not_exist_is_refused_by_name():
    with pytest.raises(TrainingError, match="'gpu' is none of auto, cpu, cuda"):
        choose_device("gpu", "fp32")
    with pytest.raises(TrainingError, match="cuda:99 was asked for"):
        choose_device("cuda:99", "fp32")


def test_the_precision_asked_for_is_taken():
    assert choose_device("cpu", "bf16").autocast
    assert not choose_device("cpu", "fp32").autocast
