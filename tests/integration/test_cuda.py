"""The CUDA training path; the reason is printed where there is no device."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

import torch

from ov_emotions.runtime.torch import CheckpointClassifier, TorchPrecision
from ov_emotions.training.device import Device
from ov_emotions.training.model import EmotionModel, predict_logits
from ov_emotions.training.run import train
from ov_emotions.training.settings import TrainConfig

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_on_cuda_learns_and_its_checkpoint_scores_alike_on_the_cpu(
    tiny_base: Path, prepared_folder: Path, tmp_path: Path, precision: str
):
    facts = train(
        TrainConfig(
            base=str(tiny_base),
            data=prepared_folder,
            output=tmp_path / "run",
            epochs=4,
            batch_size=16,
            learning_rate=4e-3,
            head_learning_rate=1e-2,
            max_length=24,
            precision=precision,
            device="cuda",
        )
    )
    assert facts.device == "cuda"
    assert facts.selection["macro_f1"] > 0.9

    model = EmotionModel.load(tmp_path / "run" / "best")
    ids = [np.array([2, 5, 6, 3], dtype=np.int32), np.array([2, 7, 3], dtype=np.int32)]
    on_cpu = predict_logits(model, ids, Device(torch.device("cpu")))
    on_cuda = predict_logits(model.to("cuda"), ids, Device(torch.device("cuda")))
    np.testing.assert_allclose(on_cuda, on_cpu, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_checkpoint_on_cuda_answers_as_on_the_cpu(checkpoint: Path, precision: TorchPrecision):
    texts = ["какая радость", "мне так грустно и страшно", "обычное слово"] * 3
    expected = CheckpointClassifier(checkpoint).predict_proba(texts)
    found = CheckpointClassifier(checkpoint, "cuda", precision).predict_proba(texts)
    np.testing.assert_allclose(found, expected, atol=0.03)
