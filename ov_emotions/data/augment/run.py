"""From a prepared folder to one with more training rows."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions import __version__
from ov_emotions.data.augment.noise import AsrNoise
from ov_emotions.data.augment.rows import NewRows, Rewriter, Screen, chosen, oversample, rewrite
from ov_emotions.data.dataset import (
    MANIFEST_NAME,
    RESERVED_COLUMNS,
    LabelledTexts,
    Manifest,
    PreparedData,
    SplitFacts,
)
from ov_emotions.data.settings import AugmentConfig, Method
from ov_emotions.errors import DataError
from ov_emotions.files import atomic_folder, sha256_file
from ov_emotions.progress import Tell
from ov_emotions.schema import write_json


def augment(config: AugmentConfig, tell: Tell = lambda _: None) -> Manifest:
    """Write a prepared folder whose train split has additional rows; all other splits are copies.

    The rows of the given train split come first, in their order. Each new row has the labels, the
    origin and the row number of the row it was made from, and tells the method and the position of
    that row. Rows that repeat a held-out text or another training row are left out.

    :raises DataError: if the folder is not as it was prepared, or the new one cannot be written.
    :raises InputError: if a label to oversample does not exist.
    """
    prepared = PreparedData.open(config.data)
    train = prepared.split("train")
    if taken := sorted(set(RESERVED_COLUMNS) & set(train.label_set.labels)):
        raise DataError(f"{config.data} has a label {taken[0]!r}, which is the name of a column")
    threshold = config.near_threshold or prepared.manifest.near_threshold
    sources = [i for i, method in enumerate(train.augmentations) if not method]
    # Made first: what is missing or misnamed shows before the long part of the work.
    made = {method: _make(method, train, sources, config, tell) for method in config.methods}
    screen = Screen(prepared.held_out_texts(), train, threshold)
    parts = [train]
    facts: dict[str, Any] = {}
    for method, rows in made.items():
        kept, dropped = screen.keep(rows, repeats=method == "oversample", tell=tell)
        added = train.select(kept.positions)
        parts.append(
            replace(
                added,
                texts=tuple(kept.texts),
                augmentations=(method,) * len(added),
                augmented_from=np.array(kept.positions, dtype=np.int64),
            )
        )
        facts[method] = {
            "parameters": config.parameters(method),
            "made": len(rows.texts),
            "not_made": rows.not_made,
            "dropped": dropped,
            "rows": len(kept.texts),
            **rows.facts,
        }
    run = {
        "library": __version__,
        "seed": config.seed,
        "near_threshold": threshold,
        "made_from_rows": len(sources),
        "manifest_sha256": sha256_file(config.data / MANIFEST_NAME),
        "methods": facts,
    }
    return _write(prepared, LabelledTexts.concatenate(parts), run, config.output)


def _make(
    method: Method,
    train: LabelledTexts,
    sources: Sequence[int],
    config: AugmentConfig,
    tell: Tell,
) -> NewRows:
    if method == "oversample":
        return oversample(train, sources, config.oversample or {}, config.seed)
    positions = chosen(sources, config.share, config.seed, method)
    if method in ("back-translation", "paraphrase"):
        from ov_emotions.data.augment.translation import back_translate, paraphrase

        work = paraphrase if method == "paraphrase" else back_translate
        return work(train.texts, positions, config, tell)
    if method == "asr-noise":
        rewriter: Rewriter = AsrNoise.of(config)
    else:
        from ov_emotions.data.augment.words import EmojiWords, find_synonyms

        rows = train.select(sources)
        emoji = method == "emoji"
        rewriter = EmojiWords.of(rows.texts) if emoji else find_synonyms(rows, config, tell)
    return rewrite(
        rewriter,
        train.texts,
        positions,
        method=method,
        seed=config.seed,
        copies=1 if method == "emoji" else config.copies,  # emoji have one name each
        processes=config.processes,
        tell=tell,
    )


def _write(
    prepared: PreparedData, train: LabelledTexts, run: dict[str, Any], output: Path
) -> Manifest:
    before = prepared.manifest
    try:
        with atomic_folder(output) as folder:
            for name in before.splits:
                if name != "train":
                    shutil.copyfile(prepared.folder / f"{name}.parquet", folder / f"{name}.parquet")
            train.save(folder / "train.parquet")
            by_method = Counter(method for method in train.augmentations if method)
            facts = SplitFacts.of(train, sha256_file(folder / "train.parquet"))
            manifest = before.replace(
                splits={**before.splits, "train": facts.replace(rows_by_augmentation=by_method)},
                augmentation=(*(before.augmentation or ()), run),
            )
            write_json(folder / MANIFEST_NAME, manifest)
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror or error}") from error
    return manifest
