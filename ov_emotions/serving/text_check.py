"""The served model held against `EmotionClassifier`, text by text, with a reason for what differs.

A text differs where its tokens do, its names do, or a probability does by more than `TOLERANCE`.
The reasons:

- `rounding`: same tokens, and a probability that lies within `TOLERANCE` of its threshold or of the
  next label's. Padding changes the order of float sums, which can tip an activation to the next
  INT8 step; the classifier alone differs from itself in a batch by as much.
- `characters`: the text holds characters that the two Unicode tables treat differently; without
  them both normalise it alike. They are named.
- `segmentation`: both normalise it alike, and the tokeniser's scores of the two segmentations are
  equal.
- `unexplained`: anything else, so a defect.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.encoding import EncodedBatch, pad, tokenize
from ov_emotions.errors import ExportError
from ov_emotions.normalize import NO_NORMALIZER, replace_surrogates
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_model import (
    LABELS,
    PROBABILITIES,
    TEXT_INPUT,
    TOKEN_INPUTS,
    build_text_model,
    label_names,
)
from ov_emotions.serving.text_nodes import string_core
from ov_emotions.serving.text_tokenizer import pad_id, special_tokens, tokenizer_model
from ov_emotions.thresholds import apply_thresholds

if TYPE_CHECKING:
    import openvino as ov

Reason = Literal["rounding", "characters", "segmentation", "unexplained"]

TOLERANCE = 0.03
"""By how much a text's INT8 probability may depend on how far its batch is padded: sums of another
width are rounded otherwise, which can tip an activation to its next step."""

_PLAIN = frozenset(
    [chr(code) for code in range(0x20, 0x7F)]
    + [chr(code) for code in range(0x410, 0x450)]
    + list("Ёё«»—–…№„“”’")
)
"""Characters of every day, whose reading no table can excuse."""

_EQUAL_SCORES = 1e-3
"""Scores of segmentations are sums of float32 logarithms."""

_LOGGER = logging.getLogger(__name__)

PROBES = (
    "как же я рад тебя видеть это просто чудесно",
    "мне очень грустно и одиноко хочется плакать",
    "Ты меня бесишь, чёрт возьми! Ненавижу тебя...",
    "мне страшно я боюсь выходить на улицу",
    "ничего себе вот это неожиданность я не могу поверить",
    "встреча в 10:30 в кабинете 15",
    "",
    "   \t\n",
    "?!...",
    "😡😡😡",
    "[SEP]",
    "<s> </s> <pad> [CLS] [MASK] привет",
    "@вася123, смотри https://example.org/а?б=в и www.example.org",
    "за\u0301мок и замо\u0301к, и\u0306 и й, е\u0308 и ё",
    "при\u00adвет, мя\u200bу, \ufeffначало, \u202eзадом наперёд",
    "а\x00б",
    "①②③ ½ ﬁ ℡ ㎏",
    "漢字かな한국어",
    "Ну-ка, «скажи»: I'm fine, don't — 3,14 + 2=5 (и всё…)  два  пробела\tи\u00a0ещё\nстрока",
    "ЁЛКА ёлка Йод йод №5 100% $5 €7 a_b c^d `e` ~f <g> |h| \\i",
    "👩\u200d👩\u200d👧 ❤️ 👍🏽 ☺",
    "я" * 100,
    "я" * 101,
    "очень " * 300 + "рад",
)
"""Texts on which every built model is checked: plain ones, and those that break tokenisers."""


@dataclass(frozen=True)
class Difference:
    """One text that the two treat differently.

    :param detail: what to look at: the characters, or by how much a probability differs.
    :param served: the names that the served model gives.
    :param expected: the names that the classifier gives.
    """

    text: str
    reason: Reason
    detail: str
    served: str
    expected: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    :param largest: the largest difference of a probability where the tokens are the same.
    :param differences: every text that differs, in order.
    """

    texts: int
    largest: float
    differences: tuple[Difference, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of differing texts by reason."""
        return dict(Counter(difference.reason for difference in self.differences))

    @property
    def other_names(self) -> int:
        """The number of texts that get other names."""
        return sum(found.served != found.expected for found in self.differences)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "texts": self.texts,
            "largest_difference": self.largest,
            "tolerance": TOLERANCE,
            "other_names": self.other_names,
            "reasons": self.counts(),
            "differences": [vars(found) for found in self.differences],
        }


def compare(
    bundle: Bundle,
    model: ov.Model,
    config: TextModelConfig,
    texts: Iterable[str],
    *,
    batch_size: int = 16,
) -> Comparison:
    """Compare a served model with the classifier of its bundle, on the CPU of this machine."""
    checker = _Checker(bundle, model, config)
    remaining = iter(texts)
    count, largest = 0, 0.0
    differences: list[Difference] = []
    while batch := [replace_surrogates(text) for text in islice(remaining, batch_size)]:
        found, difference = checker.check(batch)
        count += len(batch)
        largest = max(largest, difference)
        differences += found
    _LOGGER.info("compared %d texts: %d differ", count, len(differences))
    return Comparison(count, largest, tuple(differences))


def require_parity(comparison: Comparison, bundle: Bundle) -> None:
    """Refuse a model that differs from its bundle for no known reason.

    :raises ExportError: with the first such text.
    """
    unexplained = [found for found in comparison.differences if found.reason == "unexplained"]
    if unexplained:
        first = unexplained[0]
        raise ExportError(
            f"the served model of {bundle.folder} differs from the classifier on "
            f"{len(unexplained)} of {comparison.texts} texts for no known reason, first on "
            f"{first.text[:60]!r}: it says {first.served!r} and not {first.expected!r} "
            f"({first.detail}); nothing was published"
        )


def checked_model(bundle: Bundle, config: TextModelConfig) -> ov.Model:
    """Make the model that is served, which answers as its bundle does.

    :raises ExportError: if it answers differently.
    """
    built = build_text_model(bundle, config)
    require_parity(compare(bundle, built, config, PROBES), bundle)
    return built


class _Checker:
    """The two models, and what is needed to find out why they differ."""

    def __init__(self, bundle: Bundle, model: ov.Model, config: TextModelConfig) -> None:
        manifest = bundle.manifest
        hint = {"INFERENCE_PRECISION_HINT": manifest.inference_precision}
        self._served = string_core().compile_model(model, "CPU", hint)
        self._classifier = EmotionClassifier(bundle, long_texts="truncate")
        self._config = config
        names = label_names(bundle, config.names, config.separator)
        self._names = dict(zip(manifest.labels, names, strict=True))
        self._thresholds, self._task = manifest.threshold_array(), manifest.task
        self._tokenizer, self._max_length = bundle.tokenizer(), manifest.max_length
        self._special, self._pad_id = special_tokens(bundle), pad_id(bundle)
        self._tokens = _TokenComparison(bundle)

    def check(self, texts: list[str]) -> tuple[list[Difference], float]:
        """Compare one batch: what differs, and by how much where the tokens do not."""
        scores, served = self._ask(texts)
        predictions = self._classifier(texts)
        expected = np.array([[p.scores[label] for label in self._names] for p in predictions])
        names = [self._join(p.labels) for p in predictions]
        tokens = self._tokens.differ(texts) if not self._config.token_in else [False] * len(texts)
        largest = 0.0
        found = []
        for i, text in enumerate(texts):
            gap = float(np.abs(scores[i] - expected[i]).max())
            if not np.isfinite(gap):
                gap = 1.0
            if not tokens[i]:
                largest = max(largest, gap)
                if gap <= TOLERANCE and served[i] == names[i]:
                    continue
            reason: Reason = "rounding" if gap <= TOLERANCE else "unexplained"
            detail = f"a probability differs by {gap:.4f}"
            if served[i] != self._names_of(scores[i]):
                reason, detail = "unexplained", "its names do not follow from its probabilities"
            elif tokens[i]:
                reason, detail = self._tokens.explain(text)
            found.append(Difference(text, reason, detail, served[i], names[i]))
        return found, largest

    def _ask(self, texts: list[str]) -> tuple[NDArray[np.float32], list[str]]:
        if self._config.token_in:
            batch = self._encode(texts)
            arrays = (batch.input_ids, batch.attention_mask)
            scores = self._served(dict(zip(TOKEN_INPUTS, arrays, strict=True)))[PROBABILITIES]
            return scores, [self._names_of(row) for row in scores]
        answer = self._served({TEXT_INPUT: texts})
        return answer[PROBABILITIES], [str(joined) for joined in answer[LABELS]]

    def _encode(self, texts: list[str]) -> EncodedBatch:
        """Tokenise as a caller of a token-in model does; an empty text is a row of padding."""
        rows = tokenize(self._tokenizer, texts, self._max_length)
        return pad([row if len(row) > self._special else row[:0] for row in rows], self._pad_id)

    def _join(self, labels: Sequence[str]) -> str:
        return self._config.separator.join(self._names[label] for label in labels)

    def _names_of(self, scores: NDArray[np.float32]) -> str:
        reached = apply_thresholds(scores, self._thresholds, self._task)
        order = np.argsort(-scores, kind="stable")
        labels = list(self._names)
        return self._join([labels[i] for i in order if reached[i]])


class _TokenComparison:
    """The tokeniser's graph and the tokenizers library side by side."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._graph = string_core().compile_model(tokenizer_model(bundle), "CPU")
        self._bundle = bundle
        self._whole, self._cut = bundle.tokenizer(), bundle.tokenizer()
        self._whole.encode_special_tokens = self._cut.encode_special_tokens = True
        self._cut.enable_truncation(manifest.max_length)
        self._own_normalizer = manifest.normalizer != NO_NORMALIZER
        model = json.loads(self._whole.to_str())["model"]
        unigram = model["type"] == "Unigram"
        self._scores = np.array([s for _, s in model["vocab"]]) if unigram else None
        self._unknown: int = model["unk_id"] if unigram else -1

    @cached_property
    def _whole_graph(self) -> ov.CompiledModel:
        """The graph for texts of any length: scores of segmentations compare only as wholes."""
        manifest = self._bundle.manifest.replace(max_length=2**24)
        whole = tokenizer_model(replace(self._bundle, manifest=manifest))
        return string_core().compile_model(whole, "CPU")

    def differ(self, texts: list[str]) -> list[bool]:
        """Tell for each text whether its tokens differ, after truncation."""
        expected = self._cut.encode_batch_fast(texts)
        graph = _ids(self._graph({"text": texts}))
        return [ids != e.ids for ids, e in zip(graph, expected, strict=True)]

    def explain(self, text: str) -> tuple[Reason, str]:
        """Find the reason why the tokens of a text differ."""
        answer = self._whole_graph({"text": [text]})
        if str(answer["normalized"][0]) != self._normalize(text):
            return self._explain_characters(text)
        ours, theirs = next(_ids(answer)), self._whole.encode(text).ids
        if self._scores is not None and ours.count(self._unknown) == theirs.count(self._unknown):
            gap = abs(float(self._scores[ours].sum() - self._scores[theirs].sum()))
            if gap <= _EQUAL_SCORES:
                return "segmentation", f"the scores of two segmentations differ by {gap:.1e}"
        if self._own_normalizer:
            return "unexplained", "the same normalised text has other tokens"
        # A tokeniser that splits at punctuation asks the Unicode tables again.
        return self._explain_characters(text)

    def _explain_characters(self, text: str) -> tuple[Reason, str]:
        characters = sorted(set(text) - _PLAIN)
        odd = self._odd(characters)
        marks = {c for c in characters if unicodedata.category(c).startswith("M")}
        for suspects in (odd, odd | marks):
            rest = "".join(c for c in text if c not in suspects)
            if suspects and self._alike([rest]) == [True]:
                names = " ".join(f"U+{ord(c):04X}" for c in sorted(suspects)[:8])
                return "characters", f"{len(suspects)} characters, {names}"
        return "unexplained", "it is tokenised differently"

    def _odd(self, characters: list[str]) -> set[str]:
        """Find the characters that, alone or in a word, are read differently."""
        odd: set[str] = set()
        for pattern in ("{}", "а{}", "а{}б", "@{}б") if characters else ():
            alike = self._alike([pattern.format(c) for c in characters])
            odd |= {c for c, same in zip(characters, alike, strict=True) if not same}
        return odd

    def _alike(self, texts: list[str]) -> list[bool]:
        """Tell for each text whether it is normalised and tokenised alike."""
        answer = self._whole_graph({"text": texts})
        expected = self._whole.encode_batch_fast(texts)
        found = zip(texts, answer["normalized"], _ids(answer), expected, strict=True)
        return [
            str(normalized) == self._normalize(text) and ids == e.ids
            for text, normalized, ids, e in found
        ]

    def _normalize(self, text: str) -> str:
        normalizer = self._whole.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))


def _ids(answer: Any) -> Iterator[list[int]]:
    """Take the padding off, row by row."""
    for ids, mask in zip(answer["input_ids"], answer["attention_mask"], strict=True):
        yield ids[mask == 1].tolist()
