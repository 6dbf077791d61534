"""What a prepared folder holds, in numbers: labels, lengths, telling words, repeated texts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import DEFAULT_MODEL, TOKENIZER_NAME, Bundle
from ov_emotions.data.dataset import MANIFEST_NAME, UNKNOWN, LabelledTexts, PreparedData
from ov_emotions.data.near_duplicates import near_duplicate_pairs
from ov_emotions.errors import DataError, InputError
from ov_emotions.files import sha256_file
from ov_emotions.normalize import normalize, replace_surrogates
from ov_emotions.progress import Progress, Tell, counted
from ov_emotions.schema import to_builtins
from ov_emotions.system import environment, require

STATISTICS_SCHEMA = 1
_PACKAGES = ("numpy", "pymorphy3", "pymorphy3-dicts-ru", "tokenizers")
_PERCENTS = (5, 25, 50, 75, 95, 99)
_SLICE = 1000

# What carries grammar and no matter: prepositions, conjunctions, particles, pronouns, numerals.
_FUNCTION = frozenset({"PREP", "CONJ", "PRCL", "NPRO", "NUMR"})
_FUNCTION_GRAMMEMES = ("Apro", "NUMB", "ROMN", "PNCT")
_AUXILIARY = frozenset({"быть"})


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
        return {"schema": STATISTICS_SCHEMA, **to_builtins(self)}


@dataclass(frozen=True)
class StatsConfig:
    """How a prepared folder is described.

    :param model: bundle whose tokeniser counts tokens: a shipped name, a folder or a Hub id.
    :param words_split: split that the telling words come from.
    :param words: telling words of a label.
    :param least_texts: texts with the label that must have a word.
    :param prior_words: weight of the prior of the log-odds ratio, in words.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal.
    """

    model: str = DEFAULT_MODEL
    words_split: str = "train"
    words: int = 40
    least_texts: int = 3
    prior_words: float = 1000.0
    near_threshold: float = 0.8

    def __post_init__(self) -> None:
        for name in ("words", "least_texts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.prior_words < float("inf"):
            raise InputError(f"prior_words must be above 0 and finite, not {self.prior_words}")
        if not 0 < self.near_threshold <= 1:
            raise InputError(f"near_threshold must be in (0, 1], not {self.near_threshold}")


def describe(folder: Path, config: StatsConfig, tell: Tell = lambda _: None) -> Statistics:
    """Describe a prepared folder.

    :param folder: what `data prepare` wrote.
    :param config: what to count, and how.
    :param tell: told how far the work is.
    :return: the numbers.
    :raises DataError: if it is not a prepared folder, a file is not the one recorded, or a split
        that is asked for is not there.
    :raises BundleError: if the model cannot be used.
    :raises MissingExtraError: if a package is not installed.
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
    :param config: what to count, and how.
    :param prepared: where they come from.
    :param tell: told how far the work is.
    :return: the numbers.
    :raises DataError: if the words' split is not there, or the labels differ.
    :raises BundleError: if the model cannot be used.
    :raises MissingExtraError: if a package is not installed.
    """
    label_set = next(iter(splits.values())).label_set
    if any(data.label_set.labels != label_set.labels for data in splits.values()):
        raise DataError("the splits have different labels; they cannot be described together")
    if config.words_split not in splits:
        raise DataError(f"there is no split {config.words_split!r}; there are {', '.join(splits)}")
    bundle = Bundle.load(config.model)
    texts = {name: [normalize(text) for text in data.texts] for name, data in splits.items()}
    words = _telling(splits, texts, config, tell)
    tokens = {name: _token_counts(bundle, data.texts, tell) for name, data in splits.items()}
    likeness = Likeness.find(
        texts,
        config.near_threshold,
        lambda done, total: tell(Progress(done, total, "texts", "near duplicates")),
    )
    most = bundle.manifest.max_length

    def group(name: str, rows: NDArray[np.int64]) -> Group:
        chosen = splits[name].select(rows)
        return _group(chosen, [texts[name][i] for i in rows], tokens[name][rows], most, likeness)

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
        overlaps=overlaps(texts, likeness),
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


def _group(
    data: LabelledTexts,
    texts: Sequence[str],
    tokens: NDArray[np.int64],
    max_length: int,
    likeness: Likeness,
) -> Group:
    repeated = repeats(texts, data.targets, likeness)
    return Group(
        rows=len(data),
        labels={label: Balance(**counts) for label, counts in data.label_counts().items()},
        labels_per_row=labels_per_row(data.targets),
        fully_known=fully_known(data.targets),
        words=lengths(np.array([len(text.split()) for text in texts], dtype=np.int64)),
        tokens=lengths(tokens),
        over_max_length=int((tokens > max_length).sum()),
        empty=repeated.empty,
        duplicates=repeated.duplicates,
        near_duplicates=repeated.near,
        contradictions=repeated.contradictions,
    )


def labels_per_row(targets: NDArray[np.int8]) -> dict[int, int]:
    """Count rows by how many labels they have.

    :param targets: int8, shape (rows, labels).
    :return: rows by number of labels present, ascending; numbers that no row has are left out.
    """
    numbers, rows = np.unique((targets == 1).sum(axis=1), return_counts=True)
    return dict(zip(numbers.tolist(), rows.tolist(), strict=True))


def fully_known(targets: NDArray[np.int8]) -> int:
    """Count rows whose labels are all annotated."""
    return int((targets != UNKNOWN).all(axis=1).sum())


def lengths(values: NDArray[np.int64]) -> Lengths | None:
    """Describe a distribution.

    :param values: shape (rows,).
    :return: its facts; None without rows.
    """
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
    """Count labels that stand together.

    :param targets: int8, shape (rows, labels).
    :return: counts and shares, shape (labels, labels).
    """
    present = (targets == 1).astype(np.int64)
    known = (targets != UNKNOWN).astype(np.int64)
    both = present.T @ present
    # Rows with the row's label in which the column's label is known.
    base = present.T @ known
    either = base + base.T - both
    return Cooccurrence(
        tuple(map(tuple, both.tolist())),
        _shares(both, either),
        _shares(both, base),
    )


def _shares(
    part: NDArray[np.int64], whole: NDArray[np.int64]
) -> tuple[tuple[float | None, ...], ...]:
    rows: Sequence[Sequence[tuple[int, int]]] = np.stack([part, whole], axis=-1).tolist()
    return tuple(tuple(round(a / b, 6) if b else None for a, b in row) for row in rows)


@dataclass(frozen=True)
class Likeness:
    """Which distinct texts nearly equal which.

    :param position: by normalised text its number.
    :param near: by that number the numbers of the texts that are nearly equal.
    """

    position: Mapping[str, int]
    near: Mapping[int, frozenset[int]]

    @staticmethod
    def find(
        texts: Mapping[str, Sequence[str]],
        threshold: float,
        update: Callable[[int, int], None],
    ) -> Likeness:
        """Compare every text with every other.

        :param texts: normalised, by split.
        :param threshold: least Jaccard similarity of what counts as nearly equal.
        :param update: told the texts done and their number.
        :return: what was found; empty texts are left out.
        """
        distinct = sorted({text for split in texts.values() for text in split if text})
        near: dict[int, set[int]] = defaultdict(set)
        for i, j in near_duplicate_pairs(distinct, threshold, update):
            near[i].add(j)
            near[j].add(i)
        return Likeness(
            {text: i for i, text in enumerate(distinct)},
            {i: frozenset(others) for i, others in near.items()},
        )

    def numbers(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of texts, row by row, without the empty ones."""
        return [self.position[text] for text in texts if text]

    def near_any(self, number: int, others: frozenset[int]) -> bool:
        """Tell whether a text nearly equals one of a set's."""
        return not self.near.get(number, frozenset()).isdisjoint(others)


@dataclass(frozen=True)
class Repeats:
    """Rows of a group that are there more than once.

    :param empty: rows without a word.
    :param duplicates: rows whose text an earlier row has.
    :param near: rows that nearly equal another row, and equal none.
    :param contradictions: distinct texts with different known labels.
    """

    empty: int
    duplicates: int
    near: int
    contradictions: int


def repeats(texts: Sequence[str], targets: NDArray[np.int8], likeness: Likeness) -> Repeats:
    """Count what is repeated in a group.

    :param texts: normalised.
    :param targets: int8, shape (texts, labels).
    :param likeness: which texts are alike.
    :return: the counts.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        if text:
            rows[text].append(i)
    present = frozenset(likeness.position[text] for text in rows)
    near = sum(
        likeness.near_any(likeness.position[text], present)
        for text, where in rows.items()
        if len(where) == 1
    )
    filled = sum(map(len, rows.values()))
    return Repeats(
        empty=len(texts) - filled,
        duplicates=filled - len(rows),
        near=near,
        contradictions=sum(
            _contradict(targets[where]) for where in rows.values() if len(where) > 1
        ),
    )


def _contradict(targets: NDArray[np.int8]) -> bool:
    known = targets != UNKNOWN
    highest = np.where(known, targets, -1).max(axis=0)
    lowest = np.where(known, targets, 2).min(axis=0)
    return bool(((highest == 1) & (lowest == 0)).any())


def overlaps(texts: Mapping[str, Sequence[str]], likeness: Likeness) -> tuple[Overlap, ...]:
    """Count each split's rows that another split has too.

    :param texts: normalised, by split.
    :param likeness: which texts are alike.
    :return: every ordered pair of splits.
    """
    numbers = {name: likeness.numbers(some) for name, some in texts.items()}
    sets = {name: frozenset(some) for name, some in numbers.items()}
    found = []
    for split, rows in numbers.items():
        for other, there in sets.items():
            if split != other:
                equal = sum(row in there for row in rows)
                near = sum(row not in there and likeness.near_any(row, there) for row in rows)
                found.append(Overlap(split, other, equal, near))
    return tuple(found)


def lemmas(words: Iterable[str], tell: Tell) -> dict[str, str | None]:
    """Find the dictionary form of each word, by pymorphy3's most likely reading.

    :param words: normalised words; each is read once however often it comes.
    :param tell: told the words read.
    :return: by word its dictionary form; None for stop words, which are function words by their
        part of speech, numbers, single letters and the verb «быть».
    :raises MissingExtraError: if pymorphy3 is not installed.
    """
    require("pymorphy3_dicts_ru", extra="data")
    analyzer = require("pymorphy3", extra="data").MorphAnalyzer(lang="ru")
    distinct = sorted(set(words))
    found: dict[str, str | None] = {}
    told = counted(distinct, tell, total=len(distinct), unit="words", note="dictionary forms")
    for word in told:
        reading = analyzer.parse(word)[0]
        tag = reading.tag
        stop = (
            len(word) == 1
            or tag.POS in _FUNCTION
            or any(grammeme in tag for grammeme in _FUNCTION_GRAMMEMES)
            or reading.normal_form in _AUXILIARY
        )
        found[word] = None if stop else str(reading.normal_form)
    return found


def telling_words(
    texts: Sequence[frozenset[str]],
    targets: NDArray[np.int8],
    *,
    most: int,
    least_texts: int,
    prior_texts: float,
) -> list[tuple[TellingWord, ...]]:
    """Rank words by the log-odds ratio with an informative Dirichlet prior.

    Texts where the label is present stand against texts where it is known to be absent. The prior
    is the words' frequency in both together, so that a rare word needs more evidence (Monroe,
    Colaresi and Quinn, "Fightin' Words", Political Analysis 16, 2008). A word counts once a text:
    one text that repeats it says no more than another.

    :param texts: the words of each text.
    :param targets: int8, shape (texts, labels): 1 present, 0 absent, others unknown.
    :param most: words returned for a label.
    :param least_texts: texts with the label that must have a word.
    :param prior_texts: weight of the prior: the sum of its parameters, in words.
    :return: by label, in the order of the columns, words with z above 0, the greatest z first.
    """
    vocabulary = sorted({word for text in texts for word in text})
    if not vocabulary:
        return [() for _ in range(targets.shape[1])]
    position = {word: i for i, word in enumerate(vocabulary)}

    def counts(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        counted = Counter(word for row in rows.tolist() for word in texts[row])
        result = np.zeros(len(vocabulary))
        for word, count in counted.items():
            result[position[word]] = count
        return result

    found = []
    for column in targets.T:
        present, absent = counts(np.flatnonzero(column == 1)), counts(np.flatnonzero(column == 0))
        log_odds, z = fightin_words(present, absent, prior_texts)
        order = np.lexsort((np.arange(len(z)), -z))
        chosen = [i for i in order.tolist() if z[i] > 0 and present[i] >= least_texts][:most]
        found.append(
            tuple(
                TellingWord(
                    vocabulary[i],
                    int(present[i]),
                    int(absent[i]),
                    round(float(log_odds[i]), 4),
                    round(float(z[i]), 4),
                )
                for i in chosen
            )
        )
    return found


def fightin_words(
    one: NDArray[np.float64], other: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare two corpora word by word (Monroe et al. 2008, equations 16, 20 and 22).

    :param one: counts, shape (words,).
    :param other: counts, same shape.
    :param prior: sum of the Dirichlet prior's parameters, spread as both corpora's words are.
    :return: the log-odds ratios and their z-scores, both of that shape; zeros where a corpus is
        empty or nothing stands against a word.
    """
    together = one + other
    zeros = np.zeros_like(together)
    if not one.sum() or not other.sum():
        return zeros, zeros.copy()
    alpha = prior * together / together.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (one + alpha) / (one.sum() + prior - one - alpha)
        second = (other + alpha) / (other.sum() + prior - other - alpha)
        ratio = np.log(first) - np.log(second)
        z = ratio / np.sqrt(1 / (one + alpha) + 1 / (other + alpha))
    # A word that no text has here (unknown targets), or the only word there is, tells nothing.
    known = np.isfinite(ratio) & np.isfinite(z)
    return np.where(known, ratio, 0.0), np.where(known, z, 0.0)
