"""The raw sets joined into one prepared folder, without leaks between its splits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

DEFAULT_LABELS = EKMAN.name

VALIDATION_PARTS = {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}
"""Shares of the validation split: INT8 calibration, threshold fitting, model choice."""

_SHARED_WITH_VALIDATION = [(name, "train") for name in ("cedr", "brighter_rus", "support_desk")]

_Raw = dict[tuple[str, str], RawRows]


def prepare(config: PrepareConfig, tell: Tell | None = None) -> Manifest:
    """Read the raw sets and write the prepared folder.

    Test rows are kept as published, so that figures compare with others'. A validation row that
    equals or nearly equals a test row is dropped, and so is a training row that equals or nearly
    equals a validation or test row of any set, or a text of the files to screen against.

    :param config: what to read, where to write.
    :param tell: told the rows read, and those held against held-out texts.
    :return: the manifest, which is written beside the splits.
    :raises DataError: if a raw file is missing or malformed.
    """
    screened_texts = [normalize(text) for path in config.screen for text in _texts(path)]
    sources = sources_of(config)
    raw: _Raw = {}
    for source in sources:
        for split in source.files:
            raw[source.name, split] = rows = read_source(source, config.raw, split)
            done = sum(len(some.data) for some in raw.values())
            _say(tell, Progress(done, note=f"read {source.name} {split}"))
            for bad in rows.bad:
                logger.warning("%s %s row %d: %s", source.name, split, bad.row, bad.reason)

    rng = np.random.default_rng(config.seed)
    given = {key: rows.data for key, rows in raw.items()}
    splits = {"test_goemotions": given["ru_goemotions", "test"]}
    if ("cedr", "test") in given:
        splits["test_cedr"] = given["cedr", "test"]
    if (brighter := given.get(("brighter_rus", "train"))) is not None:
        order = rng.permutation(len(brighter))
        held = round(config.brighter_test_share * len(brighter))
        splits["test_brighter"] = brighter.select(np.sort(order[:held]))
        given["brighter_rus", "train"] = brighter.select(np.sort(order[held:]))

    validation = given["ru_goemotions", "validation"]
    if config.validation_share:
        for key in (key for key in given if key in _SHARED_WITH_VALIDATION):
            order = rng.permutation(len(given[key]))
            held = round(config.validation_share * len(order))
            shared = given[key].select(np.sort(order[:held]))
            validation = LabelledTexts.concatenate([validation, shared])
            given[key] = given[key].select(np.sort(order[held:]))

    russian = [source for source in sources if source.name != ENGLISH.name]
    train = LabelledTexts.concatenate([given[source.name, "train"] for source in russian])
    dropped = add_without_leaks(splits, validation, train, config.near_threshold, tell)
    facts: dict[str, Any] = {}
    if config.screen:
        left, near = _without_near(splits["train"], screened_texts, config.near_threshold, tell)
        splits["train"] = left
        dropped["train"]["near_equal_to_screen"] = len(near)
        facts["screen"] = {
            "files": {path.name: sha256_file(path) for path in config.screen},
            "dropped": dict(Counter(near.origins)),
        }
    if config.english:
        added, dropped[ENGLISH.name] = _english(raw, splits, screened_texts, config, tell)
        splits["train"] = LabelledTexts.concatenate([splits["train"], added])
    _say(tell, Progress(sum(map(len, splits.values())), note="dealing and writing"))
    if config.labels == DEFAULT_LABELS:
        # By chance alone, as the shipped models were made; of seven labels none is rare.
        parts = random_parts(len(splits["validation"]), VALIDATION_PARTS, rng)
    else:
        parts = stratified_parts(splits["validation"].targets, VALIDATION_PARTS, rng)
    return write_prepared(
        config.output,
        splits,
        {
            "seed": config.seed,
            "near_threshold": config.near_threshold,
            "sources": tuple(_source_facts(source, config.raw, raw) for source in sources),
            "dropped": dropped,
            "validation_parts": parts,
            **facts,
        },
    )


def _say(tell: Tell | None, progress: Progress) -> None:
    if tell is not None:
        tell(progress)


def _texts(path: Path) -> list[str]:
    rows = [row.text for row in open_table(path).rows() if isinstance(row, Row)]
    if not rows:
        raise DataError(f"{path} has no texts to screen against")
    return rows


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


def _without_near(
    data: LabelledTexts, texts: Sequence[str], threshold: float, tell: Tell | None
) -> tuple[LabelledTexts, LabelledTexts]:
    """Part the rows that equal or nearly equal none of some texts from those that do."""
    update = _update(tell, "screening train")
    found = NearDuplicateIndex(texts, threshold).find(
        [normalize(text) for text in data.texts], update=update
    )
    near = np.array([match is not None for match in found], dtype=bool)
    return data.select(np.flatnonzero(~near)), data.select(np.flatnonzero(near))


def _english(
    raw: _Raw,
    splits: Mapping[str, LabelledTexts],
    screened: Sequence[str],
    config: PrepareConfig,
    tell: Tell | None,
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
    out |= {
        number
        for number, text in zip(train.ids, train.data.texts, strict=True)
        if normalize(text) not in kept
    }
    texts = [normalize(text) for text in english.data.texts]
    twins = [i for i, number in enumerate(english.ids) if number in out]
    once = {number: i for i, number in reversed(list(enumerate(english.ids)))}
    same_id = len(english.ids) - len(once)
    left = sorted(i for number, i in once.items() if number not in out)
    distinct = [i for i in left if texts[i] not in kept]
    references = [normalize(text) for n, d in splits.items() if n != "train" for text in d.texts]
    references += [*screened, *(texts[i] for i in twins)]
    added, dropped = drop_leaks(
        english.data.select(distinct),
        references,
        config.near_threshold,
        _update(tell, "looking for leaks in goemotions_en"),
    )
    dropped["duplicates"] += len(left) - len(distinct)
    return added, {
        "same_id": same_id,
        "twin_of_held_out": len(once) - len(left),
        **dropped,
    }


def add_without_leaks(
    splits: dict[str, LabelledTexts],
    validation: LabelledTexts,
    train: LabelledTexts,
    threshold: float,
    tell: Tell | None = None,
) -> dict[str, dict[str, int]]:
    """Add validation and train to the test splits, without what a held-out row nearly equals.

    :param splits: the test splits; gets `validation` and `train`.
    :param validation: rows that are held against the test splits.
    :param train: rows that are held against the test splits and validation.
    :param threshold: Jaccard similarity from which two texts count as nearly equal.
    :param tell: told the rows that were held against others.
    :return: for both, how many rows were dropped for each reason.
    """
    held_out = [normalize(text) for data in splits.values() for text in data.texts]
    dropped: dict[str, dict[str, int]] = {}
    for name, data in (("validation", validation), ("train", train)):
        splits[name], dropped[name] = drop_leaks(
            data, held_out, threshold, _update(tell, f"looking for leaks in {name}")
        )
        held_out += [normalize(text) for text in splits[name].texts]
    return dropped


def _update(tell: Tell | None, note: str) -> Callable[[int, int], None] | None:
    if tell is None:
        return None
    return lambda done, total: tell(Progress(done, total, note=note))


def drop_leaks(
    data: LabelledTexts,
    references: Sequence[str],
    threshold: float,
    update: Callable[[int, int], None] | None = None,
) -> tuple[LabelledTexts, dict[str, int]]:
    """Deduplicate, then drop what a reference equals or nearly equals.

    :param data: the rows.
    :param references: normalised texts that no row may equal.
    :param threshold: Jaccard similarity from which two texts count as nearly equal.
    :param update: told the texts looked up and their number.
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
        [texts[i] for i in distinct], update=update
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

    :param rows: how many there are.
    :param shares: of each part; they sum to 1.
    :param rng: the source of chance.
    :return: positions of each part, ascending.
    """
    order = rng.permutation(rows)
    parts: dict[str, list[int]] = {}
    start = 0.0
    for name, share in shares.items():
        stop = start + share
        chosen = order[round(start * rows) : round(stop * rows)]
        parts[name] = sorted(int(i) for i in chosen)
        start = stop
    return parts


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
        if not counts.any():
            for row in left:
                place(int(row), None)
            break
        label = int(np.argmin(np.where(counts > 0, counts, len(targets) + 1)))
        holding = present[left, label]
        for row in left[holding]:
            place(int(row), label)
        left = left[~holding]
    return {
        name: [int(i) for i in np.flatnonzero(places == number)]
        for number, name in enumerate(shares)
    }
