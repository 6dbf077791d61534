"""What a text's prediction is, and what everything that makes predictions has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions._arguments import as_texts, check_count, kind, not_a_text
from ov_emotions.errors import InputError

_STREAM_CHARACTERS = 1 << 20
"""A stream's chunk closes at this many characters, however few texts they are."""

_DIGITS = 6

DEFAULT_CHUNK_SIZE = 1024
"""Texts that a stream classifies together."""

Texts = list[str] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one text.

    :param labels: those whose probability reaches its threshold, the most probable first; empty if
        none does, which is not the same as neutral.
    :param scores: the probability of every label, the most probable first.
    :param truncated: whether a part of the text was left out because it was too long; None where
        only the server knows.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, float] = field(hash=False)
    truncated: bool | None = False

    def to_dict(self, *, rounded: bool = False) -> dict[str, Any]:
        """Return plain values for JSON: `labels`, `scores` and `truncated`.

        :param rounded: whether scores have 6 digits behind the point at most, for text files.
        """
        scores = dict(self.scores)
        if rounded:
            scores = {label: round(float(score), _DIGITS) for label, score in scores.items()}
        return {
            "labels": list(self.labels),
            "scores": scores,
            "truncated": self.truncated,
        }


class TextClassifier(ABC):
    """Classifies one text, several, or a stream of them; a kind of it says how."""

    _labels: tuple[str, ...]
    _chunk_size = DEFAULT_CHUNK_SIZE

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self._labels

    @property
    @abstractmethod
    def label_names_ru(self) -> dict[str, str]:
        """Russian name by label; a copy."""

    @abstractmethod
    def predict_proba(self, texts: Texts) -> NDArray[np.float32]:
        """Give a number in [0, 1] for every label of every text.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels); columns are in the order of `labels`.
        :raises InputError: if something is not a text; the message names its position.
        """

    @abstractmethod
    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify texts that have been checked."""

    @overload
    def __call__(self, texts: str) -> Prediction: ...

    @overload
    def __call__(self, texts: Texts) -> list[Prediction]: ...

    def __call__(self, texts: str | Texts) -> Prediction | list[Prediction]:
        """Classify one text or several.

        :param texts: a text, or a list or tuple of them (a one-dimensional array or column too).
        :return: one prediction for a text, a list in the same order for several.
        :raises InputError: if something is not a text; the message names its position.
        """
        if isinstance(texts, str):
            return self._predict([texts])[0]
        return self._predict(as_texts(texts))

    def stream(
        self, texts: Iterable[str], *, chunk_size: int | None = None
    ) -> Iterator[Prediction]:
        """Classify any number of texts lazily, in bounded memory.

        :param texts: any iterable of texts; a chunk is read ahead.
        :param chunk_size: texts that are classified together; None is 1024, more on many cores,
            or what a tuning profile says.
        :return: yields one prediction per text, in order.
        :raises InputError: at once for wrong arguments; if something is not a text, after the
            predictions for all before it.
        """
        size = self._chunk_size if chunk_size is None else check_count("chunk_size", chunk_size)
        if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Iterable):
            raise InputError(f"stream() takes an iterable of texts, not a {kind(texts)}")
        return self._predict_chunks(texts, size)

    def _predict_chunks(self, texts: Iterable[Any], chunk_size: int) -> Iterator[Prediction]:
        chunk: list[str] = []
        characters = 0
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                yield from self._predict(chunk)
                raise not_a_text(position, text)
            chunk.append(text)
            characters += len(text)
            if len(chunk) >= chunk_size or characters >= _STREAM_CHARACTERS:
                yield from self._predict(chunk)
                chunk, characters = [], 0
        yield from self._predict(chunk)


def rank(
    labels: Sequence[str],
    present: NDArray[np.bool_],
    scores: NDArray[np.float32],
    truncated: Sequence[bool | None],
) -> list[Prediction]:
    """Put what was found into predictions, the highest score first.

    :param labels: in the order of the columns.
    :param present: bool, shape (texts, labels): which labels the predictions have.
    :param scores: float32, same shape.
    :param truncated: per text, whether a part was left out.
    :return: a prediction a text.
    """
    order = np.argsort(-scores, axis=1, kind="stable").tolist()
    return [
        Prediction(
            labels=tuple(labels[i] for i in best if there[i]),
            scores={labels[i]: values[i] for i in best},
            truncated=cut,
        )
        for best, there, values, cut in zip(
            order, present.tolist(), scores.tolist(), truncated, strict=True
        )
    ]
