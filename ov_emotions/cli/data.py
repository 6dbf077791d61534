"""`ov-emotions data`: prepared folders made, added to and described."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, Given, UsageError, verb
from ov_emotions.cli.output import (
    check_output_folder,
    make_output_folder,
    table,
)
from ov_emotions.data.settings import AugmentConfig, ImportConfig, PrepareConfig, StatsConfig
from ov_emotions.labels import EKMAN
from ov_emotions.progress import Progress
from ov_emotions.reports.language import LanguageCode
from ov_emotions.schema import Flag, write_json
from ov_emotions.system import require

if TYPE_CHECKING:
    from ov_emotions.data.dataset import Manifest
    from ov_emotions.data.statistics import Statistics

JSON_NAME = "stats.json"
PAGE_NAME = "stats.html"
DESK = Path("quantize/data/support-desk.csv")
_SHARED = "OV_EMOTIONS_SHARED"
_MANIFEST_AS_JSON = {"json": "print the manifest as JSON"}


@verb(
    texts=_MANIFEST_AS_JSON,
    defaults={
        "raw": f"data in the folder ${_SHARED}, or in ../shared",
        "desk": f"{DESK}, where that is",
        "without": "none",
    },
    config=True,
)
def data_prepare(given: Given[PrepareConfig], answer: Answer) -> int:
    """Join the raw sets into one prepared folder.

    Read the raw sets, deduplicate them, take leaks out of the training and validation splits, and
    write one prepared folder: Parquet files and a manifest.
    """
    from ov_emotions.data.dataset import MANIFEST_NAME
    from ov_emotions.data.prepare import prepare

    if "output" not in given:
        raise UsageError("the following arguments are required: --output")
    raw = Path(os.environ.get(_SHARED) or "../shared") / "data"
    defaults: dict[str, Any] = {"raw": raw}
    left_out = "support_desk" in given.get("without", ())
    if DESK.is_file() and not left_out and given.get("labels", EKMAN.name) == EKMAN.name:
        defaults["desk"] = DESK
    config = PrepareConfig(**{**defaults, **given})
    check_output_folder(config.output, MANIFEST_NAME)
    with Bar("rows") as bar:
        manifest = prepare(config, bar)
    return answer.give(manifest, _summary(manifest, config.output))


@verb(texts=_MANIFEST_AS_JSON, config=True)
def data_import(config: ImportConfig, answer: Answer) -> int:
    """Make a prepared folder of your own labelled texts.

    Read them, deduplicate and split them, take leaks out of the training and validation splits, and
    write one prepared folder with its own labels.

    The labels of a row are told in one of two ways. Either each label has a column of its own, with
    1 where it is present, 0 where it is absent, and nothing where nobody looked (unknown: losses
    and scores leave it out). Or one column lists the labels that are present, all others being
    absent.

    Rows without a usable text or with labels that cannot be read are reported on standard error by
    number and left out; all others are imported, and the exit code is 1.
    """
    from ov_emotions.data.dataset import MANIFEST_NAME
    from ov_emotions.data.importing import import_data

    check_output_folder(config.output, MANIFEST_NAME)
    with Bar("rows") as bar:
        try:
            manifest = import_data(config, bar)
        except KeyboardInterrupt:
            if config.translate is not None:
                bar.message("stopped; the same command goes on with what is translated")
            raise
        source = manifest.sources[0]
        for name, rows in source.bad_rows.items():
            for row in rows:
                bar.message(f"{name}: row {row.row}: {row.reason}")
        bad = sum(len(rows) for rows in source.bad_rows.values())
        good = sum(file.rows for file in source.files.values())
        if bad:
            bar.message(f"{bad} of {good + bad} rows were left out")
        for split, facts in manifest.splits.items():
            lacking = [label for label, n in facts.labels.items() if not n["present"]]
            if lacking:
                bar.message(f"{split} has no row with {', '.join(lacking)}")
    answer.give(manifest, _summary(manifest, config.output))
    return 1 if bad else 0


@verb(texts=_MANIFEST_AS_JSON, config=True)
def data_augment(config: AugmentConfig, answer: Answer) -> int:
    """Write a new prepared folder whose train split has additional rows.

    Each is marked with the method and the row it was made from. All other splits are copied.

    Methods, each of which makes rows of its own:
      back-translation  to English and back by two Marian models; a run that was stopped goes on
                        when the same command is given again
      paraphrase        in other words by the sequence-to-sequence model that --model names; goes on
                        after a stop as well
      synonyms          words replaced by synonyms in the same form; few, and none that tell of a
                        label
      asr-noise         as a speech recogniser might have written the text, with its errors
      emoji             emoji in words
      oversample        rows of the labels that --oversample names, again

    New rows that equal or nearly equal a text of another split or another training row are left
    out.
    """
    from ov_emotions.data.augment.run import augment
    from ov_emotions.data.dataset import MANIFEST_NAME

    check_output_folder(config.output, MANIFEST_NAME)
    with Bar("rows") as bar:
        try:
            manifest = augment(config, bar)
        except KeyboardInterrupt:
            if {"back-translation", "paraphrase"} & {*config.methods}:
                bar.message("stopped; the same command goes on with what is written so far")
            raise
    made, left_out = [], []
    for method, facts in (manifest.augmentation or ())[-1]["methods"].items():
        made.append((method, facts["made"], sum(facts["dropped"].values()), facts["rows"]))
        left_out += [
            (f"{method}: {reason.replace('_', ' ')}", rows)
            for reason, rows in (facts["not_made"] | facts["dropped"]).items()
            if rows
        ]
    told = [table([("method", "made", "left out", "added"), *made])]
    if left_out:
        told.append(table([("not made or left out", "rows"), *left_out]))
    rows = manifest.splits["train"].rows
    told.append(f"written to {config.output}: {rows:,} training rows")
    return answer.give(manifest, "\n\n".join(told))


@dataclass(frozen=True, kw_only=True)
class StatsOptions:
    """What is described, and where the description goes.

    :param prepared: prepared folder.
    :param output: folder to write stats.json and stats.html to (default: print only).
    :param language: of the page.
    """

    prepared: Annotated[Path, Flag(positional=True)]
    output: Annotated[Path | None, Flag("DIR")] = None
    language: LanguageCode = "en"


@verb(
    without=("least_texts", "prior_words", "near_threshold"),
    texts={"json": "print the statistics as JSON"},
)
def data_stats(options: StatsOptions, config: StatsConfig, answer: Answer) -> int:
    """Describe a prepared folder: labels, lengths, telling words, repeated texts.

    They are counted by split and set; --output writes stats.json and stats.html.
    """
    from ov_emotions.data.statistics import describe
    from ov_emotions.files import write_text
    from ov_emotions.reports.data import render_data_page

    if options.output is not None:
        require("vl_convert", extra="reports")  # now, and not after a minute of counting
        make_output_folder(options.output)
    with Bar("texts") as bar:
        stats = describe(options.prepared, config, bar)
        told = _described(stats)
        if options.output is not None:
            bar(Progress(0, None, "texts", "drawing the page"))
            written = render_data_page(stats, options.language)
            figures, page = options.output / JSON_NAME, options.output / PAGE_NAME
            write_json(figures, stats.to_json())
            write_text(page, written)
            told += f"\n\nwrote {figures}, {page}"
    return answer.give(stats.to_json(), told)


def _described(stats: Statistics) -> str:
    counts, repeated = [], []
    for name, group in stats.splits.items():
        counts.append((name, group.rows, *(group.labels[x].present for x in stats.labels)))
        repeated.append((name, group.duplicates, group.near_duplicates, group.contradictions))
    shared = [
        (f"{found.split} in {found.other}", found.equal, found.near)
        for found in stats.overlaps
        if found.equal or found.near
    ]
    words = [
        f"{label}: {', '.join(w.word for w in stats.words[label][:8])}" for label in stats.labels
    ]
    return "\n\n".join(
        [
            table([("split", "rows", *stats.labels), *counts]),
            table([("split", "repeated", "nearly", "contradicting"), *repeated]),
            *([table([("overlap", "equal", "nearly"), *shared])] if shared else []),
            "\n".join(words),
        ]
    )


def _summary(manifest: Manifest, output: Path) -> str:
    """Lay out what a prepared folder holds, and what was left out of it."""
    splits = manifest.splits
    # A split a column, because there may be many labels.
    labels = [
        (label, *(split.labels[label]["present"] for split in splits.values()))
        for label in manifest.labels
    ]
    bad = [
        (f"{source.name} {split}: unusable rows", len(rows))
        for source in manifest.sources
        for split, rows in source.bad_rows.items()
        if rows
    ]
    dropped = [
        (f"{split}: {reason.replace('_', ' ')}", rows)
        for split, reasons in manifest.dropped.items()
        for reason, rows in reasons.items()
    ]
    rows = ("rows", *(split.rows for split in splits.values()))
    return "\n\n".join(
        [
            table([("", *splits), rows, *labels]),
            table([("dropped", "rows"), *bad, *dropped]),
            f"written to {output}, seed {manifest.seed}",
        ]
    )
