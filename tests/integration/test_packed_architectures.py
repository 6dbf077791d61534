"""Packed rows on encoders of several kinds with random weights: right, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import pytest

from ov_emotions.encoding import EncodedTexts
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


def bert() -> Any:
    return transformers.BertModel(transformers.BertConfig(**SMALL), add_pooling_layer=False)


def roberta() -> Any:
    config = transformers.RobertaConfig(**SMALL, type_vocab_size=1)
    return transformers.RobertaModel(config, add_pooling_layer=False)


def xlm_roberta() -> Any:
    config = transformers.XLMRobertaConfig(**SMALL | {"pad_token_id": 1}, type_vocab_size=1)
    return transformers.XLMRobertaModel(config, add_pooling_layer=False)


def electra() -> Any:
    return transformers.ElectraModel(transformers.ElectraConfig(**SMALL, embedding_size=16))


def distilbert() -> Any:
    return transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=WORDS,
            dim=32,
            n_layers=2,
            n_heads=2,
            hidden_dim=64,
            max_position_embeddings=64,
            initializer_range=0.5,
        )
    )


def mpnet() -> Any:
    """Adds a bias to attention that depends on how far apart tokens are."""
    config = transformers.MPNetConfig(**SMALL)
    return transformers.MPNetModel(config, add_pooling_layer=False)


def deberta() -> Any:
    """Attends to distances as well, by matrix products of its own."""
    config = transformers.DebertaV2Config(
        **SMALL, relative_attention=True, pos_att_type=["c2p", "p2c"]
    )
    return transformers.DebertaV2Model(config)


def converted(encoder: Any, pooling: Any) -> ov.Model:
    from ov_emotions.conversion.ir import to_ir
    from ov_emotions.conversion.modules import Whole
    from ov_emotions.training.checkpoint import HeadConfig
    from ov_emotions.training.model import EmotionModel

    model = EmotionModel(encoder, HeadConfig(3, pooling=pooling)).eval()
    return to_ir(Whole(model, encoder), encoder.config.max_position_embeddings, lambda *_: None)


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
    parts = [compiled(batch.inputs())[0] for batch in batches]
    found = np.concatenate([part[: len(g)] for g, part in zip(groups, parts, strict=True)])
    ordered = np.empty_like(found)
    ordered[np.concatenate(groups)] = found
    return ordered


@pytest.mark.parametrize(
    ("encoder", "pooling"),
    [
        (bert, "cls"),
        (bert, "mean"),
        (bert, "cls+mean"),
        (roberta, "mean"),
        (xlm_roberta, "cls"),
        (electra, "mean"),
        (distilbert, "cls+mean"),
    ],
)
def test_packed_rows_say_what_single_rows_say(encoder: Callable[[], Any], pooling: str) -> None:
    from ov_emotions.runtime.packed_graph import pack_graph

    built = encoder()
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
@pytest.mark.parametrize("encoder", [mpnet, deberta])
def test_encoders_that_look_at_distances_are_refused(encoder: Callable[[], Any]) -> None:
    from ov_emotions.runtime.packed_graph import UnpackableError, pack_graph

    model = converted(encoder(), "mean")
    with pytest.raises(UnpackableError, match="attention"):
        pack_graph(model, TOKENS)
