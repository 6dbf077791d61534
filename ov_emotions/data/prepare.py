"""The raw sets joined into one prepared folder, without leaks between its splits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import (
    FileFacts,
    LabelledTexts,
    Manifest,
    SourceFacts,
    write_prepared,
)
from ov_emotions.data.near_duplicates import NearDuplicateIndex
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.data.sources import ENGLISH, RawRows, Source, read_source, sources_of
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.labels import EKMAN
from ov_emotions.normalize import normalize
from ov_emotions.progress import Progress, Tell
from ov_emotions.texts import Row, open_table

logger = logging.getLogger(__name__)

VALIDATION_PARTS = {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}
"""Shares of the validation split: INT8 calibration, threshold fitting, model choice."""

_SHARED_WITH_VALIDATION = [(name, "train") for name in ("cedr", "brighter_rus", "support_desk")]

_Raw = dict[tuple[str, str], RawRows]


def prepare(config: PrepareConfig, tell: Tell = lambda _: None) -> Manifest:
    """Read the raw sets and write the prepared folder.

    Test rows are kept as published, so that figures compare with others'. A validation row that
    equals or nearly equals a test row is dropped, and so is a training row that equals or nearly
    equals a validation or test row of any set, or a text of the files to screen against.

    :raises DataError: if a raw file is missing or malformed.
    """
    screened_texts = [normalize(text) for path in config.screen for text in _texts(path)]
    sources = sources_of(config)
    raw = _read_all(sources, config.raw, tell)
    rng = np.random.default_rng(config.seed)
    given = {key: rows.data for key, rows in raw.items()}
    splits = {"test_goemotions": given["ru_goemotions", "test"]}
    if ("cedr", "test") in given:
        splits["test_cedr"] = given["cedr", "test"]
    if (brighter := given.get(("brighter_rus", "train"))) is not None:
        splits["test_brighter"], given["brighter_rus", "train"] = _held_out(
            brighter, config.brighter_test_share, rng
        )
    validation = given["ru_goemotions", "validation"]
    if config.validation_share:
        for key in (key for key in given if key in _SHARED_WITH_VALIDATION):
            shared, given[key] = _held_out(given[key], config.validation_share, rng)
            validation = LabelledTexts.concatenate([validation, shared])
    russian = [source for source in sources if source.name != ENGLISH.name]
    train = LabelledTexts.concatenate([given[source.name, "train"] for source in russian])
    dropped = add_without_leaks(splits, validation, train, config.near_threshold, tell)
    facts: dict[str, Any] = {}
    if config.screen:
        near = _take_near(splits, screened_texts, config.near_threshold, tell)
        dropped["train"]["near_equal_to_screen"] = len(near)
        facts["screen"] = {
            "files": {path.name: sha256_file(path) for path in config.screen},
            "dropped": dict(Counter(near.origins)),
        }
    if config.english:
        added, dropped[ENGLISH.name] = _english(raw, splits, screened_texts, config, tell)
        splits["train"] = LabelledTexts.concatenate([splits["train"], added])
    tell(Progress(sum(map(len, splits.values())), note="dealing and writing"))
    if config.labels == EKMAN.name:
        # By chance alone, as the shipped models were made; of seven labels none is rare.
        parts = random_parts(len(splits["validation"]), VALIDATION_PARTS, rng)
    else:
        parts = stratified_parts(splits["validation"].targets, VALIDATION_PARTS, rng)
    facts |= {
        "seed": config.seed,
        "near_threshold": config.near_threshold,
        "sources": tuple(_source_facts(source, config.raw, raw) for source in sources),
        "dropped": dropped,
        "validation_parts": parts,
    }
    return write_prepared(config.output, splits, facts)


def _texts(path: Path) -> list[str]:
    rows = [row.text for row in open_table(path).rows() if isinstance(row, Row)]
    if not rows:
        raise DataError(f"{path} has no texts to screen against")
    return rows


def _read_all(sources: Sequence[Source], folder: Path, tell: Tell) -> _Raw:
    raw: _Raw = {}
    for source in sources:
        for split in source.files:
            raw[source.name, split] = rows = read_source(source, folder, split)
            done = sum(len(some.data) for some in raw.values())
            tell(Progress(done, note=f"read {source.name} {split}"))
            for bad in rows.bad:
                logger.warning("%s %s row %d: %s", source.name, split, bad.row, bad.reason)
    return raw


def _held_out(
    data: LabelledTexts, share: float, rng: np.random.Generator
) -> tuple[LabelledTexts, LabelledTexts]:
    """Draw a share of the rows, and give the rest too; both keep their order."""
    order = rng.permutation(len(data))
    held = round(share * len(data))
    return data.select(np.sort(order[:held])), data.select(np.sort(order[held:]))


def _source_facts(source: Source, folder: Path, raw: _Raw) -> SourceFacts:
    known = zip(source.label_map.target.labels, source.label_map.annotated, strict=True)
    return SourceFacts(
        name=source.name,
        licence=source.licence,
        url=source.url,
        attribution=source.attribution,
        annotates=tuple(label for label, annotated in known if annotated),
        files={
            split: FileFacts(
                # A file from elsewhere is named without its folders.
                name=Path(name).name if Path(name).is_absolute() else name,
                sha256=sha256_file(folder / name),
                rows=len(raw[source.name, split].data),
            )
            for split, name in source.files.items()
        },
        bad_rows={split: raw[source.name, split].bad for split in source.files},
        synthetic=source.synthetic,
    )


def _take_near(
    splits: dict[str, LabelledTexts], texts: Sequence[str], threshold: float, tell: Tell
) -> LabelledTexts:
    """Take the training rows out that equal or nearly equal one of some texts."""
    train = splits["train"]
    found = NearDuplicateIndex(texts, threshold).find(
        [normalize(text) for text in train.texts],
        update=lambda done, n: tell(Progress(done, n, note="screening train")),
    )
    near = np.array([match is not None for match in found], dtype=bool)
    splits["train"] = train.select(np.flatnonzero(~near))
    return train.select(np.flatnonzero(near))


def _english(
    raw: _Raw,
    splits: Mapping[str, LabelledTexts],
    screened: Sequence[str],
    config: PrepareConfig,
    tell: Tell,
) -> tuple[LabelledTexts, dict[str, int]]:
    """Take the English rows of which no held-out or screened row is a twin, in either language."""
    english = raw[ENGLISH.name, "train"]
    russian = {split: raw["ru_goemotions", split] for split in ("train", "validation", "test")}
    for split, rows in russian.items():
        if not all(rows.ids):
            raise DataError(f"ru_goemotions {split} lacks ids, by which English twins are found")
    kept = {normalize(text) for text in splits["train"].texts}
    out = {number for split in ("validation", "test") for number in russian[split].ids}
    # What is no training row any more was a leak, or the duplicate of one.
    train = russian["train"]
    pairs = zip(train.ids, train.data.texts, strict=True)
    out |= {number for number, text in pairs if normalize(text) not in kept}
    texts = [normalize(text) for text in english.data.texts]
    twins = [i for i, number in enumerate(english.ids) if number in out]
    once = {number: i for i, number in reversed(list(enumerate(english.ids)))}
    left = sorted(i for number, i in once.items() if number not in out)
    distinct = [i for i in left if texts[i] not in kept]
    references = [normalize(text) for n, d in splits.items() if n != "train" for text in d.texts]
    references += [*screened, *(texts[i] for i in twins)]
    added, dropped = drop_leaks(
        english.data.select(distinct), references, config.near_threshold, tell, ENGLISH.name
    )
    dropped["duplicates"] += len(left) - len(distinct)
    return added, {
        "same_id": len(english.ids) - len(once),
        "twin_of_held_out": len(once) - len(left),
        **dropped,
    }


def add_without_leaks(
    splits: dict[str, LabelledTexts],
    validation: LabelledTexts,
    train: LabelledTexts,
    threshold: float,
    tell: Tell,
) -> dict[str, dict[str, int]]:
    """Add `validation` and then `train` to the test splits, without what leaks.

    That is what equals or nearly equals a row of the splits that stand there already.

    :return: for both, how many rows were dropped for each reason.
    """
    held_out = [normalize(text) for data in splits.values() for text in data.texts]
    dropped: dict[str, dict[str, int]] = {}
    for name, data in (("validation", validation), ("train", train)):
        splits[name], dropped[name] = drop_leaks(data, held_out, threshold, tell, name)
        held_out += [normalize(text) for text in splits[name].texts]
    return dropped


def drop_leaks(
    data: LabelledTexts,
    references: Sequence[str],
    threshold: float,
    tell: Tell = lambda _: None,
    name: str = "",
) -> tuple[LabelledTexts, dict[str, int]]:
    """Deduplicate, then drop what a reference, a normalised text, equals or nearly equals.

    :param threshold: Jaccard similarity from which two texts count as nearly equal.
    :param name: of the data, for `tell`.
    :return: the rows that are left, and how many went for each reason.
    """
    texts = [normalize(text) for text in data.texts]
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        if text:
            first.setdefault(text, i)
    empty = texts.count("")
    known = set(references)
    distinct = [i for text, i in first.items() if text not in known]
    matches = NearDuplicateIndex(references, threshold).find(
        [texts[i] for i in distinct],
        update=lambda done, n: tell(Progress(done, n, note=f"looking for leaks in {name}")),
    )
    clean = [i for i, match in zip(distinct, matches, strict=True) if match is None]
    return data.select(clean), {
        "empty_after_normalising": empty,
        "duplicates": len(texts) - empty - len(first),
        "equal_to_held_out": len(first) - len(distinct),
        "near_equal_to_held_out": len(distinct) - len(clean),
    }


def random_parts(
    rows: int, shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Deal rows out by chance alone.

    :param shares: of each part; they sum to 1.
    :return: positions of each part, ascending.
    """
    stops = [round(stop * rows) for stop in accumulate(shares.values())]
    parts = np.split(rng.permutation(rows), stops[:-1])
    return {name: sorted(part.tolist()) for name, part in zip(shares, parts, strict=True)}


def stratified_parts(
    targets: NDArray[np.int8], shares: Mapping[str, float], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Deal rows out so that every part gets its share of each label, the rarest first.

    Iterative stratification: Sechidis, Tsoumakas and Vlahavas, "On the stratification of
    multi-label data" (2011). The rows of the rarest label that is left go, one by one, to the part
    that lacks most of this label, then most rows. Rows without any label come last.

    :param targets: int8, shape (rows, labels): 1 present, 0 absent, -1 unknown.
    :param shares: of each part; they sum to 1.
    :param rng: breaks ties, and gives the order of the rows.
    :return: positions of each part, ascending.
    """
    wanted = np.array(list(shares.values()), dtype=np.float64)
    present = targets == 1
    lacking = wanted[:, None] * present.sum(axis=0)  # parts x labels
    room = wanted * len(targets)
    left = rng.permutation(len(targets))
    places = np.zeros(len(targets), dtype=np.int64)

    def place(row: int, label: int | None) -> None:
        need = room if label is None else lacking[:, label]
        best = np.flatnonzero(need >= need.max() - 1e-9)
        if len(best) > 1:
            best = best[room[best] >= room[best].max() - 1e-9]
        part = int(rng.choice(best))
        places[row] = part
        room[part] -= 1
        lacking[part] -= present[row]

    while len(left):
        counts = present[left].sum(axis=0)
        label = None
        holding = np.ones(len(left), dtype=bool)
        if counts.any():
            label = int(np.argmin(np.where(counts > 0, counts, len(targets) + 1)))
            holding = present[left, label]
        for row in left[holding].tolist():
            place(row, label)
        left = left[~holding]
    return {name: np.flatnonzero(places == i).tolist() for i, name in enumerate(shares)}
