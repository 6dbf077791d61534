"""The raw sets joined into one prepared folder, without leaks between its splits."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ov_emotions import __version__
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.data.sources import PREPARED_SETS, Source, read_source
from ov_emotions.data.splits import VALIDATION_PARTS, drop_leaks, random_parts, stratified_parts
from ov_emotions.errors import DataError
from ov_emotions.files import atomic_folder, sha256_file, write_json
from ov_emotions.labels import EKMAN, LABEL_SETS, LabelSet
from ov_emotions.normalize import NORMALIZER_VERSION, normalize
from ov_emotions.progress import Progress, Tell
from ov_emotions.texts import BadRow

logger = logging.getLogger(__name__)

PREPARED_SCHEMA = 1
MANIFEST_NAME = "prepared.json"
DEFAULT_LABELS = EKMAN.name


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


def prepare(config: PrepareConfig, tell: Tell | None = None) -> dict[str, Any]:
    """Read the raw sets and write the prepared folder.

    Test rows are kept as published, so that figures compare with others'. A validation row that
    equals or nearly equals a test row is dropped, and so is a training row that equals or nearly
    equals a validation or test row of any set.

    :param config: what to read, where to write.
    :param tell: told the rows read, and those held against held-out texts.
    :return: the manifest, which is written beside the splits.
    :raises DataError: if a raw file is missing or malformed.
    """
    sources = PREPARED_SETS[config.labels]
    read: dict[tuple[str, str], LabelledTexts] = {}
    facts: list[dict[str, Any]] = []
    tell = tell or (lambda _: None)
    for source in sources:
        bad: dict[str, tuple[BadRow, ...]] = {}
        for split in source.files:
            data, bad[split] = read_source(source, config.raw, split)
            read[source.name, split] = data
            tell(Progress(sum(map(len, read.values())), note=f"read {source.name} {split}"))
            for row in bad[split]:
                logger.warning("%s %s row %d: %s", source.name, split, row.row, row.reason)
        rows = {split: len(read[source.name, split]) for split in source.files}
        facts.append(_source_facts(source, config.raw, rows, bad))

    rng = np.random.default_rng(config.seed)
    splits = {"test_goemotions": read["ru_goemotions", "test"]}
    if ("cedr", "test") in read:
        splits["test_cedr"] = read["cedr", "test"]
    if (brighter := read.get(("brighter_rus", "train"))) is not None:
        order = rng.permutation(len(brighter))
        held = round(config.brighter_test_share * len(brighter))
        splits["test_brighter"] = brighter.select(np.sort(order[:held]))
        read["brighter_rus", "train"] = brighter.select(np.sort(order[held:]))

    train = LabelledTexts.concatenate([read[s.name, "train"] for s in sources])
    validation = read["ru_goemotions", "validation"]
    dropped = add_without_leaks(splits, validation, train, config.near_threshold, tell)
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
            "sources": facts,
            "dropped": dropped,
            "validation_parts": parts,
        },
    )


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


def write_prepared(
    output: Path, splits: Mapping[str, LabelledTexts], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a prepared folder: a Parquet file a split, and the manifest.

    :param output: the folder; replaced as a whole.
    :param splits: by name; `train` and `validation` among them, all of one label set.
    :param facts: `seed`, `near_threshold`, `sources`, `dropped` and `validation_parts`.
    :return: the manifest.
    """
    label_set = splits["train"].label_set
    manifest: dict[str, Any] = {
        "schema": PREPARED_SCHEMA,
        "library": __version__,
        "normalizer": NORMALIZER_VERSION,
        "seed": facts["seed"],
        "near_threshold": facts["near_threshold"],
        "label_set": label_set.name,
        "labels": list(label_set.labels),
        "label_names_ru": dict(label_set.russian),
        "sources": facts["sources"],
        "dropped": facts["dropped"],
        "splits": {},
        "validation_parts": facts["validation_parts"],
    }
    with atomic_folder(output) as folder:
        for name, data in splits.items():
            manifest["splits"][name] = save_split(data, folder / f"{name}.parquet")
        write_json(folder / MANIFEST_NAME, manifest)
    return manifest


def save_split(data: LabelledTexts, path: Path) -> dict[str, Any]:
    """Write one split.

    :param data: its rows.
    :param path: the Parquet file.
    :return: what the manifest says of it.
    """
    data.save(path)
    origins = sorted(set(data.origins))
    return {
        "rows": len(data),
        "sha256": sha256_file(path),
        "rows_by_origin": {o: data.origins.count(o) for o in origins},
        "labels": data.label_counts(),
        "labels_by_origin": {
            o: data.select([i for i, x in enumerate(data.origins) if x == o]).label_counts()
            for o in origins
        },
    }


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder, opened.

    :param folder: where it lies.
    :param manifest: what was recorded when it was written.
    :param label_set: the labels of all its splits.
    """

    folder: Path
    manifest: dict[str, Any]
    label_set: LabelSet

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
                f"{folder} is not a prepared folder ({error}); run `ov-emotions data prepare` or "
                "`data import`"
            ) from error
        if not isinstance(manifest, dict):
            raise DataError(
                f"{path} holds no JSON object; run `ov-emotions data prepare` or `data import`"
            )
        if manifest.get("schema") != PREPARED_SCHEMA:
            raise DataError(f"{path} has schema {manifest.get('schema')}, not {PREPARED_SCHEMA}")
        return PreparedData(folder, manifest, _label_set(path, manifest))

    @property
    def test_split(self) -> str | None:
        """The split that final figures are taken on where none is named; None if there is none."""
        return next((name for name in self.manifest["splits"] if name.startswith("test")), None)

    def check_splits(self, names: Iterable[str]) -> None:
        """Refuse names that stand for no rows, before anything is computed for the others.

        :param names: of splits, or `validation:PART`.
        :raises DataError: if one is not there; says which are.
        """
        parts = [f"validation:{part}" for part in self.manifest.get("validation_parts", ())]
        known = [*self.manifest["splits"], *parts]
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise DataError(
                    f"{self.folder} has no split {name!r}; {hint}it has {', '.join(known)}"
                )

    def split(self, name: str) -> LabelledTexts:
        """Read one split, after checking its hash.

        :param name: train, validation, or a test split: test_goemotions, test_cedr and
            test_brighter of `data prepare`, test of `data import`.
        :return: its rows.
        :raises DataError: if there is no such split, or the file is not the one recorded.
        """
        self.check_splits([name])
        path = self.folder / f"{name}.parquet"
        if path.is_file() and sha256_file(path) != self.manifest["splits"][name]["sha256"]:
            raise DataError(
                f"{path} is not the file that was prepared: its hash differs; "
                "prepare the data again"
            )
        return LabelledTexts.load(path, self.label_set)

    def validation_part(self, name: str) -> LabelledTexts:
        """Read one part of the validation split.

        :param name: calibration, thresholds or selection.
        :return: its rows.
        :raises DataError: if there is no such part, or the file is not the one recorded.
        """
        self.check_splits([f"validation:{name}"])
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


def _label_set(path: Path, manifest: dict[str, Any]) -> LabelSet:
    labels = manifest.get("labels")
    name = manifest.get("label_set")
    if name is None:
        # Folders that were written before there was a choice.
        if labels == list(EKMAN.labels):
            return EKMAN
        raise DataError(
            f"{path} does not say which label set it has, and its labels are not those of "
            f"{EKMAN.name}; prepare the data again"
        )
    russian = manifest.get("label_names_ru")
    if (
        not isinstance(name, str)
        or not isinstance(labels, list)
        or not labels
        or not all(isinstance(label, str) for label in labels)
        or not isinstance(russian, dict)
        or not set(russian) <= set(labels)
    ):
        raise DataError(f"{path} does not describe its label set; prepare the data again")
    known = LABEL_SETS.get(name)
    if known is not None and known.labels != tuple(labels):
        raise DataError(
            f"{path} calls its labels {name}, but they are {', '.join(labels)}; prepare the data "
            "again"
        )
    return LabelSet(name, tuple(labels), MappingProxyType(russian))
