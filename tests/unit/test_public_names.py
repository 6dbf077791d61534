from __future__ import annotations

import pytest

import ov_emotions
from ov_emotions import errors

PUBLIC = ["adapt", "convert", "Bundle", "EmotionClassifier", "Prediction", "__version__"]


def test_the_public_names_are_these_and_the_errors() -> None:
    tree = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OvEmotionsError)
    ]
    assert sorted(ov_emotions.__all__) == sorted([*PUBLIC, *tree])


def test_every_public_name_is_there() -> None:
    for name in ov_emotions.__all__:
        assert getattr(ov_emotions, name) is not None
        assert name in dir(ov_emotions)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="EmotionClasifier"):
        ov_emotions.EmotionClasifier  # noqa: B018
