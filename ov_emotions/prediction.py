"""What a prediction is, what callers may give, and what all classifiers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import is_threshold
from ov_emotions.errors import InputError

Texts = list[str] | tuple[str, ...]
Thresholds = Mapping[str, float] | float
"""Probabilities in (0, 1): by label, or one for all labels."""


def check_count(name: str, value: int) -> int:
    """Check a whole number of at least 1.

    :param name: of the argument.
    :param value: what was given.
    :return: the number.
    :raises InputError: if it is none.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)


def merge_thresholds(
    ours: Mapping[str, float],
    given: Thresholds | None,
    labels: Sequence[str] | None = None,
) -> dict[str, float]:
    """Put a caller's thresholds in the place of the model's.

    :param ours: the model's, by label.
    :param given: the caller's, by label, or one for all labels.
    :param labels: of the model; None where `ours` has all of them.
    :return: all, in the order of the labels.
    :raises InputError: if one names no label of the model or is no threshold.
    """
    labels = tuple(ours) if labels is None else labels
    if isinstance(given, int | float | np.number) and not isinstance(given, bool):
        given = dict.fromkeys(labels, given)
    elif given is not None and not isinstance(given, Mapping):
        raise InputError(
            "thresholds must map labels to probabilities, or be one number for all, not be a "
            f"{kind(given)}"
        )
    merged = dict(ours)
    for label, value in (given or {}).items():
        if label not in labels:
            raise InputError(
                f"thresholds name {label!r}, which the model lacks; it has {', '.join(labels)}"
            )
        if not is_threshold(value):
            raise InputError(f"the threshold of {label} must lie in (0, 1), not be {value!r}")
        merged[label] = float(value)
    return {label: merged[label] for label in labels if label in merged}


def kind(value: object) -> str:
    """Name the type of a value for a message.

    :param value: anything.
    :return: the name.
    """
    if isinstance(value, float) and value != value:
        return "float (NaN, a missing value)"
    return type(value).__name__


def not_a_text(position: int, value: object) -> InputError:
    """Make the error for an item that should be a text.

    :param position: of the item.
    :param value: the item.
    :return: the error to raise.
    """
    return InputError(f"the item at position {position} is a {kind(value)}, not a text (str)")


def as_texts(texts: Any) -> Sequence[str]:
    """Check what a caller gave as several texts.

    :param texts: a list, tuple, array or column.
    :return: the texts.
    :raises InputError: if it is nothing of the kind, or an item is not a text.
    """
    if not isinstance(texts, list | tuple):
        listed = _listed(texts)
        if isinstance(listed, Iterator):
            raise InputError("an iterator cannot be classified at once; use stream(), or a list")
        if isinstance(listed, str | bytes | bytearray) or not isinstance(listed, Sequence):
            raise InputError(f"a list of texts is expected, not a {kind(texts)}")
        texts = listed
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise not_a_text(position, text)
    checked: Sequence[str] = texts
    return checked


def _listed(column: Any) -> Any:
    """Turn a column into a list, by what Arrow, polars, pandas and numpy call that."""
    for name in ("to_pylist", "to_list", "tolist"):
        if callable(method := getattr(column, name, None)):
            return method()
    return column


_STREAM_CHARACTERS = 1 << 20
"""A stream's chunk closes at this many characters, however few texts they are."""

_DIGITS = 6

DEFAULT_CHUNK_SIZE = 1024
"""Texts that a stream classifies together."""


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

    def as_pipeline(self, *, top_k: int | None = None) -> Callable[[str | Texts], list[Any]]:
        """Give a function that answers as transformers' text-classification pipeline does.

        :param top_k: labels of a text at most; None for all.
        :return: takes a text and gives its labels, the most probable first, each with `label` and
            `score`; of several texts it gives a list of such lists.
        :raises InputError: if `top_k` is no whole number of at least 1.
        """
        if top_k is not None:
            check_count("top_k", top_k)

        def answer(texts: str | Texts) -> list[Any]:
            scores = self.predict_proba([texts] if isinstance(texts, str) else texts)
            found = [
                [
                    {"label": self._labels[i], "score": float(row[i])}
                    for i in np.argsort(-row, kind="stable")[:top_k]
                ]
                for row in scores
            ]
            return found[0] if isinstance(texts, str) else found

        return answer

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
        for position, given in enumerate(texts):
            # Arrow's columns give scalars of their own.
            text = given.as_py() if hasattr(given, "as_py") else given
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
