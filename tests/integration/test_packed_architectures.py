"""Packed rows on encoders of several kinds with random weights: right, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import pytest

from ov_emotions.encoding import EncodedTexts
from ov_emotions.runtime.models import in_order
from ov_emotions.runtime.packed_graph import UnpackableError, pack_graph
from ov_emotions.runtime.packing import Packing

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason="training needs transformers")
pytest.importorskip("optimum.exporters.openvino", reason="export needs optimum-intel")

TOKENS, WORDS = 40, 60
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}


DISTIL = {
    "vocab_size": WORDS,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
}
NO_POOLER = {"add_pooling_layer": False}
ENCODERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Bert": (SMALL, NO_POOLER),
    "Roberta": (SMALL | {"type_vocab_size": 1}, NO_POOLER),
    "XLMRoberta": (SMALL | {"type_vocab_size": 1, "pad_token_id": 1}, NO_POOLER),
    "Electra": (SMALL | {"embedding_size": 16}, {}),
    "DistilBert": (DISTIL, {}),
    # Adds a bias to attention that depends on how far apart tokens are.
    "MPNet": (SMALL, NO_POOLER),
    # Attends to distances as well, by matrix products of its own.
    "DebertaV2": (SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}, {}),
}


def encoder(kind: str) -> Any:
    settings, options = ENCODERS[kind]
    config = getattr(transformers, f"{kind}Config")(**settings)
    return getattr(transformers, f"{kind}Model")(config, **options)


def converted(built: Any, pooling: Any) -> ov.Model:
    from ov_emotions.conversion.ir import to_ir
    from ov_emotions.conversion.modules import Whole
    from ov_emotions.training.checkpoint import HeadConfig
    from ov_emotions.training.model import EmotionModel

    model = EmotionModel(built, HeadConfig(3, pooling=pooling)).eval()
    return to_ir(Whole(model, built), built.config.max_position_embeddings, lambda *_: None)


def texts(pad_id: int) -> EncodedTexts:
    rng = np.random.default_rng(0)
    lengths = np.array([3, 40, 9, 17, 5, 31, 12, 12, 4, 26])
    return EncodedTexts(
        texts=len(lengths),
        ids=rng.integers(5, WORDS, int(lengths.sum())),
        lengths=lengths,
        owners=np.arange(len(lengths)),
        truncated=np.zeros(len(lengths), dtype=np.bool_),
        pad_id=pad_id,
        max_length=TOKENS,
    )


def answers(model: ov.Model, groups: list[Any], batches: Any) -> Any:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return in_order(groups, [compiled(batch.inputs())[0] for batch in batches])


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("Bert", "cls"),
        ("Bert", "mean"),
        ("Bert", "cls+mean"),
        ("Roberta", "mean"),
        ("XLMRoberta", "cls"),
        ("Electra", "mean"),
        ("DistilBert", "cls+mean"),
    ],
)
def test_packed_rows_say_what_single_rows_say(kind: str, pooling: str) -> None:
    built = encoder(kind)
    encoded = texts(built.config.pad_token_id)
    model = converted(built, pooling)
    groups = encoded.groups(128)
    expected = answers(model, groups, encoded.batches(groups))
    packing = Packing(encoded, 128, 2)
    assert any(batch.segments.max() > 1 for batch in packing.batches())
    found = answers(pack_graph(model, TOKENS), packing.groups, packing.batches())
    assert np.ptp(expected, axis=0).min() > 0.1, "texts differ, or this shows nothing"
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of DeBERTa's module
@pytest.mark.parametrize("kind", ["MPNet", "DebertaV2"])
def test_encoders_that_look_at_distances_are_refused(kind: str) -> None:
    model = converted(encoder(kind), "mean")
    with pytest.raises(UnpackableError, match="attention"):
        pack_graph(model, TOKENS)
