"""Known questions: what tells two models apart where the server tells no facts (gRPC).

The bundle answers the same texts here. Two answers of one INT8 model differ with the machine and
with what else is in a batch, so the bundle is also asked twice, and how far it differs from itself
says how far a server may differ from it. The output `labels` shows the server's thresholds: a
label must be named exactly where the server's own probability reaches the bundle's threshold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.client.facts import facts_of
from ov_emotions.manifest import Manifest
from ov_emotions.schema import LongTexts
from ov_emotions.thresholds import apply_thresholds

PROBES = (
    "я так рада вас всех видеть",
    "какой ужас я очень боюсь",
    "да как вы смеете я в ярости",
    "поезд отправляется в девять часов",
    "радость",
    "злость",
    "слово",
    "я рад",
    "чёрт",
    # Found by search: each of the shipped models' labels is a little above its threshold in one of
    # these and a little below in another.
    "он меня обманул документы лежат на столе",
    "надоело ждать",
    "плохо пахнет не ожидал такого",
    "мне очень страшно как же это противно",
    "смешная история ужас",
    "какой кошмар мне грустно и одиноко",
    "как же это противно и хорошо",
    "вкусный был обед мне очень страшно",
    "как же это противно жаль что всё прошло",
    "не ожидал такого надоело ждать",
    "интересно что дальше спасибо за помощь",
    "не понимаю зачем плохо пахнет",
    "слово вкусный был обед",
    "надоело ждать сегодня",
    "тревожно за детей плохо пахнет",
    "как же это противно кажется",
    "он меня обманул плохо пахнет",
    "ужас умер старый кот",
    "интересно что дальше темно и холодно",
    "опять всё сломалось интересно что дальше",
    "я так рад вас видеть вот это неожиданность",
    "ужас не понимаю зачем",
    "умер старый кот не понимаю зачем",
)
"""Texts that are sent; no user's text is."""

_LONG = "слово " * 200
"""Beside it in one batch, every probe is padded to the model's whole length."""

_LEAST_TOLERANCE = 0.05
"""How far answers of one model differ between processors, and between f32 and bf16."""
_ROUNDING = 0.004
"""A server that computes in bf16 compares probabilities that are rounded to eight bits."""


@dataclass(frozen=True)
class Known:
    """How a bundle answers `PROBES`.

    :param scores: float32, shape (probes, labels).
    :param tolerance: how far a server's probabilities may differ.
    """

    scores: NDArray[np.float32]
    tolerance: float

    @property
    def tell_apart(self) -> bool:
        """Whether the texts make enough difference to the bundle to know it by its answers."""
        return bool(np.ptp(self.scores, axis=0).max() > 5 * self.tolerance)


_KNOWN: dict[tuple[str | None, LongTexts], Known] = {}


def known_answers(bundle: Bundle, long_texts: LongTexts) -> Known:
    """Answer the probes with the bundle, once in a process; for some models one is a long text."""
    key = facts_of(bundle.manifest).manifest_sha256, long_texts
    if key not in _KNOWN:
        # One model and any batch: a probe is to be computed alone and beside a long text.
        with EmotionClassifier(
            bundle, streams=1, batch_tokens=1 << 20, long_texts=long_texts
        ) as local:
            scores = local.predict_proba(list(PROBES))
            padded = local.predict_proba([*PROBES, _LONG])[:-1]
        noise = float(np.abs(scores - padded).max())
        _KNOWN[key] = Known(scores, _LEAST_TOLERANCE + 2 * noise)
    return _KNOWN[key]


@dataclass(frozen=True)
class Compared:
    """What the probes showed.

    :param difference: of a probability, at most.
    :param wrong: what differs from the bundle, in words; empty where nothing does.
    :param gap: how close to its threshold each label was seen on both sides, at the worst; None
        where the server names no labels.
    :param one_sided: labels that were never seen above their threshold, or never below.
    """

    difference: float
    wrong: tuple[str, ...]
    gap: float | None = None
    one_sided: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f"{len(PROBES)} known texts answered alike, probabilities to {self.difference:.4f}"
        if self.gap is not None:
            told += f", thresholds to {self.gap:.2f}"
        if self.one_sided:
            told += f" (of {', '.join(self.one_sided)} from one side only)"
        return told


def compare(
    known: Known, manifest: Manifest, scores: NDArray[np.float32], names: Sequence[bytes] | None
) -> Compared:
    """Hold a server's answers to the probes against the bundle's.

    :param scores: the server's, float32, shape (probes, labels).
    :param names: its output `labels`, a text a probe; None where it has none.
    """
    apart = np.abs(scores - known.scores)
    difference = float(apart.max())
    wrong = []
    if difference > known.tolerance:
        row, column = divmod(int(apart.argmax()), apart.shape[1])
        wrong.append(
            f"«{PROBES[row]}» is {manifest.labels[column]} {scores[row, column]:.3f} there and "
            f"{known.scores[row, column]:.3f} here (more than {known.tolerance:.3f} apart)"
        )
    if names is None:
        return Compared(difference, tuple(wrong))
    cuts = manifest.threshold_array()
    told = [name.decode(errors="replace") for name in names]
    named, strange = _read_names(told, manifest)
    above = scores - cuts
    clear = np.abs(above) > _ROUNDING
    if manifest.task == "single_label":  # of two that are as probable, either may be named
        best = np.sort(scores, axis=1)
        clear &= (best[:, -1:] - best[:, -2:-1]) > _ROUNDING
    other = clear & (named != apply_thresholds(scores, cuts, manifest.task))
    for column, label in enumerate(manifest.labels):
        for row in np.flatnonzero(other[:, column]).tolist()[:1]:
            side = "lower" if named[row, column] else "higher"
            wrong.append(
                f"its threshold of {label} is {side} than {cuts[column]:.6g}: «{PROBES[row]}» is "
                f"{scores[row, column]:.3f} and labelled {told[row]!r}"
            )
    if strange:
        wrong.append(f"it names the labels {strange!r}, which the bundle lacks")
    if manifest.task == "single_label":
        return Compared(difference, tuple(wrong))
    higher = np.where(above > _ROUNDING, above, np.inf).min(axis=0)
    lower = np.where(above < -_ROUNDING, -above, np.inf).min(axis=0)
    gaps = np.maximum(higher, lower)
    both = np.isfinite(gaps)
    one_sided = tuple(label for label, seen in zip(manifest.labels, both, strict=True) if not seen)
    gap = float(gaps[both].max()) if both.any() else None
    return Compared(difference, tuple(wrong), gap, one_sided)


def _read_names(told: Sequence[str], manifest: Manifest) -> tuple[NDArray[np.bool_], str]:
    """Find which labels each text names, whatever separates them; and what is no label's name."""
    columns: dict[str, int] = {}
    for column, label in enumerate(manifest.labels):
        columns |= {label: column, manifest.label_names_ru.get(label) or label: column}
    longest = sorted(columns, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(name) for name in longest))
    found = np.zeros((len(told), len(manifest.labels)), bool)
    strange = ""
    for row, text in enumerate(told):
        for name in pattern.findall(text):
            found[row, columns[name]] = True
        if re.search(r"\w", rest := pattern.sub("", text)):
            strange = rest.strip()
    return found, strange
