"""Raw Russian text in, emotions out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.encoding import EncodedTexts, TextEncoder
from ov_emotions.errors import DeviceError, InputError, OvEmotionsError
from ov_emotions.manifest import threshold_array
from ov_emotions.prediction import (
    Prediction,
    Texts,
    Thresholds,
    as_texts,
    decide,
    kind,
    merge_thresholds,
    not_a_text,
    rank,
)
from ov_emotions.process import NATIVE
from ov_emotions.runtime.cache import cache_dir_from_environment
from ov_emotions.runtime.models import OpenVINOModels
from ov_emotions.schema import DEFAULT_MODEL, LongTexts, Task, check_choice, check_count
from ov_emotions.system import inference_defaults
from ov_emotions.thresholds import apply_thresholds, to_probabilities

if TYPE_CHECKING:
    from ov_emotions.client.options import OnModelChange, ServerOptions
    from ov_emotions.runtime.profiling import ClassifierProfile
    from ov_emotions.tuning.profile import TuningProfile

DEFAULT_CHUNK_SIZE = 1024
"""Texts that a stream classifies together."""

_STREAM_CHARACTERS = 1 << 20
"""A stream's chunk closes at this many characters, however few texts they are."""

_THREADS_A_CHUNK = 3
"""A thread wants its part of a stream's chunk to be several batches."""


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
        """Give a number in [0, 1] for every label of every text: float32, shape (texts, labels)."""

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


class ClassifierOptions(TypedDict, total=False):
    """The keyword arguments of `EmotionClassifier`, which describes them."""

    device: str
    threads: int | None
    streams: int | None
    precision: str | None
    cache_dir: str | os.PathLike[str] | None
    thresholds: Thresholds | None
    long_texts: LongTexts
    batch_tokens: int | None
    profile: TuningProfile | str | os.PathLike[str] | None
    mmap: bool


class EmotionClassifier(TextClassifier):
    """Multi-label emotions of Russian texts; safe to use from several threads at once.

    A text without a letter or digit gets 0 for every label and never reaches the model.

    :param model: a shipped name, a bundle's folder, a Hub id or a loaded `Bundle`; `None` is the
        default model, which is installed with the package.
    :param device: an OpenVINO device name.
    :param threads: CPU threads at most; `None` takes all cores that the affinity mask and a control
        group's quota give.
    :param streams: inferences that run side by side. `None` is one a socket, which answers a text
        soonest; and as they pay, a second compiled model with one a thread for lists, several texts
        of which share a row, and models of one shape for single texts. With a number there is one
        model, and its memory once.
    :param precision: inference precision hint, `f32` or `bf16`; `None` is the one at which the
        bundle was measured.
    :param cache_dir: folder for compiled models, so that the next start is quicker; `None` is the
        one that the environment variable OV_EMOTIONS_CACHE names, or none.
    :param thresholds: probability in (0, 1) by label, or one for all labels; labels left out keep
        the bundle's.
    :param long_texts: `window` reads a long text in overlapping windows and takes each label's
        highest probability; `truncate` reads its beginning and sets `Prediction.truncated`.
    :param batch_tokens: tokens of a batch at most, padding included; `None` is 1024 for each
        thread of a stream, and 8192 at most.
    :param profile: a tuning profile or its file, which `ov-emotions bench` writes. It fills in the
        threads, streams, tokens of a batch and chunk size that are not given here. On another
        machine it is left unused, with a warning that says why.
    :param mmap: map the file of weights; False reads it, so that a process outlives what is done to
        the file later. A mapped file that is cut short ends the process (SIGBUS).
    :raises BundleError: if the model is missing or damaged.
    :raises DeviceError: if the device does not exist or refuses an option.
    :raises InputError: if an argument is of the wrong kind or out of range.
    """

    _task: Task = "multi_label"
    _long_texts: LongTexts = "window"

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle | None = None,
        *,
        device: str = "CPU",
        threads: int | None = None,
        streams: int | None = None,
        precision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        thresholds: Thresholds | None = None,
        long_texts: LongTexts = "window",
        batch_tokens: int | None = None,
        profile: TuningProfile | str | os.PathLike[str] | None = None,
        mmap: bool = True,
    ) -> None:
        check_choice("long_texts", long_texts, LongTexts)
        given = {"threads": threads, "streams": streams, "batch_tokens": batch_tokens}
        threads, streams, batch_tokens = (
            value if value is None else check_count(name, value) for name, value in given.items()
        )
        if model is None:
            model = DEFAULT_MODEL
        bundle = model if isinstance(model, Bundle) else Bundle.load(model)
        manifest = bundle.manifest
        if cache_dir is not None:  # absolute, as the working directory may be another one later
            cache_dir = Path(cache_dir).expanduser().absolute()
        # What the classifier is made of: a copy, another process and a forked child make it anew.
        self._made_of = ClassifierOptions(
            device=device,
            threads=threads,
            streams=streams,
            precision=precision,
            cache_dir=cache_dir,
            thresholds=thresholds,
            long_texts=long_texts,
            batch_tokens=batch_tokens,
            profile=profile,
            mmap=mmap,
        )
        one = streams is not None or device != "CPU"
        settings = None
        if profile is not None:
            from ov_emotions.tuning.profile import TuningProfile, usable_settings

            if not isinstance(profile, TuningProfile):
                profile = self._made_of["profile"] = TuningProfile.read(profile)
            settings = usable_settings(profile, manifest)
            if settings is not None:
                batch_tokens = batch_tokens or settings.batch_tokens
                if threads is streams is None:  # they were measured together
                    threads, streams = settings.threads, settings.streams
                    one = one or streams > 1
        if threads is streams is None and device == "CPU":
            threads, streams = inference_defaults()
        self._bundle: Bundle | None = bundle
        self._labels = manifest.labels
        self._task = manifest.task
        self._long_texts = long_texts
        self._thresholds = merge_thresholds(manifest.thresholds, thresholds, manifest.labels)
        self._encoder = TextEncoder(bundle.tokenizer(), manifest.max_length, long_texts)
        self._models = OpenVINOModels(
            bundle,
            self._encoder,
            device=device,
            threads=threads,
            streams=streams,
            precision=precision,
            cache_dir=cache_dir or cache_dir_from_environment(),
            batch_tokens=batch_tokens,
            mmap=mmap,
            one=one,
        )
        if settings is not None:
            self._chunk_size = settings.chunk_size
        elif not one:
            self._chunk_size = DEFAULT_CHUNK_SIZE * -(-self._models.several // _THREADS_A_CHUNK)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what the classifier was made of; a copy opens a model of its own."""
        return partial(type(self), self._bundle, **self._made_of), ()

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

    @staticmethod
    def from_server(
        url: str,
        *,
        model: str | os.PathLike[str] | Bundle | None = None,
        metadata_url: str | None = None,
        verify: bool = True,
        thresholds: Thresholds | None = None,
        long_texts: LongTexts | None = None,
        on_model_change: OnModelChange = "error",
        options: ServerOptions | None = None,
    ) -> EmotionClassifier:
        """Make a classifier that asks a model server; it is verified before any prediction.

        Model Server, given texts, reads the beginning of long ones. Only its tokeniser knows which
        are: `Prediction.truncated` is None for any that might be, unless `model` is given.

        :param url: of the served model: `grpc://host:9000/emotions`, `http://host:8000/emotions`,
            `grpcs://` and `https://` with TLS, `tfs+grpc://` and `tfs+http://` for Model Server
            up to 2026.2.1, which needs `model`. `/versions/2` at the end asks for that version.
        :param model: the bundle that the server must serve, by name, folder, Hub id or loaded;
            `None` takes what it serves. Needed where the server takes token ids.
        :param metadata_url: REST URL of the same server: Model Server tells the facts of its model
            over REST only.
            Without it, and with `model`, the server's answers to known texts are compared.
        :param verify: False to believe `model` without comparing it with the server.
        :param thresholds: probability in (0, 1) by label, or one for all labels; labels left out
            keep the model's.
        :param long_texts: as for the class, where the server takes tokens; a server that takes
            texts does what it was built for.
        :param on_model_change: when the server serves other labels or thresholds than were
            verified: `error` refuses its answers, `follow` verifies the new model and goes on with
            its labels and thresholds. With `model`, only that bundle is followed.
        :param options: time limits, repetitions, TLS, headers and the rest.
        :return: the classifier.
        :raises InputError: if an argument is wrong.
        :raises ServerUnavailableError: if the server is not reached.
        :raises ServerMismatchError: if it serves another model, or one that cannot be verified.
        :raises ServerError: if it refuses.
        :raises MissingExtraError: if the extra `serving` (or `ovms-legacy`) is not installed.
        """
        from ov_emotions.remote import open_classifier  # only a client needs it

        return open_classifier(
            url,
            model=model,
            metadata_url=metadata_url,
            verify=verify,
            thresholds=thresholds,
            long_texts=long_texts,
            on_model_change=on_model_change,
            options=options,
        )

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, layout: Literal["bundle", "optimum"] = "bundle"
    ) -> None:
        """Write the bundle, as it was loaded, to a folder; see `Bundle.save_pretrained`.

        :param folder: a new folder, an empty one, or an older one of the layout, which is replaced.
        :param layout: `bundle`, or `optimum` for optimum-intel and transformers.
        :raises BundleError: if the folder holds other things or cannot be written.
        """
        self.bundle.save_pretrained(folder, layout=layout)

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds in use, by label; a copy."""
        return dict(self._thresholds)

    @property
    def task(self) -> Task:
        """`multi_label` for sigmoids and thresholds, `single_label` for a softmax."""
        return self._task

    @property
    def long_texts(self) -> LongTexts:
        """What is done with texts longer than the model reads at a time."""
        return self._long_texts

    @property
    def bundle(self) -> Bundle:
        """The bundle that the model came from.

        :raises OvEmotionsError: if there is none.
        """
        if self._bundle is None:
            raise self._no_bundle()
        return self._bundle

    def _no_bundle(self) -> OvEmotionsError:
        """Say what to do where there is no bundle; kinds that have none say it in their words."""
        return InputError("this classifier has no bundle")

    @property
    def label_names_ru(self) -> dict[str, str]:
        """Russian name by label, from the bundle; a copy."""
        return dict(self.bundle.manifest.label_names_ru)

    def predict_proba(self, texts: Texts) -> NDArray[np.float32]:
        """Give the probability of every label for every text.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels), in [0, 1]; columns are in the order of `labels`.
        :raises InputError: if something is not a text; the message names its position.
        """
        return self._score(as_texts(texts))[0]

    def predict_logits(self, texts: Texts) -> NDArray[np.float32]:
        """Give the logits, from which thresholds can be fitted.

        :param texts: a list or tuple of texts.
        :return: float32, shape (texts, labels); -inf for a text that is empty after normalising.
        :raises InputError: if something is not a text; the message names its position.
        """
        return self._run(as_texts(texts))[0]

    def profile(self, texts: Texts, *, repeats: int = 3) -> ClassifierProfile:
        """Measure where the time of a call goes; the call itself holds no timers.

        Compiles the model a second time, for OpenVINO's counters of layers.

        :param texts: a list or tuple of texts, at least one.
        :param repeats: how often every stage is timed; medians are returned.
        :return: seconds by stage and by layer, and the work done: batches, tokens, padding.
        :raises InputError: if something is not a text, or there is none.
        :raises DeviceError: if the runtime fails, or the model runs elsewhere.
        """
        from ov_emotions.runtime.profiling import profile_stages

        checked = as_texts(texts)
        check_count("repeats", repeats)
        if not checked:
            raise InputError("profile() needs at least one text")
        if not isinstance(vars(self).get("_models"), OpenVINOModels):
            raise DeviceError("only a model that this process runs in OpenVINO can be profiled")
        cuts = threshold_array(self._labels, self._thresholds)

        def decided(
            encoded: EncodedTexts, windows: NDArray[np.float32] | None
        ) -> tuple[NDArray[np.bool_], NDArray[np.float32], list[bool]]:
            scores = to_probabilities(self._join(encoded, windows), self._task)
            return apply_thresholds(scores, cuts, self._task), scores, encoded.truncated.tolist()

        return profile_stages(
            checked,
            repeats,
            whole=self._predict,
            tokenize=self._encoder.encode,
            plan=self._models.plan,
            decide=decided,
            results=lambda found: rank(self._labels, *found),
        )

    def warm_up(self) -> None:
        """Compile now what lists and single texts would have compiled as they come.

        For programs that would rather wait at their start. Where `streams` was given there is
        nothing to do.
        """
        self._models.warm_up()

    def close(self) -> None:
        """Let go of the compiled models; later calls raise DeviceError."""
        self._models.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(
        self, texts: Sequence[str], streams: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give logits, shape (texts, labels), and whether each text was truncated."""
        with NATIVE:
            encoded = self._encoder.encode(texts)
            windows = self._infer(encoded, streams) if len(encoded.lengths) else None
        return self._join(encoded, windows), encoded.truncated

    def _infer(self, encoded: EncodedTexts, streams: int | None = None) -> NDArray[np.float32]:
        """Give the logits of at least one window, shape (windows, labels)."""
        return self._models.plan(encoded, streams).run()

    def _join(
        self, encoded: EncodedTexts, windows: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Give the logits of texts, shape (texts, labels), from those of their windows."""
        logits = np.full((encoded.texts, len(self._labels)), -np.inf, dtype=np.float32)
        if windows is None:
            return logits
        if not np.isfinite(windows).all():
            raise DeviceError("the model gave logits that are not finite; try precision='f32'")
        if encoded.texts == len(windows) == 1:
            return windows
        firsts = np.flatnonzero(np.diff(encoded.owners, prepend=-1))
        if self._task == "single_label":
            counts = np.diff(firsts, append=len(windows))[:, None]
            joined = np.add.reduceat(windows, firsts, axis=0) / counts
        else:
            # The sigmoid is monotonic: the highest logit is the highest probability.
            joined = np.maximum.reduceat(windows, firsts, axis=0)
        logits[encoded.owners[firsts]] = joined
        return logits

    def _score(
        self, texts: Sequence[str], streams: int | None = None
    ) -> tuple[NDArray[np.float32], Sequence[bool | None]]:
        """Give probabilities, shape (texts, labels), and whether each text was truncated.

        :param texts: that were checked.
        :param streams: of the model for lists that the texts are laid out for; all if None.
        """
        logits, truncated = self._run(texts, streams)
        return to_probabilities(logits, self._task), truncated.tolist()

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        return decide(self._labels, self._thresholds, *self._score(texts), self._task)
