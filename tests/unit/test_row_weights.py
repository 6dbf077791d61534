from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.errors import InputError, TrainingError
from ov_emotions.labels import EKMAN
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.rows import chosen_rows, entry_weights, row_weights


def _config(tmp_path, **settings):
    return TrainConfig(base="base", data=tmp_path, output=tmp_path, **settings)


@pytest.fixture
def data():
    targets = np.zeros((4, len(EKMAN)), dtype=np.int8)
    targets[1, EKMAN.index("joy")] = 1
    targets[2, EKMAN.index("joy")] = targets[2, EKMAN.index("fear")] = 1
    targets[3] = -1
    return LabelledTexts(EKMAN, ("a", "b", "c", "d"), targets, ("x", "x", "y", "y"), np.arange(4))


def test_rows_count_once_where_nothing_is_asked(data, tmp_path):
    np.testing.assert_array_equal(row_weights(data, _config(tmp_path)), np.ones(4))


def test_the_largest_factor_of_a_row_counts_and_may_be_below_one(data, tmp_path):
    config = _config(tmp_path, row_weight={"joy": 0.5, "fear": 3.0})
    np.testing.assert_allclose(row_weights(data, config), [1, 0.5, 3, 1])


def test_row_and_origin_weights_multiply(data, tmp_path):
    config = _config(tmp_path, row_weight={"joy": 2.0}, origin_weight={"y": 0.25})
    np.testing.assert_allclose(row_weights(data, config), [1, 2, 0.5, 0.25])


def test_rows_that_a_method_made_may_count_less(data, tmp_path):
    made = ("", "emoji", "", "emoji")
    data = replace(data, augmentations=made, augmented_from=np.array([-1, 0, -1, 2]))
    config = _config(tmp_path, origin_weight={"y": 0.5}, augmentation_weight={"emoji": 0.25})
    np.testing.assert_allclose(row_weights(data, config), [1, 0.25, 0.5, 0.125])


def test_weights_of_methods_that_made_nothing_or_below_zero_are_refused(data, tmp_path):
    with pytest.raises(TrainingError, match="'emoji', which made no training row"):
        row_weights(data, _config(tmp_path, augmentation_weight={"emoji": 0.5}))
    data = replace(data, augmentations=("", "", "", "emoji"), augmented_from=np.arange(4))
    with pytest.raises(TrainingError, match="augmentation_weight of emoji must be at least 0"):
        row_weights(data, _config(tmp_path, augmentation_weight={"emoji": -1.0}))


def test_an_unknown_label_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="'anticipation' is not in ekman-7"):
        row_weights(data, _config(tmp_path, row_weight={"anticipation": 2.0}))


def test_a_set_that_only_teachers_label_has_no_labels_of_its_own(data, tmp_path):
    config = _config(tmp_path, teachers=(tmp_path,), teacher_only=("x",))
    weights = entry_weights(data, config)
    assert not weights[:2].any()
    assert weights[2].all()
    assert not weights[3].any()  # all unknown, whoever labels it


def test_an_unknown_set_for_the_teachers_is_refused(data, tmp_path):
    with pytest.raises(TrainingError, match="teacher_only names sets without rows: z"):
        chosen_rows(data, _config(tmp_path, teachers=(tmp_path,), teacher_only=("z",)))


def test_a_set_for_the_teachers_needs_teachers(tmp_path):
    with pytest.raises(TrainingError, match="teacher_only needs teachers"):
        _config(tmp_path, teacher_only=("x",))
