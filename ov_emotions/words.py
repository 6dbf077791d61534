"""Tokenising by word: each word of a text is tokenised once, whatever number of texts it is in.

Our tokenisers split at spaces before they look for pieces, so a word has the same pieces in every
text. Speech repeats its words; looking them up costs a tenth of tokenising them again. What is not
plain Russian or English text, and what is longer than a window, goes to the tokeniser as before.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.normalize import build_normalizer

_LETTERS = "a-z0-9а-яё"
_PLAIN = re.compile(r"[A-Za-z0-9А-Яа-яЁё \t\n\r!\"#$%&'()*+,\-./:;=?^_`{|}~«»—–…]*")
"""Characters of which the normaliser keeps letters and digits, and makes a space of the rest."""

_LINK = re.compile(r"www|://", re.IGNORECASE)
_NOT_LETTERS = re.compile(rf"[^{_LETTERS}\x00 ]+")
_WORD = re.compile(rf"[{_LETTERS}]+")
_BETWEEN = "\x00"

_MAX_WORDS = 1 << 16

_LONG_WORD = re.compile(rf"[{_LETTERS}]{{65}}", re.IGNORECASE)
"""No word of either language is longer; what is would only fill the table."""


@dataclass(frozen=True, slots=True)
class EncodedWords:
    """Texts tokenised by word.

    :param ids: int64, token ids of all texts that have a word, one after the other, special tokens
        included.
    :param lengths: int64, shape (texts,): tokens of each; 0 for a text without a word.
    :param left: int64: texts that the table is not made for; they have 0 tokens here.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    left: NDArray[np.int64]


class WordTable:
    """The pieces of words seen so far; bounded, and safe to use from several threads.

    :param tokenizer: one that `splits_at_spaces`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        bare = tokenizer.encode("а", add_special_tokens=False).ids
        whole = tokenizer.encode("а").ids
        before = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self._before = np.array(whole[:before], dtype=np.int64)
        self._after = np.array(whole[before + len(bare) :], dtype=np.int64)
        self._lock = threading.Lock()
        self._starts = np.zeros(_MAX_WORDS, dtype=np.int64)
        self._lengths = np.zeros(_MAX_WORDS, dtype=np.int64)
        self._ids = np.zeros(1 << 12, dtype=np.int64)
        self._clear()

    def _clear(self) -> None:
        self._index = {_BETWEEN: 0}
        self._used = 0

    def encode(self, texts: list[str]) -> EncodedWords | None:
        """Tokenise.

        :param texts: at least one, each `is_plain`.
        :return: their tokens, however long the texts are; None where there are more words than the
            table can hold.
        """
        left = [i for i, text in enumerate(texts) if _LONG_WORD.search(text)]
        if left:
            texts = list(texts)
            for i in left:
                texts[i] = ""
        joined = _NOT_LETTERS.sub(" ", _BETWEEN.join(texts).lower())
        words = joined.replace(_BETWEEN, f" {_BETWEEN} ").split()
        with self._lock:
            if not self._learn(words):
                return None
            index = np.fromiter(map(self._index.__getitem__, words), np.int64, len(words))
            sizes = self._lengths[index]
            ends = np.cumsum(sizes)
            total = int(ends[-1]) if len(ends) else 0
            pieces = self._ids[
                np.repeat(self._starts[index] - ends + sizes, sizes) + np.arange(total)
            ]
        ids, lengths = self._surround(pieces, _sums(sizes, index == 0, len(texts)))
        return EncodedWords(ids, lengths, np.array(left, dtype=np.int64))

    def _surround(
        self, pieces: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Put the special tokens around every text that has a word; give ids and lengths."""
        special = len(self._before) + len(self._after)
        present = counts > 0
        lengths = counts + special * present
        kept = lengths[present]
        starts = np.cumsum(kept) - kept
        ids = np.empty(int(kept.sum()), dtype=np.int64)
        inner = np.ones(len(ids), dtype=np.bool_)
        for i, token in enumerate(self._before):
            ids[starts + i] = token
            inner[starts + i] = False
        for i, token in enumerate(self._after[::-1]):
            ids[starts + kept - 1 - i] = token
            inner[starts + kept - 1 - i] = False
        ids[inner] = pieces
        return ids, lengths

    def _learn(self, words: list[str]) -> bool:
        """Tokenise the words that are new; False where they are too many."""
        new = set(words).difference(self._index)
        if not new:
            return True
        if len(self._index) + len(new) > _MAX_WORDS:
            new = set(words) - {_BETWEEN}
            if len(new) >= _MAX_WORDS:
                return False
            self._clear()
        listed = list(new)
        encoded = self._tokenizer.encode_batch_fast(listed, add_special_tokens=False)
        pieces = [encoding.ids for encoding in encoded]
        sizes = np.array([len(ids) for ids in pieces], dtype=np.int64)
        flat = np.array([i for ids in pieces for i in ids], dtype=np.int64)
        first, end = len(self._index), self._used + len(flat)
        if end > len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros(end, dtype=np.int64)])
        self._ids[self._used : end] = flat
        rows = slice(first, first + len(listed))
        self._starts[rows] = self._used + np.cumsum(sizes) - sizes
        self._lengths[rows] = sizes
        self._index.update(zip(listed, range(first, first + len(listed)), strict=True))
        self._used = end
        return True


def _sums(sizes: NDArray[np.int64], between: NDArray[np.bool_], texts: int) -> NDArray[np.int64]:
    """Add up the sizes of each text's words."""
    ends = np.append(np.flatnonzero(between), len(sizes))
    running = np.concatenate([[0], np.cumsum(sizes)])[ends]
    sums: NDArray[np.int64] = np.diff(running, prepend=0).reshape(texts)
    return sums


def is_plain(text: str) -> bool:
    """Say whether the normaliser does nothing to a text but lower it and drop punctuation.

    :param text: raw.
    :return: False where it has to be asked: other scripts, markup, links.
    """
    return _PLAIN.fullmatch(text) is not None and _LINK.search(text) is None


def splits_at_spaces(tokenizer: Tokenizer) -> bool:
    """Say whether a word has the same pieces in every text, and the normaliser is ours.

    :param tokenizer: a bundle's, set up for encoding.
    :return: False where that is not known.
    """
    ours = tokenizer.normalizer
    if ours is None or ours.__getstate__() != build_normalizer().__getstate__():
        return False
    splitter = tokenizer.pre_tokenizer
    kind = type(splitter).__name__
    if kind == "Metaspace":
        splits = splitter.prepend_scheme == "always" and splitter.split
    else:
        splits = kind in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
    if not splits or type(tokenizer.model).__name__ not in ("WordPiece", "Unigram"):
        return False
    added = tokenizer.get_added_tokens_decoder().values()
    # A word that is a token of its own would be cut out of longer ones. Without special tokens, a
    # word that was cut at the longest length could not be told from one that just fits.
    return tokenizer.num_special_tokens_to_add(False) > 0 and not any(
        _WORD.search(token.content) and _WORD.fullmatch(token.content) for token in added
    )
