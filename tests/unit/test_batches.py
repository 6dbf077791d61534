from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

from ov_emotions.training.batches import by_length, collate, epoch_batches, tokenize


def _ids(lengths):
    return [np.arange(1, length + 1, dtype=np.int32) for length in lengths]


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=200)


@given(lengths, st.integers(1, 16), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_an_epoch_has_every_row_once(lengths, batch_size, epoch):
    batches = epoch_batches(_ids(lengths), batch_size, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size


@given(lengths, st.integers(1, 16))
@settings(max_examples=50, deadline=None)
def test_every_epoch_has_as_many_batches(lengths, batch_size):
    ids = _ids(lengths)
    counts = {len(epoch_batches(ids, batch_size, 1, epoch)) for epoch in range(4)}
    assert len(counts) == 1


def test_seed_and_epoch_fix_the_order():
    ids = _ids(np.random.default_rng(0).integers(1, 40, 300))

    def order(seed, epoch):
        return [batch.tolist() for batch in epoch_batches(ids, 8, seed, epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_batches_hold_rows_of_like_length():
    sizes = np.random.default_rng(0).integers(1, 100, 320)
    batches = epoch_batches(_ids(sizes), 8, seed=1, epoch=0)
    spread = np.mean([sizes[batch].max() - sizes[batch].min() for batch in batches])
    assert spread < 5


def test_batches_of_an_epoch_are_not_sorted_by_length():
    sizes = np.random.default_rng(0).integers(1, 100, 320)
    firsts = [sizes[batch].max() for batch in epoch_batches(_ids(sizes), 8, seed=1, epoch=0)]
    assert firsts != sorted(firsts)


def test_rows_are_padded_to_the_longest_of_them_only():
    batch = collate(_ids([2, 9, 3]), np.array([2, 0]), pad_id=7)
    assert batch.input_ids.tolist() == [[1, 2, 3], [1, 2, 7]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_evaluation_visits_every_row_once_by_length():
    sizes = [5, 1, 9, 3]
    groups = list(by_length(_ids(sizes), 3))
    assert [group.tolist() for group in groups] == [[1, 3, 0], [2]]


def test_long_texts_are_cut_and_the_tokeniser_left_as_it_was(tiny_tokenizer_json):
    tokenizer = Tokenizer.from_str(tiny_tokenizer_json)
    ids = tokenize(tokenizer, ["злость " * 20, "злость"], 6)
    assert [len(row) for row in ids] == [6, 3]
    assert ids[0][-1] == tokenizer.token_to_id("[SEP]")
    assert tokenizer.truncation is None
    assert len(tokenizer.encode("злость " * 20).ids) == 22


def test_training_reads_a_spelled_separator_as_classification_does(tiny_tokenizer_json, tmp_path):
    from ov_emotions.encoding import TextEncoder
    from ov_emotions.training.checkpoint import load_tokenizer

    (tmp_path / "tokenizer.json").write_text(tiny_tokenizer_json, encoding="utf-8")
    text = "злость [SEP] [PAD] слово"
    trained = tokenize(load_tokenizer(str(tmp_path)), [text], 32)[0]
    classified = TextEncoder(Tokenizer.from_str(tiny_tokenizer_json), 32).encode([text]).ids
    assert trained.tolist() == classified.tolist()
    assert trained.tolist().count(Tokenizer.from_str(tiny_tokenizer_json).token_to_id("[SEP]")) == 1
