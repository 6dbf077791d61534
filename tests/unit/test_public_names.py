from __future__ import annotations

import subprocess
import sys

import pytest

import ov_emotions
from ov_emotions import errors
from ov_emotions.bundle import Bundle

PUBLIC = ["adapt", "convert", "Bundle", "EmotionClassifier", "Prediction", "__version__"]

PROOF = """
import sys
import ov_emotions
early = {"numpy", "openvino", "tokenizers"} & set(sys.modules)
assert not early, f"import ov_emotions alone imports {early}"
prediction = ov_emotions.EmotionClassifier(sys.argv[1])("какая радость")
assert prediction.scores["joy"] > 0
heavy = {"torch", "transformers", "pyarrow", "nncf", "pandas", "optimum", "huggingface_hub"}
heavy &= set(sys.modules)
assert not heavy, f"a prediction imports {heavy}"
print(*prediction.labels)
"""


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


def test_a_prediction_imports_nothing_heavy(tiny_bundle: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROOF, str(tiny_bundle.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["joy"]
