"""The numbers that describe a prepared folder, as they are written and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STATISTICS_SCHEMA = 1


@dataclass(frozen=True)
class Balance:
    """How often one label is annotated.

    :param present: rows that have it.
    :param absent: rows annotated as not having it.
    :param unknown: rows whose set does not annotate it.
    """

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
    """A distribution of lengths.

    :param mean: of the rows.
    :param quantiles: linearly interpolated, by percent.
    :param smallest: length.
    :param largest: length.
    """

    mean: float
    smallest: int
    quantiles: Mapping[str, float]
    largest: int


@dataclass(frozen=True)
class Group:
    """Rows of one split, or those of one set in it.

    :param rows: how many.
    :param labels: by label.
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
    """How far one split is found in another.

    :param split: whose rows are counted.
    :param other: where they are looked for.
    :param equal: rows whose normalised text the other has.
    :param near: rows that nearly equal one of the other, and equal none.
    """

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
class TellingWord:
    """A word that stands out where a label is present.

    :param word: dictionary form.
    :param present: texts with the label that have the word.
    :param absent: texts without the label that have it.
    :param log_odds: how much more often it stands with the label; natural logarithm.
    :param z: the same over its standard error.
    """

    word: str
    present: int
    absent: int
    log_odds: float
    z: float


@dataclass(frozen=True)
class TokenizerFacts:
    """The tokeniser that counted.

    :param model: name of its bundle.
    :param sha256: of tokenizer.json.
    :param max_length: tokens that the model reads at once.
    """

    model: str
    sha256: str
    max_length: int


@dataclass(frozen=True)
class Statistics:
    """What a prepared folder holds.

    :param versions: of the library and of what the numbers depend on.
    :param prepared: hash, seed and normaliser of the folder's manifest.
    :param labels: in the order of the targets.
    :param label_names_ru: Russian names, where there are any.
    :param tokenizer: what counted tokens.
    :param settings: what was asked for, as JSON writes it.
    :param splits: by name.
    :param origins: by split, then by set.
    :param overlaps: of every ordered pair of splits.
    :param cooccurrence: by split.
    :param words: the most telling words of each label, the most telling first.
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
        return {"schema": STATISTICS_SCHEMA, **asdict(self)}
