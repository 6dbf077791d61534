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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.encoding import EncodedTexts, TextEncoder
from ov_emotions.errors import OvEmotionsError
from ov_emotions.manifest import WEIGHTS_NAME
from ov_emotions.process import forked, reopening
from ov_emotions.runtime.openvino import OpenVINOBackend
from ov_emotions.system import cpu_budget

if TYPE_CHECKING:
    from ov_emotions.runtime.openvino import Batch

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
    """Choose the tokens of a batch at most, padding included.

    What a thread works on should stay in its core's cache, and be enough to keep it busy.

    :param threads: of all streams.
    """
    return min(_MOST_TOKENS, _TOKENS_A_THREAD * max(1, threads // streams))


class Plan(NamedTuple):
    """A model, the window positions of its batches, and the batches, made as they are read."""

    backend: OpenVINOBackend
    groups: Sequence[NDArray[np.int64]]
    batches: Iterable[Batch]

    def run(self) -> NDArray[np.float32]:
        """Give the logits of all windows, shape (windows, labels)."""
        return in_order(self.groups, self.backend.infer(self.batches))


class OpenVINOModels:
    """The compiled models of a bundle, and the choice which of them runs some texts.

    Safe to use from several threads at once; in a forked child they are opened again. The options
    are those of `EmotionClassifier`.

    :param encoder: the bundle's tokeniser.
    :param one: only the model of any shape.
    :raises DeviceError: if there is no such device, or it refuses an option.
    :raises BundleError: if OpenVINO cannot read the model, or it has other inputs or outputs.
    """

    def __init__(
        self,
        bundle: Bundle,
        encoder: TextEncoder,
        *,
        device: str,
        threads: int | None,
        streams: int | None,
        precision: str | None,
        cache_dir: Path | None,
        batch_tokens: int | None,
        mmap: bool,
        one: bool,
    ) -> None:
        self._bundle, self._encoder, self._one = bundle, encoder, one
        self._threads, self._streams, self._given_tokens = threads, streams, batch_tokens
        self._compile = partial(
            OpenVINOBackend,
            bundle,
            device=device,
            threads=threads,
            streams=streams,
            precision=precision,
            cache_dir=cache_dir,
            mmap=mmap,
        )
        self._closed = False
        self._open()

    def _open(self) -> None:
        cores = 1 if forked() else cpu_budget().cores
        self._all_threads = self._threads or cores
        self.several = min(self._all_threads, cores)
        self.limit_batches(self._given_tokens)
        self._plain = self._compile()
        self._singles: dict[int, _Later] = {}
        self._lists: _Later | None = None
        if not self._one:
            pays = _BATCHES_THAT_PAY * self._share
            self._lists = _Later("lists", self._compile_for_lists, pays)
            light = (self._bundle.folder / WEIGHTS_NAME).stat().st_size <= _LIGHT_BYTES
            for width in WIDTHS if light else ():
                if width <= self._bundle.manifest.max_length:
                    make = partial(self._compile, cache_dir=None, shape=(1, width))
                    name = f"texts of up to {width} tokens"
                    self._singles[width] = _Later(name, make, _SINGLES_THAT_PAY)
        self._process = os.getpid()

    def limit_batches(self, batch_tokens: int | None) -> None:
        """Make batches of so many tokens at most from now on; the compiled models stay."""
        self._given_tokens = batch_tokens
        streams = self._streams or 1
        self._batch_tokens = batch_tokens or default_batch_tokens(self._all_threads, streams)
        self._list_tokens = batch_tokens or _TOKENS_A_THREAD
        # The tokens of a batch for every thread.
        self._share = self._list_tokens * self.several

    def plan(self, encoded: EncodedTexts, streams: int | None = None) -> Plan:
        """Choose the model for at least one window, and lay the windows out for it.

        :param encoded: the windows.
        :param streams: of the model for lists that share the windows; all if None.
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

            packing = Packing(encoded, self._list_tokens, streams or self.several)
            return Plan(for_lists, packing.groups, packing.batches())
        if for_lists and tokens >= _BUSY_BATCHES * self._share:
            # So many batches that the streams end together.
            even = tokens // (2 * _BUSY_BATCHES * self.several)
            batch_tokens, model = min(self._list_tokens, even), for_lists
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

    def _later(self) -> list[_Later]:
        return [*([self._lists] if self._lists else []), *self._singles.values()]

    def _compile_for_lists(self) -> OpenVINOBackend | None:
        """Compile the model packed, if it says the same then, or else as it is.

        :return: None where it would be the plain one once more, not packed and of one thread.
        """
        from ov_emotions.runtime.packed_graph import UnpackableError  # only lists need it

        compiled = partial(self._compile, threads=self.several, streams=self.several)
        try:
            packed = compiled(packed=True)
        except UnpackableError as error:
            reason = str(error)
        else:
            if _says_the_same(packed, self._plain, self._encoder.encode(_PROBES)):
                return packed
            packed.close()
            reason = "it says something else then"
        _LOGGER.info("each text has a row of its own; the model takes no others: %s", reason)
        return compiled() if self.several > 1 else None


class _Later:
    """A model that is made once, when it pays, or never.

    :param name: of what it is for, in a thread's name and in the warning if it cannot be made.
    :param make: makes it, or finds that there is no use in it and returns None.
    :param pays: the work that it must be asked for.
    """

    def __init__(self, name: str, make: Callable[[], OpenVINOBackend | None], pays: int) -> None:
        self._name, self._pays, self._to_come = name, pays, pays
        self._make: Callable[[], OpenVINOBackend | None] | None = make
        self._made: OpenVINOBackend | None = None
        self._closed = threading.Event()
        self._making, self._lock = threading.Lock(), threading.Lock()

    def get(self, work: int) -> OpenVINOBackend | None:
        """Give the model for some work.

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


def _says_the_same(packed: OpenVINOBackend, plain: OpenVINOBackend, probes: EncodedTexts) -> bool:
    """Tell whether a packed model gives the logits of the one that it is of, but for rounding."""
    from ov_emotions.runtime.packing import Packing

    packing, groups = Packing(probes, _PROBE_TOKENS, 1), probes.groups(_PROBE_TOKENS)
    found = in_order(packing.groups, packed.infer(packing.batches()))
    expected = in_order(groups, plain.infer(probes.batches(groups)))
    apart = float(np.ptp(expected, axis=0).max())
    return bool(np.abs(found - expected).max() <= _TOLERANCE * apart)
