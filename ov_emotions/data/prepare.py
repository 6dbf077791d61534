"""The raw sets joined into one prepared folder, without leaks between its splits."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions import __version__
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.near_duplicates import find_near_duplicates
from ov_emotions.data.sources import SOURCES, Source, read_source
from ov_emotions.errors import DataError, InputError
from ov_emotions.files import atomic_folder, sha256_file, write_json
from ov_emotions.labels import EKMAN
from ov_emotions.normalize import NORMALIZER_VERSION, normalize
from ov_emotions.textfiles import BadRow

logger = logging.getLogger(__name__)

PREPARED_SCHEMA = 1
MANIFEST_NAME = "prepared.json"
VALIDATION_PARTS = {"calibration": 0.2, "thresholds": 0.5, "selection": 0.3}
"""Shares of the validation split: INT8 calibration, threshold fitting, model choice."""

TEST_SPLITS = ("test_goemotions", "test_cedr", "test_brighter")


@dataclass(frozen=True)
class PrepareConfig:
    """How the prepared folder is made.

    :param raw: folder with the raw sets.
    :param output: folder to write; replaced as a whole.
    :param seed: for the held-out part of BRIGHTER and the parts of validation.
    :param brighter_test_share: share of BRIGHTER's training rows that is held out as a test set.
    :param near_threshold: Jaccard similarity from which two texts count as nearly equal.
    """

    raw: Path
    output: Path
    seed: int = 20261122
    brighter_test_share: float = 0.25
    near_threshold: float = 0.8

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, not {self.seed}")
        if not 0 <= self.brighter_test_share < 1:
            raise InputError(
                f"brighter_test_share must be in [0, 1), not {self.brighter_test_share}"
            )
        if not 0 < self.near_threshold <= 1:
            raise InputError(f"near_threshold must be in (0, 1], not {self.near_threshold}")


def _first_by_text(texts: Sequence[str]) -> list[int]:
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        if text:
            first.setdefault(text, i)
    return sorted(first.values())


def _drop(
    data: LabelledTexts, references: Sequence[str], threshold: float
) -> tuple[LabelledTexts, dict[str, int]]:
    """Deduplicate, then drop what a reference equals or nearly equals; count each reason."""
    texts = [normalize(text) for text in data.texts]
    empty = sum(not text for text in texts)
    kept = _first_by_text(texts)
    duplicates = len(texts) - empty - len(kept)
    known = set(references)
    distinct = [i for i in kept if texts[i] not in known]
    equal = len(kept) - len(distinct)
    matches = find_near_duplicates([texts[i] for i in distinct], references, threshold)
    clean = [i for i, match in zip(distinct, matches, strict=True) if match is None]
    return data.select(clean), {
        "empty_after_normalising": empty,
        "duplicates": duplicates,
        "equal_to_held_out": equal,
        "near_equal_to_held_out": len(distinct) - len(clean),
    }


def _split_validation(rows: int, rng: np.random.Generator) -> dict[str, list[int]]:
    order = rng.permutation(rows)
    parts: dict[str, list[int]] = {}
    start = 0.0
    for name, share in VALIDATION_PARTS.items():
        stop = start + share
        chosen = order[round(start * rows) : round(stop * rows)]
        parts[name] = sorted(int(i) for i in chosen)
        start = stop
    return parts


def _source_facts(
    source: Source, raw: Path, rows: dict[str, int], bad: dict[str, tuple[BadRow, ...]]
) -> dict[str, Any]:
    return {
        "name": source.name,
        "licence": source.licence,
        "url": source.url,
        "attribution": source.attribution,
        "annotates": [
            label
            for label, known in zip(
                source.label_map.target.labels, source.label_map.annotated, strict=True
            )
            if known
        ],
        "files": {
            split: {"name": name, "sha256": sha256_file(raw / name), "rows": rows[split]}
            for split, name in source.files.items()
        },
        "bad_rows": {split: [asdict(row) for row in found] for split, found in bad.items()},
    }


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Read the raw sets and write the prepared folder.

    Test rows are kept as published, so that figures compare with others'. A validation row that
    equals or nearly equals a test row is dropped, and so is a training row that equals or nearly
    equals a validation or test row of any set.

    :param config: what to read, where to write.
    :return: the manifest, which is written beside the splits.
    :raises DataError: if a raw file is missing or malformed.
    """
    read: dict[tuple[str, str], LabelledTexts] = {}
    facts: list[dict[str, Any]] = []
    for source in SOURCES:
        bad: dict[str, tuple[BadRow, ...]] = {}
        for split in source.files:
            data, bad[split] = read_source(source, config.raw, split)
            read[source.name, split] = data
            for row in bad[split]:
                logger.warning("%s %s row %d: %s", source.name, split, row.row, row.reason)
        rows = {split: len(read[source.name, split]) for split in source.files}
        facts.append(_source_facts(source, config.raw, rows, bad))

    rng = np.random.default_rng(config.seed)
    brighter = read["brighter_rus", "train"]
    order = rng.permutation(len(brighter))
    held = round(config.brighter_test_share * len(brighter))
    splits = {
        "test_goemotions": read["ru_goemotions", "test"],
        "test_cedr": read["cedr", "test"],
        "test_brighter": brighter.select(np.sort(order[:held])),
    }
    read["brighter_rus", "train"] = brighter.select(np.sort(order[held:]))

    held_out = [normalize(text) for data in splits.values() for text in data.texts]
    dropped: dict[str, dict[str, int]] = {}
    splits["validation"], dropped["validation"] = _drop(
        read["ru_goemotions", "validation"], held_out, config.near_threshold
    )
    held_out += [normalize(text) for text in splits["validation"].texts]
    train = LabelledTexts.concatenate([read[s.name, "train"] for s in SOURCES])
    splits["train"], dropped["train"] = _drop(train, held_out, config.near_threshold)

    manifest: dict[str, Any] = {
        "schema": PREPARED_SCHEMA,
        "library": __version__,
        "normalizer": NORMALIZER_VERSION,
        "seed": config.seed,
        "near_threshold": config.near_threshold,
        "labels": list(splits["train"].label_set.labels),
        "sources": facts,
        "dropped": dropped,
        "splits": {},
        "validation_parts": _split_validation(len(splits["validation"]), rng),
    }
    with atomic_folder(config.output) as folder:
        for name, data in splits.items():
            data.save(folder / f"{name}.parquet")
            origins = sorted(set(data.origins))
            manifest["splits"][name] = {
                "rows": len(data),
                "sha256": sha256_file(folder / f"{name}.parquet"),
                "rows_by_origin": {o: data.origins.count(o) for o in origins},
                "labels": data.label_counts(),
                "labels_by_origin": {
                    o: data.select([i for i, x in enumerate(data.origins) if x == o]).label_counts()
                    for o in origins
                },
            }
        write_json(folder / MANIFEST_NAME, manifest)
    return manifest


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder, opened.

    :param folder: where it lies.
    :param manifest: what `prepare` recorded.
    """

    folder: Path
    manifest: dict[str, Any]

    @staticmethod
    def open(folder: Path) -> PreparedData:
        """Open a prepared folder and check its manifest.

        :param folder: what `prepare` wrote.
        :return: the opened folder.
        :raises DataError: if it is not a prepared folder, or one of another schema.
        """
        path = folder / MANIFEST_NAME
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder} is not a prepared folder ({error}); run `ov-emotions data prepare`"
            ) from error
        if not isinstance(manifest, dict):
            raise DataError(f"{path} holds no JSON object; run `ov-emotions data prepare`")
        if manifest.get("schema") != PREPARED_SCHEMA:
            raise DataError(f"{path} has schema {manifest.get('schema')}, not {PREPARED_SCHEMA}")
        return PreparedData(folder, manifest)

    def split(self, name: str) -> LabelledTexts:
        """Read one split, after checking its hash.

        :param name: train, validation, test_goemotions, test_cedr or test_brighter.
        :return: its rows.
        :raises DataError: if there is no such split, or the file is not the one recorded.
        """
        if name not in self.manifest["splits"]:
            raise DataError(f"{self.folder} has no split {name!r}")
        path = self.folder / f"{name}.parquet"
        if path.is_file() and sha256_file(path) != self.manifest["splits"][name]["sha256"]:
            raise DataError(
                f"{path} is not the file that was prepared: its hash differs; "
                "run `ov-emotions data prepare` again"
            )
        return LabelledTexts.load(path, EKMAN)

    def validation_part(self, name: str) -> LabelledTexts:
        """Read one part of the validation split.

        :param name: calibration, thresholds or selection.
        :return: its rows.
        :raises DataError: if there is no such part, or the file is not the one recorded.
        """
        if name not in self.manifest["validation_parts"]:
            raise DataError(f"validation has no part {name!r}")
        return self.split("validation").select(self.manifest["validation_parts"][name])

    def held_out_texts(self) -> list[str]:
        """Return the normalised texts of every split but the training rows.

        :return: what nothing that is learned from may equal.
        :raises DataError: if a file is not the one recorded.
        """
        return [
            normalize(text)
            for name in self.manifest["splits"]
            if name != "train"
            for text in self.split(name).texts
        ]
