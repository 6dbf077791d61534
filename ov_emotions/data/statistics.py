"""What a prepared folder holds, in numbers: labels, lengths, telling words, repeated texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import MANIFEST_NAME, UNKNOWN, LabelledTexts, PreparedData
from ov_emotions.data.near_duplicates import near_duplicate_pairs
from ov_emotions.data.settings import StatsConfig
from ov_emotions.data.telling_words import TellingWord, lemmas, telling_words
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.manifest import TOKENIZER_NAME
from ov_emotions.normalize import normalize, replace_surrogates
from ov_emotions.progress import Progress, Tell
from ov_emotions.schema import to_builtins
from ov_emotions.system import environment

STATISTICS_SCHEMA = 1
_PACKAGES = ("numpy", "pymorphy3", "pymorphy3-dicts-ru", "tokenizers")
_PERCENTS = (5, 25, 50, 75, 95, 99)
_SLICE = 1000


@dataclass(frozen=True)
class Balance:
    """Rows that have a label, that are known not to, and of sets that do not annotate it."""

    present: int
    absent: int
    unknown: int

    @property
    def share(self) -> float | None:
        """Rows that have the label among those where it is known; None if it never is."""
        known = self.present + self.absent
        return self.present / known if known else None


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths; its quantiles are linearly interpolated, by percent."""

    mean: float
    smallest: int
    quantiles: Mapping[str, float]
    largest: int


@dataclass(frozen=True)
class Group:
    """Rows of one split, or those of one set in it.

    :param labels_per_row: rows by the number of labels present, 0 included.
    :param fully_known: rows with no unknown label.
    :param words: lengths in words of the normalised text; None without rows.
    :param tokens: lengths in tokens, special ones included; None without rows.
    :param over_max_length: rows of more tokens than the model reads at once.
    :param empty: rows that have no word once normalised.
    :param duplicates: rows whose normalised text an earlier row of the group has.
    :param near_duplicates: rows that nearly equal another row of the group, and equal none.
    :param contradictions: distinct texts that stand with different known labels.
    """

    rows: int
    labels: Mapping[str, Balance]
    labels_per_row: Mapping[int, int]
    fully_known: int
    words: Lengths | None
    tokens: Lengths | None
    over_max_length: int
    empty: int
    duplicates: int
    near_duplicates: int
    contradictions: int


@dataclass(frozen=True)
class Overlap:
    """Rows of one split whose normalised text another has, and those that only nearly equal one."""

    split: str
    other: str
    equal: int
    near: int


@dataclass(frozen=True)
class Cooccurrence:
    """How labels go together in one split.

    :param counts: rows with both labels, shape (labels, labels); the diagonal has one label's.
    :param jaccard: rows with both over rows with either, among those where both are known;
        None where there are none.
    :param conditional: share of rows with the column's label among those with the row's, where
        the column's is known; None where there are none.
    """

    counts: tuple[tuple[int, ...], ...]
    jaccard: tuple[tuple[float | None, ...], ...]
    conditional: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class TokenizerFacts:
    """The tokeniser that counted: its bundle, the hash of its file, what a model reads at once."""

    model: str
    sha256: str
    max_length: int


@dataclass(frozen=True)
class Statistics:
    """What a prepared folder holds.

    :param versions: of the library and of what the numbers depend on.
    :param prepared: hash, seed and normaliser of the folder's manifest.
    :param settings: what was asked for, as JSON writes it.
    :param origins: by split, then by set.
    :param overlaps: of every ordered pair of splits.
    :param words: of each label, the most telling first.
    """

    versions: Mapping[str, str]
    prepared: Mapping[str, Any]
    labels: tuple[str, ...]
    label_names_ru: Mapping[str, str]
    tokenizer: TokenizerFacts
    settings: Mapping[str, Any]
    splits: Mapping[str, Group]
    origins: Mapping[str, Mapping[str, Group]]
    overlaps: tuple[Overlap, ...]
    cooccurrence: Mapping[str, Cooccurrence]
    words: Mapping[str, tuple[TellingWord, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, in an order that does not change from run to run."""
        return {"schema": STATISTICS_SCHEMA, **to_builtins(self)}


def describe(folder: Path, config: StatsConfig, tell: Tell = lambda _: None) -> Statistics:
    """Describe a prepared folder.

    :raises DataError: if it is not a prepared folder, a file is not the one recorded, or a split
        that is asked for is not there.
    :raises BundleError: if the model cannot be used.
    """
    prepared = PreparedData.open(folder)
    manifest = prepared.manifest
    if not manifest.splits:
        raise DataError(f"{folder / MANIFEST_NAME} names no splits; prepare the data again")
    facts = {
        "manifest_sha256": sha256_file(folder / MANIFEST_NAME),
        "library": manifest.library,
        "normalizer": manifest.normalizer,
        "seed": manifest.seed,
    }
    splits = {name: prepared.split(name) for name in manifest.splits}
    return describe_splits(splits, config, prepared=facts, tell=tell)


def describe_splits(
    splits: Mapping[str, LabelledTexts],
    config: StatsConfig,
    *,
    prepared: Mapping[str, object],
    tell: Tell = lambda _: None,
) -> Statistics:
    """Describe splits in memory.

    :param splits: at least one, all with the same labels.
    :param prepared: where they come from.
    :raises DataError: if the words' split is not there.
    :raises BundleError: if the model cannot be used.
    """
    label_set = next(iter(splits.values())).label_set
    if config.words_split not in splits:
        raise DataError(f"there is no split {config.words_split!r}; there are {', '.join(splits)}")
    bundle = Bundle.load(config.model)
    texts = {name: [normalize(text) for text in data.texts] for name, data in splits.items()}
    words = _telling(splits, texts, config, tell)
    tokens = {name: _token_counts(bundle, data.texts, tell) for name, data in splits.items()}
    likeness = Likeness.find(texts, config.near_threshold, tell)
    most = bundle.manifest.max_length

    def group(name: str, rows: NDArray[np.int64]) -> Group:
        data, own = splits[name].select(rows), [texts[name][i] for i in rows]
        return Group(
            rows=len(data),
            labels={label: Balance(**counts) for label, counts in data.label_counts().items()},
            labels_per_row=labels_per_row(data.targets),
            fully_known=int((data.targets != UNKNOWN).all(axis=1).sum()),
            words=lengths(np.array([len(text.split()) for text in own], dtype=np.int64)),
            tokens=lengths(tokens[name][rows]),
            over_max_length=int((tokens[name][rows] > most).sum()),
            **likeness.repeats(own, data.targets),
        )

    return Statistics(
        versions=environment(*_PACKAGES)["versions"],
        prepared=prepared,
        labels=label_set.labels,
        label_names_ru=dict(label_set.russian),
        tokenizer=TokenizerFacts(
            bundle.manifest.name, sha256_file(bundle.folder / TOKENIZER_NAME), most
        ),
        settings={key: value for key, value in asdict(config).items() if key != "model"},
        splits={name: group(name, np.arange(len(data))) for name, data in splits.items()},
        origins={
            name: {
                origin: group(name, np.flatnonzero(np.array(data.origins) == origin))
                for origin in sorted(set(data.origins))
            }
            for name, data in splits.items()
        },
        overlaps=likeness.overlaps(texts),
        cooccurrence={name: cooccurrence(data.targets) for name, data in splits.items()},
        words=words,
    )


def _telling(
    splits: Mapping[str, LabelledTexts],
    texts: Mapping[str, list[str]],
    config: StatsConfig,
    tell: Tell,
) -> dict[str, tuple[TellingWord, ...]]:
    data = splits[config.words_split]
    some = [text.split() for text in texts[config.words_split]]
    lemma = lemmas((word for words in some for word in words), tell)
    bags = [frozenset(form for word in words if (form := lemma[word])) for words in some]
    found = telling_words(
        bags,
        data.targets,
        most=config.words,
        least_texts=config.least_texts,
        prior_texts=config.prior_words,
    )
    return dict(zip(data.label_set.labels, found, strict=True))


def _token_counts(bundle: Bundle, texts: Sequence[str], tell: Tell) -> NDArray[np.int64]:
    tokenizer = bundle.tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # as a prediction reads what spells "[SEP]"
    counts: list[int] = []
    for start in range(0, len(texts), _SLICE):
        part = [replace_surrogates(text) for text in texts[start : start + _SLICE]]
        counts += [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(part)]
        tell(Progress(len(counts), len(texts), "texts", "tokens"))
    return np.array(counts, dtype=np.int64)


def labels_per_row(targets: NDArray[np.int8]) -> dict[int, int]:
    """Count rows by how many labels they have, of targets of shape (rows, labels)."""
    numbers, rows = np.unique((targets == 1).sum(axis=1), return_counts=True)
    return dict(zip(numbers.tolist(), rows.tolist(), strict=True))


def lengths(values: NDArray[np.int64]) -> Lengths | None:
    """Describe a distribution; None without values."""
    if not len(values):
        return None
    quantiles = np.percentile(values, _PERCENTS).tolist()
    return Lengths(
        mean=round(float(values.mean()), 4),
        smallest=int(values.min()),
        quantiles={
            str(percent): round(value, 4)
            for percent, value in zip(_PERCENTS, quantiles, strict=True)
        },
        largest=int(values.max()),
    )


def cooccurrence(targets: NDArray[np.int8]) -> Cooccurrence:
    """Count labels that stand together, in targets of shape (rows, labels)."""
    present = (targets == 1).astype(np.int64)
    known = (targets != UNKNOWN).astype(np.int64)
    both = present.T @ present
    # Rows with the row's label in which the column's label is known.
    base = present.T @ known
    either = base + base.T - both
    counts = tuple(map(tuple, both.tolist()))
    return Cooccurrence(counts, _shares(both, either), _shares(both, base))


def _shares(
    part: NDArray[np.int64], whole: NDArray[np.int64]
) -> tuple[tuple[float | None, ...], ...]:
    rows: Sequence[Sequence[tuple[int, int]]] = np.stack([part, whole], axis=-1).tolist()
    return tuple(tuple(round(a / b, 6) if b else None for a, b in row) for row in rows)


@dataclass(frozen=True)
class Likeness:
    """Which distinct texts nearly equal which.

    :param numbers: of each normalised text, but for empty ones.
    :param near: by a text's number those of the texts that are nearly equal.
    """

    numbers: Mapping[str, int]
    near: Mapping[int, set[int]]

    @staticmethod
    def find(texts: Mapping[str, Sequence[str]], threshold: float, tell: Tell) -> Likeness:
        """Compare every normalised text with every other."""
        distinct = sorted({text for split in texts.values() for text in split if text})
        near: dict[int, set[int]] = defaultdict(set)

        def told(done: int, total: int) -> None:
            tell(Progress(done, total, "texts", "near duplicates"))

        for i, j in near_duplicate_pairs(distinct, threshold, told):
            near[i].add(j)
            near[j].add(i)
        return Likeness({text: i for i, text in enumerate(distinct)}, dict(near))

    def near_any(self, number: int, others: frozenset[int]) -> bool:
        return not self.near.get(number, set()).isdisjoint(others)

    def repeats(self, texts: Sequence[str], targets: NDArray[np.int8]) -> dict[str, int]:
        """Count what is repeated in a group, by the names of `Group`."""
        rows: dict[int, list[int]] = defaultdict(list)
        for i, text in enumerate(texts):
            if text:
                rows[self.numbers[text]].append(i)
        present = frozenset(rows)
        repeated = [where for where in rows.values() if len(where) > 1]
        filled = sum(map(len, rows.values()))
        return {
            "empty": len(texts) - filled,
            "duplicates": filled - len(rows),
            "near_duplicates": sum(
                len(where) == 1 and self.near_any(number, present) for number, where in rows.items()
            ),
            "contradictions": sum(
                bool(((targets[w] == 1).any(axis=0) & (targets[w] == 0).any(axis=0)).any())
                for w in repeated
            ),
        }

    def overlaps(self, texts: Mapping[str, Sequence[str]]) -> tuple[Overlap, ...]:
        """Count each split's rows that another split has too."""
        rows = {name: [self.numbers[t] for t in some if t] for name, some in texts.items()}
        sets = {name: frozenset(some) for name, some in rows.items()}
        return tuple(
            Overlap(
                split,
                other,
                equal=sum(row in there for row in rows[split]),
                near=sum(row not in there and self.near_any(row, there) for row in rows[split]),
            )
            for split, other in permutations(rows, 2)
            for there in [sets[other]]
        )
