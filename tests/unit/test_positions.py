from __future__ import annotations

import pytest

from ov_emotions.training.positions import token_limit


@pytest.mark.parametrize(
    ("encoder", "limit"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "t5"}, 96),
    ],
)
def test_a_limit_leaves_out_positions_that_no_token_can_have(encoder, limit):
    assert token_limit(encoder, 96) == limit


def test_the_limit_is_what_transformers_can_run():
    torch = pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
    transformers = pytest.importorskip("transformers", reason="training needs transformers")
    config = transformers.RobertaConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=20,
        pad_token_id=1,
    )
    model = transformers.RobertaModel(config, add_pooling_layer=False).eval()
    limit = token_limit(config.to_dict(), 96)
    assert model(torch.full((1, limit), 5)).last_hidden_state.shape[1] == limit
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, limit + 1), 5))
