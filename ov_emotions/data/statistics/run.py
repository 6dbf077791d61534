"""A prepared folder read, and described."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import DEFAULT_MODEL, TOKENIZER_NAME, Bundle
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.prepare import MANIFEST_NAME, PreparedData
from ov_emotions.data.statistics.balance import cooccurrence, fully_known, labels_per_row, lengths
from ov_emotions.data.statistics.duplicates import Likeness, overlaps, repeats
from ov_emotions.data.statistics.facts import (
    Balance,
    Group,
    Statistics,
    TellingWord,
    TokenizerFacts,
)
from ov_emotions.data.statistics.words import lemmas, telling_words
from ov_emotions.errors import DataError, InputError
from ov_emotions.files import sha256_file
from ov_emotions.normalize import normalize, replace_surrogates
from ov_emotions.system import environment

Update = Callable[[int, int, str], None]
_PACKAGES = ("numpy", "pymorphy3", "pymorphy3-dicts-ru", "tokenizers")
_SLICE = 1000


def _say_nothing(done: int, total: int, note: str) -> None:
    """Take the place of a progress bar."""
    del done, total, note


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


def describe(folder: Path, config: StatsConfig, update: Update = _say_nothing) -> Statistics:
    """Describe a prepared folder.

    :param folder: what `data prepare` wrote.
    :param config: what to count, and how.
    :param update: told how far the work is.
    :return: the numbers.
    :raises DataError: if it is not a prepared folder, a file is not the one recorded, or a split
        that is asked for is not there.
    :raises BundleError: if the model cannot be used.
    :raises MissingExtraError: if a package is not installed.
    """
    prepared = PreparedData.open(folder)
    names = prepared.manifest.get("splits")
    if not isinstance(names, dict) or not names:
        raise DataError(f"{folder / MANIFEST_NAME} names no splits; prepare the data again")
    facts = {
        "manifest_sha256": sha256_file(folder / MANIFEST_NAME),
        **{key: prepared.manifest.get(key) for key in ("library", "normalizer", "seed")},
    }
    splits = {name: prepared.split(name) for name in names}
    return describe_splits(splits, config, prepared=facts, update=update)


def describe_splits(
    splits: Mapping[str, LabelledTexts],
    config: StatsConfig,
    *,
    prepared: Mapping[str, object],
    update: Update = _say_nothing,
) -> Statistics:
    """Describe splits in memory.

    :param splits: at least one, all with the same labels.
    :param config: what to count, and how.
    :param prepared: where they come from.
    :param update: told how far the work is.
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
    words = _telling(splits, texts, config, update)
    tokens = {
        name: _token_counts(bundle, data.texts, lambda i, n: update(i, n, "tokens"))
        for name, data in splits.items()
    }
    likeness = Likeness.find(
        texts, config.near_threshold, lambda i, n: update(i, n, "near duplicates")
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
    update: Update,
) -> dict[str, tuple[TellingWord, ...]]:
    data = splits[config.words_split]
    some = [text.split() for text in texts[config.words_split]]
    lemma = lemmas(
        (word for words in some for word in words), lambda i, n: update(i, n, "dictionary forms")
    )
    bags = [frozenset(form for word in words if (form := lemma[word])) for words in some]
    found = telling_words(
        bags,
        data.targets,
        most=config.words,
        least_texts=config.least_texts,
        prior_texts=config.prior_words,
    )
    return dict(zip(data.label_set.labels, found, strict=True))


def _token_counts(
    bundle: Bundle, texts: Sequence[str], update: Callable[[int, int], None]
) -> NDArray[np.int64]:
    tokenizer = bundle.tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # as a prediction reads what spells "[SEP]"
    counts: list[int] = []
    for start in range(0, len(texts), _SLICE):
        part = [replace_surrogates(text) for text in texts[start : start + _SLICE]]
        counts += [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(part)]
        update(len(counts), len(texts))
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
