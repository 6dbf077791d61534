"""Which compiled model runs a batch: the one place that decides it.

A model that takes any shape answers from the first call on, with one stream of all threads, which
answers a text soonest. Two kinds of models beside it are faster at what they are made for. They are
compiled when enough has come to pay for them, in a thread beside the calls where they can wait:

- for single texts, models of one shape each. A model of any shape prepares its layers anew whenever
  the shape changes, which takes up to as long as the inference of a short text;
- for lists, a model with a stream for every thread, none of which waits for others, that takes rows
  of several texts, so that next to nothing is padding. A graph that cannot be packed is compiled as
  it is, for lists that keep all streams busy.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import WEIGHTS_NAME, Bundle
from ov_emotions.encoding import EncodedTexts, TextEncoder
from ov_emotions.errors import OvEmotionsError
from ov_emotions.process import forked, reopening
from ov_emotions.runtime.openvino import Backend, Batch, OpenVINOBackend
from ov_emotions.system import cpu_budget

_LOGGER = logging.getLogger(__name__)

WIDTHS = (16, 32, 48)
"""Tokens of the models for single texts: nearly all utterances have fewer than the last."""

_LIGHT_BYTES = 128 << 20
"""Weights of a model that may be compiled several times for its single texts."""

# What pays for a model: single texts of its width; lists, in batches a thread.
_SINGLES_THAT_PAY = 32
_BATCHES_THAT_PAY = 8
# A list keeps all streams busy from so many batches a thread on, if it is not packed.
_BUSY_BATCHES = 2

_TOKENS_A_THREAD = 1024
_MOST_TOKENS = 8192

# Texts of several lengths, unlike each other, on which a packed graph must say the same.
_PROBES = (
    "ура",
    "мне сегодня очень грустно и ничего не хочется",
    "как ты мог забыть про мой день рождения я так тебя ждала",
    "поезд приходит в восемь часов вечера на третий путь",
    "боюсь что нас никто не услышит",
)
_PROBE_TOKENS = 64
# A part of how far the logits of the texts lie apart. Texts of a row that see each other, or stand
# at wrong positions, are off by as much as another text; INT8 rounds otherwise by a fiftieth.
_TOLERANCE = 0.1


def default_batch_tokens(threads: int, streams: int = 1) -> int:
    """Choose the token budget of a batch.

    What a thread works on should stay in its core's cache, and be enough to keep it busy.

    :param threads: CPU threads of all streams.
    :param streams: inferences that run side by side.
    :return: tokens, padding included.
    """
    return min(_MOST_TOKENS, _TOKENS_A_THREAD * max(1, threads // streams))


@dataclass(frozen=True)
class ModelSettings:
    """How a bundle's models are compiled; see `EmotionClassifier`.

    :param one: only the model of any shape.
    """

    device: str = "CPU"
    threads: int | None = None
    streams: int | None = None
    precision: str | None = None
    cache_dir: Path | None = None
    batch_tokens: int | None = None
    mmap: bool = True
    one: bool = False


class Plan(NamedTuple):
    """What runs some texts, and how they are laid out for it.

    :param backend: the model.
    :param groups: window positions per batch.
    :param batches: made as they are read.
    """

    backend: OpenVINOBackend
    groups: Sequence[NDArray[np.int64]]
    batches: Iterable[Batch]

    def run(self) -> NDArray[np.float32]:
        """Give the logits of all windows, shape (windows, labels)."""
        return in_order(self.groups, self.backend.infer(self.batches))


class Models(Protocol):
    """What runs a model for a classifier; safe to use from several threads at once."""

    def run(self, encoded: EncodedTexts) -> NDArray[np.float32]:
        """Run the model.

        :param encoded: at least one window.
        :return: logits, float32, shape (windows, labels).
        :raises DeviceError: if the runtime fails, or was closed.
        """

    def warm_up(self) -> None:
        """Compile now what would be compiled as texts come."""

    def close(self) -> None:
        """Let go of the models; what is under way finishes first."""


class OpenVINOModels:
    """The compiled models of a bundle. In a forked child they are opened again.

    :param bundle: whose model to run.
    :param encoder: its tokeniser.
    :param settings: how to compile it.
    :raises DeviceError: if there is no such device, or it refuses an option.
    :raises BundleError: if OpenVINO cannot read the model, or it has other inputs or outputs.
    """

    def __init__(self, bundle: Bundle, encoder: TextEncoder, settings: ModelSettings) -> None:
        self._bundle, self._encoder, self._settings = bundle, encoder, settings
        self._closed = False
        self._open()

    def _open(self) -> None:
        settings = self._settings
        cores = 1 if forked() else cpu_budget().cores
        threads, streams = settings.threads, settings.streams
        self._batch_tokens = settings.batch_tokens or default_batch_tokens(
            threads or cores, streams or 1
        )
        self._several = min(threads or cores, cores)
        self._list_tokens = settings.batch_tokens or default_batch_tokens(
            self._several, self._several
        )
        self._plain = self._compile(threads=threads, streams=streams)
        self._singles: dict[int, _Later[OpenVINOBackend]] = {}
        self._lists: _Later[_ForLists] | None = None
        if not settings.one:
            self._lists = _Later(
                "lists", self._compile_for_lists, _BATCHES_THAT_PAY * self._share()
            )
            if (self._bundle.folder / WEIGHTS_NAME).stat().st_size <= _LIGHT_BYTES:
                for width in WIDTHS:
                    if width <= self._bundle.manifest.max_length:
                        make = partial(self._compile_for_singles, width)
                        name = f"texts of up to {width} tokens"
                        self._singles[width] = _Later(name, make, _SINGLES_THAT_PAY)
        self._process = os.getpid()

    def run(self, encoded: EncodedTexts) -> NDArray[np.float32]:
        """Run the model that suits; see `Models`."""
        return self.plan(encoded).run()

    def plan(self, encoded: EncodedTexts) -> Plan:
        """Choose the model for texts, and lay them out for it.

        :param encoded: at least one window.
        :return: the plan.
        """
        if os.getpid() != self._process:
            with reopening():
                if os.getpid() != self._process and not self._closed:
                    self._open()
        tokens = len(encoded.ids)
        if len(encoded.lengths) == 1:
            width = next((width for width in self._singles if tokens <= width), None)
            model = None if width is None else self._singles[width].get(1)
            return Plan(model or self._plain, *encoded.alone(width))
        batch_tokens, model = self._batch_tokens, self._plain
        for_lists = self._lists and self._lists.get(tokens)
        if for_lists and for_lists.packed:
            from ov_emotions.runtime.packing import Packing  # single texts need none

            packing = Packing(encoded, self._list_tokens, self._several)
            return Plan(for_lists.backend, packing.groups, packing.batches())
        if for_lists and tokens >= _BUSY_BATCHES * self._share():
            # So many batches that the streams end together.
            even = tokens // (2 * _BUSY_BATCHES * self._several)
            batch_tokens, model = min(self._list_tokens, even), for_lists.backend
        groups = encoded.groups(batch_tokens)
        return Plan(model, groups, encoded.batches(groups))

    def warm_up(self) -> None:
        """Compile now what lists and single texts would have compiled as they come."""
        for later in self._later():
            later.make_now()

    def close(self) -> None:
        """Let go of the models; later calls raise DeviceError."""
        self._closed = True
        self._plain.close()
        for later in self._later():
            later.close()

    def _later(self) -> list[_Later[Any]]:
        return [*([self._lists] if self._lists else []), *self._singles.values()]

    def _share(self) -> int:
        """Give the tokens of a batch for every thread."""
        return self._list_tokens * self._several

    def _compile(self, **options: Any) -> OpenVINOBackend:
        settings = self._settings
        given = {
            "device": settings.device,
            "precision": settings.precision,
            "cache_dir": settings.cache_dir,
            "mmap": settings.mmap,
        }
        return OpenVINOBackend(self._bundle, **given | options)

    def _compile_for_singles(self, width: int) -> OpenVINOBackend:
        return self._compile(
            threads=self._settings.threads,
            streams=self._settings.streams,
            cache_dir=None,
            shape=(1, width),
        )

    def _compile_for_lists(self) -> _ForLists | None:
        """Compile the model packed, if it says the same then, or else as it is.

        :return: None where it would be the plain one once more, not packed and of one thread.
        """
        from ov_emotions.runtime.packed_graph import UnpackableError  # only lists need it

        compiled = partial(self._compile, threads=self._several, streams=self._several)
        try:
            packed = compiled(packed=True)
        except UnpackableError as error:
            reason = str(error)
        else:
            if says_the_same(packed, self._plain, self._encoder.encode(_PROBES)):
                return _ForLists(packed, packed=True)
            packed.close()
            reason = "it says something else then"
        _LOGGER.info("each text has a row of its own; the model takes no others: %s", reason)
        return _ForLists(compiled(), packed=False) if self._several > 1 else None


class _ForLists(NamedTuple):
    backend: OpenVINOBackend
    packed: bool

    def close(self) -> None:
        self.backend.close()


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class _Later(Generic[T]):
    """A model that is made once, when it pays, or never.

    :param name: of what it is for, in a thread's name and in the warning if it cannot be made.
    :param make: makes it, or finds that there is no use in it and returns None.
    :param pays: the work that it must be asked for.
    """

    def __init__(self, name: str, make: Callable[[], T | None], pays: int) -> None:
        self._name, self._pays, self._to_come = name, pays, pays
        self._make: Callable[[], T | None] | None = make
        self._made: T | None = None
        self._closed = threading.Event()
        self._making, self._lock = threading.Lock(), threading.Lock()

    def get(self, work: int) -> T | None:
        """Give the model.

        :param work: that it is wanted for.
        :return: None before it pays, while another thread makes it, and where it cannot be made.
        """
        if self._made is None and self._to_come > 0:
            with self._lock:
                before, self._to_come = self._to_come, self._to_come - work
            if before > 0 >= self._to_come:
                # Work that pays alone waits for the model; the rest need not.
                if work >= self._pays:
                    self.make_now()
                else:
                    with suppress(RuntimeError):  # no thread starts when the process ends
                        name = f"ov_emotions compiles for {self._name}"
                        threading.Thread(target=self.make_now, name=name).start()
        return self._made

    def make_now(self) -> None:
        """Make it, or wait while another thread does."""
        with self._making:
            make, self._make = self._make, None
            if make is None or self._closed.is_set():
                return
            try:
                made = make()
            except OvEmotionsError as error:
                if not self._closed.is_set():
                    _LOGGER.warning("%s go without a model of their own: %s", self._name, error)
                return
            with self._lock:
                if made is not None and self._closed.is_set():
                    made.close()
                else:
                    self._made = made

    def close(self) -> None:
        """Let go of it, at once or when it is ready, and make none any more."""
        with self._lock:
            self._closed.set()
            if self._made is not None:
                self._made.close()


def in_order(
    groups: Sequence[NDArray[np.int64]], logits: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Put what came out of batches in the order of the windows.

    :param groups: window positions per batch.
    :param logits: per batch; rows beyond its windows are padding.
    :return: float32, shape (windows, labels).
    """
    parts = [part[: len(rows)] for part, rows in zip(logits, groups, strict=True)]
    found = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(found) == 1:
        return found  # after an inference every step here finds a cold cache
    windows = np.empty_like(found)
    windows[np.concatenate(groups)] = found
    return windows


def says_the_same(packed: Backend, plain: Backend, encoded: EncodedTexts) -> bool:
    """Compare a packed model with the one that it is of.

    :param packed: takes packed rows.
    :param plain: takes any batch.
    :param encoded: texts that are unlike each other.
    :return: whether it gives the same logits, but for rounding.
    """
    from ov_emotions.runtime.packing import Packing

    packing, groups = Packing(encoded, _PROBE_TOKENS, 1), encoded.groups(_PROBE_TOKENS)
    found = in_order(packing.groups, packed.infer(packing.batches()))
    expected = in_order(groups, plain.infer(encoded.batches(groups)))
    apart = float(np.ptp(expected, axis=0).max())
    return bool(np.abs(found - expected).max() <= _TOLERANCE * apart)
