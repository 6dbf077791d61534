"""Raw Russian text in, emotions out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack, get_args, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions.backends.base import Backend
from ov_emotions.backends.openvino import OpenVINOBackend
from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.encoding import LongTexts, TextEncoder
from ov_emotions.errors import DeviceError, InputError
from ov_emotions.manifest import is_threshold
from ov_emotions.thresholds import apply_thresholds, sigmoid

_STREAM_CHARACTERS = 1 << 20
"""A stream's chunk closes at this many characters, however few texts they are."""

Texts = list[str] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one text.

    :param labels: those whose probability reaches its threshold, the most probable first; empty if
        none does, which is not the same as neutral.
    :param scores: the probability of every label, the most probable first.
    :param truncated: whether a part of the text was left out because it was too long.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, float] = field(hash=False)
    truncated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: `labels`, `scores` and `truncated`."""
        return {
            "labels": list(self.labels),
            "scores": dict(self.scores),
            "truncated": self.truncated,
        }


class ClassifierOptions(TypedDict, total=False):
    """The keyword arguments of `EmotionClassifier`, which describes them."""

    device: str
    threads: int | None
    streams: int | None
    precision: str | None
    cache_dir: str | os.PathLike[str] | None
    thresholds: Mapping[str, float] | None
    long_texts: LongTexts
    batch_tokens: int


class EmotionClassifier:
    """Multi-label emotions of Russian texts; safe to use from several threads at once.

    A text without a letter or digit gets 0 for every label and never reaches the model.

    :param model: a shipped name, a bundle's folder, a Hub id or a loaded `Bundle`; `None` is the
        default model, which is installed with the package.
    :param device: an OpenVINO device name.
    :param threads: CPU threads at most; `None` takes all cores.
    :param streams: inferences that run side by side, for throughput; `None` is one, for latency.
    :param precision: inference precision hint, `f32` or `bf16`; `None` is the one at which the
        bundle was measured.
    :param cache_dir: folder for compiled models, so that the next start is quicker.
    :param thresholds: probability in (0, 1) by label; labels left out keep the bundle's.
    :param long_texts: `window` reads a long text in overlapping windows and takes each label's
        highest probability; `truncate` reads its beginning and sets `Prediction.truncated`.
    :param batch_tokens: tokens of a batch at most, padding included.
    :raises BundleError: if the model is missing or damaged.
    :raises DeviceError: if the device does not exist or refuses an option.
    :raises InputError: if an argument is of the wrong kind or out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle | None = None,
        *,
        device: str = "CPU",
        threads: int | None = None,
        streams: int | None = None,
        precision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        thresholds: Mapping[str, float] | None = None,
        long_texts: LongTexts = "window",
        batch_tokens: int = 4096,
    ) -> None:
        if long_texts not in get_args(LongTexts):
            raise InputError(f"long_texts must be 'window' or 'truncate', not {long_texts!r}")
        for name, value in (("threads", threads), ("streams", streams)):
            if value is not None:
                _check_count(name, value)
        self._batch_tokens = _check_count("batch_tokens", batch_tokens)
        bundle = model if isinstance(model, Bundle) else Bundle.load(_or_default(model))
        manifest = bundle.manifest
        self._bundle = bundle
        self._labels = manifest.labels
        ours = {label: manifest.thresholds[label] for label in manifest.labels}
        self._thresholds = _merge_thresholds(ours, thresholds)
        self._threshold_array = np.array(list(self._thresholds.values()), dtype=np.float32)
        self._encoder = TextEncoder(bundle.tokenizer(), manifest.max_length, long_texts)
        self._backend: Backend = OpenVINOBackend(
            bundle,
            device=device,
            threads=threads,
            streams=streams,
            precision=precision,
            cache_dir=None if cache_dir is None else Path(cache_dir).expanduser(),
        )

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        **options: Unpack[ClassifierOptions],
    ) -> Self:
        """Load a classifier.

        :param source: a shipped name, a bundle's folder or a Hub id.
        :param revision: branch, tag or commit, for a Hub id.
        :param options: as for the class.
        :return: the classifier.
        """
        return cls(Bundle.load(source, revision=revision), **options)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Copy the bundle, as it was loaded, to a folder.

        :param folder: a new folder, an empty one, or an older bundle, which is replaced.
        :raises BundleError: if the folder holds other things or cannot be written.
        """
        self._bundle.save(folder)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self._labels

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in use, by label; a copy."""
        return dict(self._thresholds)

    @property
    def bundle(self) -> Bundle:
        """The bundle that the model came from."""
        return self._bundle

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
        return self._predict(_as_texts(texts))

    def predict_proba(self, texts: Texts) -> NDArray[np.float32]:
        """Give the probability of every label for every text.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels), in [0, 1]; columns are in the order of `labels`.
        :raises InputError: if something is not a text; the message names its position.
        """
        return sigmoid(self.predict_logits(texts))

    def predict_logits(self, texts: Texts) -> NDArray[np.float32]:
        """Give the logits, from which thresholds can be fitted.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels); -inf for a text that is empty after normalising.
        :raises InputError: if something is not a text; the message names its position.
        """
        return self._run(_as_texts(texts))[0]

    def stream(self, texts: Iterable[str], *, chunk_size: int = 256) -> Iterator[Prediction]:
        """Classify any number of texts lazily, in bounded memory.

        :param texts: any iterable of texts; a chunk is read ahead.
        :param chunk_size: texts that are classified together.
        :return: yields one prediction per text, in order.
        :raises InputError: if something is not a text, after the predictions for all before it.
        """
        _check_count("chunk_size", chunk_size)
        if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Iterable):
            raise InputError(f"stream() takes an iterable of texts, not a {_kind(texts)}")
        return self._predict_chunks(texts, chunk_size)

    def close(self) -> None:
        """Let go of the compiled model; later calls raise DeviceError."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _predict_chunks(self, texts: Iterable[Any], chunk_size: int) -> Iterator[Prediction]:
        chunk: list[str] = []
        characters = 0
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                yield from self._predict(chunk)
                raise _not_a_text(position, text)
            chunk.append(text)
            characters += len(text)
            if len(chunk) >= chunk_size or characters >= _STREAM_CHARACTERS:
                yield from self._predict(chunk)
                chunk, characters = [], 0
        yield from self._predict(chunk)

    def _run(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give logits, shape (texts, labels), and whether each text was truncated."""
        encoded = self._encoder.encode(texts)
        logits = np.full((len(texts), len(self._labels)), -np.inf, dtype=np.float32)
        groups = encoded.groups(self._batch_tokens)
        if groups:
            found = np.concatenate(self._backend.infer(encoded.batches(groups)))
            if not np.isfinite(found).all():
                raise DeviceError("the model gave logits that are not finite; try precision='f32'")
            windows = np.empty_like(found)
            windows[np.concatenate(groups)] = found
            # The sigmoid is monotonic: the windows' highest logit is their highest probability.
            firsts = np.flatnonzero(np.diff(encoded.owners, prepend=-1))
            logits[encoded.owners[firsts]] = np.maximum.reduceat(windows, firsts, axis=0)
        return logits, encoded.truncated

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        logits, truncated = self._run(texts)
        probabilities = sigmoid(logits)
        reached = apply_thresholds(probabilities, self._threshold_array).tolist()
        order = np.argsort(-probabilities, axis=1, kind="stable").tolist()
        labels = self._labels
        return [
            Prediction(
                labels=tuple(labels[i] for i in best if above[i]),
                scores={labels[i]: scores[i] for i in best},
                truncated=cut,
            )
            for best, above, scores, cut in zip(
                order, reached, probabilities.tolist(), truncated.tolist(), strict=True
            )
        ]


def _or_default(model: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    return DEFAULT_MODEL if model is None else model


def _check_count(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def _merge_thresholds(
    ours: Mapping[str, float], given: Mapping[str, float] | None
) -> dict[str, float]:
    merged = dict(ours)
    if given is not None and not isinstance(given, Mapping):
        raise InputError(f"thresholds must map labels to probabilities, not be a {_kind(given)}")
    for label, value in (given or {}).items():
        if label not in ours:
            raise InputError(
                f"thresholds name {label!r}, which the model lacks; it has {', '.join(ours)}"
            )
        if not is_threshold(value):
            raise InputError(f"the threshold of {label} must lie in (0, 1), not be {value!r}")
        merged[label] = float(value)
    return merged


def _kind(value: object) -> str:
    if isinstance(value, float) and value != value:
        return "float (NaN, a missing value)"
    return type(value).__name__


def _not_a_text(position: int, value: object) -> InputError:
    return InputError(f"the item at position {position} is a {_kind(value)}, not a text (str)")


def _as_texts(texts: Any) -> Sequence[str]:
    """Check what a caller gave as several texts."""
    if not isinstance(texts, list | tuple):
        tolist = getattr(texts, "tolist", None)  # numpy arrays and pandas columns
        listed = tolist() if callable(tolist) else texts
        if isinstance(listed, Iterator):
            raise InputError("an iterator cannot be classified at once; use stream(), or a list")
        if isinstance(listed, str | bytes | bytearray) or not isinstance(listed, Sequence):
            raise InputError(f"a list of texts is expected, not a {_kind(texts)}")
        texts = listed
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise _not_a_text(position, text)
    checked: Sequence[str] = texts
    return checked
