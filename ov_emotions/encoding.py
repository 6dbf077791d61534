"""Texts to padded token batches: tokenise, window what is long, group by length.

Arrays are built by whole rows and groups, so that the cost of Python does not grow with tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.normalize import replace_surrogates
from ov_emotions.process import NATIVE
from ov_emotions.schema import LongTexts

# The tokenizers library keeps some hundred bytes a token until its encodings are let go.
_SLICE_CHARACTERS = 1 << 20
_SLICE_TEXTS = 4096

# A group of at least this part of the budget, and no more than this many tokens, is worth an
# inference of its own ...
_WORTHWHILE_PART = 4
_WORTHWHILE_TOKENS = 512
# ... and closes rather than spend more than this part of its work on padding.
_TOLERABLE_PADDING = 0.1

# OpenVINO prepares each new shape of a batch for itself, and keeps some MB of each. So the batches
# of a list have a power of two of rows, and one of few widths: up to each of these numbers of
# tokens, the multiples of its step.
_WIDTH_STEPS = ((16, 1), (32, 2), (64, 4), (128, 8))
_WIDEST_STEP = 32
# A list of so few windows is one batch, if their lengths allow.
_FEW_ROWS = 8

_PAD_TOKENS = ("[PAD]", "<pad>")


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """One padded batch.

    :param input_ids: int64, shape (batch, tokens).
    :param attention_mask: int64, same shape: 1 for a token, 0 for padding.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Tokenised texts, not yet padded.

    :param texts: how many texts there were.
    :param ids: int64, token ids of all windows, one after the other.
    :param lengths: int64, shape (windows,): tokens of each window.
    :param owners: int64, shape (windows,), ascending: the text each window is of. A text that is
        empty after normalising has none.
    :param truncated: bool, shape (texts,): whether tokens of the text were left out.
    :param pad_id: the padding token.
    :param max_length: tokens that the model takes at most.
    """

    texts: int
    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    owners: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    pad_id: int
    max_length: int

    def groups(self, batch_tokens: int) -> list[NDArray[np.int64]]:
        """Choose which windows share a batch.

        :param batch_tokens: tokens of a batch at most, padding included; a window longer than that
            is a batch of its own.
        :return: window positions per batch, every window once, the longest first: the batches that
            take longest shall not be the ones waited for at the end.
        """
        if len(self.lengths) <= 1:
            return [np.arange(len(self.lengths))] if len(self.lengths) else []
        order = np.argsort(-self.lengths, kind="stable")
        lengths = self.lengths[order].tolist()
        widths = _widths(self.lengths[order], self.max_length).tolist()
        groups = []
        start = 0
        while start < len(lengths):
            rows = _rows_together(lengths, widths, start, batch_tokens)
            groups.append(order[start : start + rows])
            start += rows
        return groups

    def batches(self, groups: Sequence[NDArray[np.int64]]) -> Iterator[EncodedBatch]:
        """Pad each group to its longest window or little more, one group at a time."""
        starts = np.cumsum(self.lengths) - self.lengths
        for rows in groups:
            lengths = self.lengths[rows]
            columns = np.arange(int(_widths(lengths.max(), self.max_length)))
            present = columns < lengths[:, None]
            ids = np.full(present.shape, self.pad_id, dtype=np.int64)
            ids[present] = self.ids[(starts[rows][:, None] + columns)[present]]
            yield EncodedBatch(ids, present.astype(np.int64))

    def alone(self, width: int | None = None) -> tuple[list[NDArray[np.int64]], list[EncodedBatch]]:
        """Do for a single window what `groups` and `batches` do for more.

        :param width: to pad it to; None is the next step.
        :return: its group and its batch, in lists.
        """
        tokens = len(self.ids)
        if width is None:
            width = int(_widths(self.lengths.max(), self.max_length))
        ids = np.full((1, width), self.pad_id, dtype=np.int64)
        mask = np.zeros((1, width), dtype=np.int64)
        ids[0, :tokens] = self.ids
        mask[0, :tokens] = 1
        return [np.arange(1)], [EncodedBatch(ids, mask)]


def _widths(lengths: NDArray[np.int64], max_length: int) -> NDArray[np.int64]:
    """Give the tokens of a batch whose longest window has so many."""
    found = -(-lengths // _WIDEST_STEP) * _WIDEST_STEP
    for limit, step in reversed(_WIDTH_STEPS):
        found = np.where(lengths <= limit, -(-lengths // step) * step, found)
    return np.minimum(found, max(max_length, int(lengths.max(initial=0))))


def _rows_together(
    lengths: Sequence[int], widths: Sequence[int], start: int, batch_tokens: int
) -> int:
    """Count the windows that shall share a batch, from `start` on; the longest are first."""
    width = widths[start]
    stop = min(len(lengths), start + max(batch_tokens // width, 1))
    worthwhile = min(_WORTHWHILE_TOKENS, batch_tokens // _WORTHWHILE_PART)
    tokens = 0
    for i in range(start, stop):
        padded = (i - start + 1) * width
        wasteful = padded - tokens - lengths[i] > _TOLERABLE_PADDING * padded
        if wasteful and widths[i] != width and tokens >= worthwhile:
            stop = i
            break
        tokens += lengths[i]
    rows = stop - start
    return rows if len(lengths) <= _FEW_ROWS else 1 << rows.bit_length() - 1


class TextEncoder:
    """A tokeniser set up once; safe to use from several threads, because it is never set again.

    :param tokenizer: the bundle's, its normaliser inside; this object becomes its owner.
    :param max_length: tokens of a window, special tokens included.
    :param long_texts: `window` reads a longer text in windows that overlap by a quarter;
        `truncate` reads only its first window.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_length: int, long_texts: LongTexts = "window"
    ) -> None:
        self._windows = long_texts == "window"
        self._special = tokenizer.num_special_tokens_to_add(False)
        padding = tokenizer.padding or {}
        known = [i for token in _PAD_TOKENS if (i := tokenizer.token_to_id(token)) is not None]
        self._pad_id = int(padding.get("pad_id", known[0] if known else 0))
        tokenizer.no_padding()
        # A text that spells "[SEP]" shall be normalised like any other, not become a separator.
        tokenizer.encode_special_tokens = True
        stride = min(max_length // 4, max_length - self._special - 1) if self._windows else 0
        tokenizer.enable_truncation(max_length, stride=stride)
        self._tokenizer = tokenizer
        self._max_length = max_length

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Tokenise raw texts."""
        with NATIVE:
            parts = []
            for part in _slices(texts):
                NATIVE.rest()
                parts.append(self._tokenize(part))
        if len(parts) == 1:
            return parts[0]
        firsts = np.cumsum([0, *(part.texts for part in parts)])
        return replace(
            parts[0],
            texts=len(texts),
            ids=np.concatenate([part.ids for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            owners=np.concatenate([p.owners + n for p, n in zip(parts, firsts, strict=False)]),
            truncated=np.concatenate([part.truncated for part in parts]),
        )

    def _tokenize(self, texts: list[str]) -> EncodedTexts:
        try:
            encodings = self._tokenizer.encode_batch_fast(texts)
        except TypeError:
            # Lone surrogates are rare: only the slice that the tokeniser refuses pays for them.
            encodings = self._tokenizer.encode_batch_fast([replace_surrogates(t) for t in texts])
        owners: list[int] = []
        truncated = np.zeros(len(texts), dtype=np.bool_)
        windows: list[list[int]] = []
        for position, encoding in enumerate(encodings):
            first = encoding.ids
            if len(first) > self._special:
                windows.append(first)
                owners.append(position)
                rest = encoding.overflowing
                if rest and self._windows:
                    windows.extend(window.ids for window in rest)
                    owners.extend([position] * len(rest))
                elif rest:
                    truncated[position] = True
        sizes = [len(window) for window in windows]
        return EncodedTexts(
            texts=len(texts),
            ids=np.fromiter(chain.from_iterable(windows), np.int64, sum(sizes)),
            lengths=np.array(sizes, dtype=np.int64),
            owners=np.array(owners, dtype=np.int64),
            truncated=truncated,
            pad_id=self._pad_id,
            max_length=self._max_length,
        )


Ids = NDArray[np.int32]
"""Token ids of one text, shape (tokens,), special tokens included."""


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[Ids]:
    """Tokenise each text to a row of its own, cut at a length; the tokeniser stays as it is."""
    own = Tokenizer.from_str(tokenizer.to_str())
    own.encode_special_tokens = True
    own.no_padding()
    own.enable_truncation(max_length)
    return [np.array(e.ids, dtype=np.int32) for e in own.encode_batch_fast(list(texts))]


def pad(rows: Sequence[NDArray[np.integer]], pad_id: int) -> EncodedBatch:
    """Pad rows to the longest of them, one token at the least."""
    ids = np.full((len(rows), max([1, *map(len, rows)])), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return EncodedBatch(ids, mask)


def _slices(texts: Sequence[str]) -> Iterator[list[str]]:
    """Cut a list, at least once, so that the encodings of one part fit in memory."""
    remaining = iter(texts)
    part = list(islice(remaining, _SLICE_TEXTS))
    while True:
        start = characters = 0
        for i, text in enumerate(part):
            characters += len(text)
            if characters > _SLICE_CHARACTERS and i > start:
                yield part[start:i]
                start, characters = i, len(text)
        yield part[start:]
        if not (part := list(islice(remaining, _SLICE_TEXTS))):
            return
