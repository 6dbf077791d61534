from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

from ov_emotions.training.teachers import recombine

TEXTS = ["а1 а2 а3 а4", "б1 б2", "в1 в2 в3 в4 в5 в6", "г1"]


def _made(rows: int = 400, seed: int = 3) -> list[str]:
    return recombine(TEXTS, rows, np.random.default_rng(seed))


def test_a_made_text_begins_like_one_text_and_ends_like_another():
    heads = {" ".join(t.split()[:i]) for t in TEXTS for i in range(len(t.split()) + 1)}
    tails = {" ".join(t.split()[i:]) for t in TEXTS for i in range(len(t.split()) + 1)}
    for text in _made():
        words = text.split()
        assert any(
            " ".join(words[:i]) in heads and " ".join(words[i:]) in tails
            for i in range(len(words) + 1)
        ), text


def test_made_texts_are_as_long_as_the_old_on_average_and_never_empty():
    lengths = [len(text.split()) for text in _made(4000)]
    assert min(lengths) >= 1
    assert np.mean(lengths) == pytest.approx(np.mean([len(t.split()) for t in TEXTS]), rel=0.15)


def test_the_seed_fixes_what_is_made():
    assert _made() == _made()
    assert _made() != _made(seed=4)
    assert _made(0) == []
