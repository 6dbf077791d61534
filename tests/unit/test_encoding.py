from __future__ import annotations

import numpy as np
import pytest

from ov_emotions import encoding as module
from ov_emotions.bundle import Bundle
from ov_emotions.encoding import EncodedTexts, TextEncoder


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Bundle) -> TextEncoder:
    return TextEncoder(tiny_bundle.tokenizer(), 16)


@pytest.fixture(scope="module")
def truncating(tiny_bundle: Bundle) -> TextEncoder:
    return TextEncoder(tiny_bundle.tokenizer(), 16, "truncate")


def of_lengths(*lengths: int) -> EncodedTexts:
    """Windows whose tokens are 1, 2, 3 ... in turn, so that each can be told apart."""
    sizes = np.array(lengths, dtype=np.int64)
    ids = np.arange(1, sizes.sum() + 1)
    rows = np.arange(len(sizes))
    return EncodedTexts(len(sizes), ids, sizes, rows, np.zeros(len(sizes), dtype=np.bool_), 0, 96)


def test_a_long_text_is_read_in_windows_that_overlap_by_a_quarter(encoder: TextEncoder) -> None:
    encoded = encoder.encode(["слово", " ".join("абвгдежзийклмнопрсту")])
    assert encoded.lengths.tolist() == [3, 16, 12]
    assert encoded.owners.tolist() == [0, 1, 1]
    first, second = encoded.ids[3:19], encoded.ids[19:]
    assert first[0] == second[0], "every window has its own special tokens"
    assert first[-5:-1].tolist() == second[1:5].tolist()
    assert not encoded.truncated.any()


def test_truncation_reads_the_beginning_and_says_so(truncating: TextEncoder) -> None:
    fits, long = " ".join("абвгдеёжзийклм"), " ".join("абвгдеёжзийклмн")
    encoded = truncating.encode([fits, long])
    assert encoded.lengths.tolist() == [16, 16]
    assert encoded.ids[:16].tolist() == encoded.ids[16:].tolist()
    assert encoded.truncated.tolist() == [False, True]


@pytest.mark.parametrize("max_length", [4, 5, 7])
def test_the_smallest_windows_still_advance(tiny_bundle: Bundle, max_length: int) -> None:
    encoded = TextEncoder(tiny_bundle.tokenizer(), max_length).encode([" ".join("абвгдеёжз")])
    assert encoded.lengths.max() <= max_length
    assert encoded.ids.max() > 0
    assert len(set(encoded.ids.tolist())) == 9 + 2


def test_slices_do_not_show(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["слово", "", " ".join("абвгдеёжзийклмнопрст"), "я рад", "!", "1"]
    whole = encoder.encode(texts)
    monkeypatch.setattr(module, "_SLICE_TEXTS", 4)
    monkeypatch.setattr(module, "_SLICE_CHARACTERS", 10)
    cut = encoder.encode(texts)
    for name in ("ids", "lengths", "owners", "truncated"):
        assert getattr(cut, name).tolist() == getattr(whole, name).tolist()


def test_groups_hold_every_window_once_within_the_budget() -> None:
    rng = np.random.default_rng(0)
    encoded = of_lengths(*rng.integers(3, 97, 500))
    groups = encoded.groups(1024)
    assert sorted(np.concatenate(groups).tolist()) == list(range(500))
    assert all(len(rows).bit_count() == 1 for rows in groups), "a power of two of rows"
    sizes = [len(rows) * int(encoded.lengths[rows].max()) for rows in groups]
    assert max(sizes) <= 1024
    assert sum(sizes) <= 1.1 * encoded.lengths.sum(), "rows of like length go together"
    longest = [int(encoded.lengths[rows].max()) for rows in groups]
    assert longest == sorted(longest, reverse=True)


def test_a_window_beyond_the_budget_is_a_batch_of_its_own() -> None:
    assert [rows.tolist() for rows in of_lengths(5, 20, 20).groups(8)] == [[1], [2], [0]]


def test_few_windows_share_a_batch_even_when_unlike() -> None:
    assert [sorted(rows.tolist()) for rows in of_lengths(3, 40, 10).groups(4096)] == [[0, 1, 2]]


def test_batches_of_ever_other_lists_have_few_shapes() -> None:
    rng = np.random.default_rng(1)
    shapes = set()
    for _ in range(100):
        lengths = np.clip(rng.lognormal(2.6, 0.6, 1000), 3, 96).astype(int)
        encoded = of_lengths(*lengths)
        batches = list(encoded.batches(encoded.groups(1024)))
        assert sum(int(batch.attention_mask.sum()) for batch in batches) == lengths.sum()
        shapes |= {batch.input_ids.shape for batch in batches}
    assert len(shapes) < 100, "OpenVINO keeps some MB of each"


@pytest.mark.parametrize(
    ("longest", "width"), [(15, 15), (31, 32), (33, 36), (65, 72), (130, 130), (200, 200)]
)
def test_long_batches_have_few_widths_within_what_the_model_takes(longest: int, width: int) -> None:
    (batch,) = of_lengths(longest, 3).batches([np.array([0, 1])])
    assert batch.input_ids.shape == (2, width)


def test_a_batch_is_padded_to_its_own_longest_and_no_further() -> None:
    encoded = of_lengths(2, 4, 3)
    first, second = encoded.batches([np.array([2, 0]), np.array([1])])
    assert first.input_ids.tolist() == [[7, 8, 9], [1, 2, 0]]
    assert first.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert second.input_ids.tolist() == [[3, 4, 5, 6]]
    assert first.input_ids.dtype == first.attention_mask.dtype == np.int64


def test_one_window_is_padded_to_a_width_or_to_the_next_step() -> None:
    encoded = of_lengths(3)
    groups, (batch,) = encoded.alone(5)
    assert [group.tolist() for group in groups] == [[0]]
    assert batch.input_ids.tolist() == [[1, 2, 3, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0, 0]]
    assert encoded.alone()[1][0].input_ids.tolist() == [[1, 2, 3]]
    assert of_lengths(33).alone()[1][0].input_ids.shape == (1, 36)
