from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import ov_emotions  # noqa: F401, first: OpenVINO reports its import unless it is kept from that

# isort: split
import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import MissingExtraError
from ov_emotions.manifest import Manifest, TrainingSource
from ov_emotions.normalize import NORMALIZER_VERSION, build_normalizer
from ov_emotions.runtime import cache as model_cache
from ov_emotions.system import import_sentencepiece

# Tests leave the user's cache folder alone; those of the cache name one of their own.
os.environ[model_cache.VARIABLE] = "off"
# Where tests run side by side, threads of torch that wait for each other take the time of both.
# Commands that tests start have it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Collected tests make warnings errors, and import transformers, which imports this.
with suppress(MissingExtraError):
    import_sentencepiece("train")

ROOT = Path(__file__).resolve().parents[1]
LABELS = ("anger", "joy", "neutral")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("злость", "радость", "слово", "я", "рад", "чёрт", "##ость", "##а", "1")
LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The material that developers share; not part of the project."""
    folder = Path(os.environ.get("OV_EMOTIONS_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; OV_EMOTIONS_SHARED says where the shared material is")
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer_json() -> str:
    pieces = dict.fromkeys([*SPECIAL, *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS)])
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer = build_normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return str(tokenizer.to_str())


def _tiny_model(tokenizer_json: str, outputs: int = len(LABELS)) -> ov.Model:
    """Word weights, averaged over the tokens that are not padding.

    «злость» speaks for the first output and «радость» for the second, loudly; every other piece
    says a little about each. Padding would shift the mean if it were not masked.
    """
    vocab = Tokenizer.from_str(tokenizer_json).get_vocab()
    rng = np.random.default_rng(0)
    table = rng.normal(scale=0.5, size=(len(vocab), outputs)).astype(np.float32)
    table[vocab["злость"]] = [12.0, -12.0, -12.0][:outputs]
    table[vocab["радость"]] = [-12.0, 12.0, -12.0][:outputs]
    table[vocab["[PAD]"]] = 50.0
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    ids.output(0).set_names({"input_ids"})
    mask.output(0).set_names({"attention_mask"})
    axis = ops.constant(np.array([1], dtype=np.int64))
    embedded = ops.gather(ops.constant(table), ids, ops.constant(np.int64(0)))
    weights = ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(np.array([2], dtype=np.int64)))
    total = ops.reduce_sum(ops.multiply(embedded, weights), axis, keep_dims=False)
    mean = ops.divide(total, ops.reduce_sum(weights, axis, keep_dims=False))
    logits = ops.matmul(mean, ops.constant(np.eye(outputs, dtype=np.float32)), False, False)
    logits.output(0).set_names({"logits"})
    return ov.Model([ops.result(logits)], [ids, mask], "tiny")


@pytest.fixture(scope="session")
def build_tiny_model(tiny_tokenizer_json: str) -> Callable[..., ov.Model]:
    """Makes a new model at every call, with as many outputs as are asked for."""
    return partial(_tiny_model, tiny_tokenizer_json)


@pytest.fixture
def tiny_model(build_tiny_model: Callable[..., ov.Model]) -> ov.Model:
    return build_tiny_model()


@pytest.fixture(scope="session")
def tiny_manifest() -> Manifest:
    return Manifest(
        name="tiny",
        labels=LABELS,
        label_names_ru={"anger": "гнев", "joy": "радость", "neutral": "нейтрально"},
        # Not in the order of the labels, which must not matter.
        thresholds={"neutral": 0.9, "joy": 0.6, "anger": 0.7},
        normalizer=NORMALIZER_VERSION,
        max_length=16,
        precision="fp32",
        inference_precision="f32",
        base_model="owner/base",
        base_licence="MIT",
        licence="MIT",
        training_data=(
            TrainingSource(
                name="set",
                licence="MIT",
                url="https://example.org",
                attribution="its authors",
                rows=3,
            ),
        ),
        metrics={
            "fp32": {
                "test": {
                    "rows": 3,
                    "weighted_f1": 0.5,
                    "macro_f1": 0.25,
                    "labels": {"anger": {"f1": 0.75}},
                }
            }
        },
        provenance={"seed": 1, "versions": {"openvino": "x"}},
    )


@pytest.fixture(scope="session")
def tiny_bundle(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_manifest: Manifest,
    tiny_tokenizer_json: str,
    build_tiny_model: Callable[..., ov.Model],
) -> Bundle:
    """A bundle whose model knows two words; shared, so never to be changed."""
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return write_bundle(folder, tiny_manifest, build_tiny_model(), tiny_tokenizer_json)


@pytest.fixture(scope="session")
def tiny_classifier(tiny_bundle: Bundle) -> EmotionClassifier:
    return EmotionClassifier(tiny_bundle, threads=1)
