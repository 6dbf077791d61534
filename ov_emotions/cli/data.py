"""`ov-emotions data`: prepared folders made, added to and described."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, Count, Flag, Given, UsageError, verb
from ov_emotions.cli.output import (
    check_output_folder,
    make_output_folder,
    print_json,
    print_text,
    table,
)
from ov_emotions.data.settings import AugmentConfig, ImportConfig, PrepareConfig
from ov_emotions.labels import EKMAN
from ov_emotions.progress import Progress
from ov_emotions.reports.language import LanguageCode
from ov_emotions.schema import to_builtins
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
    if answer.json:
        print_json(to_builtins(manifest))
    else:
        print_text(_summary(manifest, config.output))
    return 0


@verb(positional=("files",), texts=_MANIFEST_AS_JSON, config=True)
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
    if answer.json:
        print_json(to_builtins(manifest))
    else:
        print_text(_summary(manifest, config.output))
    return 1 if bad else 0


@verb(positional=("data",), texts=_MANIFEST_AS_JSON, config=True)
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
    if answer.json:
        print_json(to_builtins(manifest))
    else:
        print_text(_augmented(manifest, config.output))
    return 0


def _augmented(manifest: Manifest, output: Path) -> str:
    latest = (manifest.augmentation or ())[-1]
    counts: list[list[object]] = [["method", "made", "left out", "added"]]
    reasons: list[list[object]] = [["not made or left out", "rows"]]
    for method, facts in latest["methods"].items():
        counts.append([method, facts["made"], sum(facts["dropped"].values()), facts["rows"]])
        reasons += [
            [f"{method}: {reason.replace('_', ' ')}", rows]
            for reason, rows in (facts["not_made"] | facts["dropped"]).items()
            if rows
        ]
    tables = [table(counts)] + ([table(reasons)] if len(reasons) > 1 else [])
    rows = manifest.splits["train"].rows
    return "\n\n".join([*tables, f"written to {output}: {rows:,} training rows"])


@dataclass(frozen=True, kw_only=True)
class StatsOptions:
    """What is described, and where the description goes.

    :param prepared: prepared folder.
    :param output: folder to write stats.json and stats.html to (default: print only).
    :param model: bundle whose tokeniser counts tokens: shipped name, folder or Hub id (default: the
        shipped default).
    :param split: split whose telling words are sought, and which the plots show.
    :param words: of a label.
    :param language: of the page.
    """

    prepared: Annotated[Path, Flag(positional=True)]
    output: Annotated[Path | None, Flag("DIR")] = None
    model: str | None = None
    split: Annotated[str, Flag("NAME")] = "train"
    words: Count = 40
    language: LanguageCode = "en"


@verb(texts={"json": "print the statistics as JSON"})
def data_stats(options: StatsOptions, answer: Answer) -> int:
    """Describe a prepared folder: labels, lengths, telling words, repeated texts.

    They are counted by split and set; --output writes stats.json and stats.html.
    """
    from ov_emotions.bundle import DEFAULT_MODEL
    from ov_emotions.data.statistics import StatsConfig, describe
    from ov_emotions.files import write_json, write_text
    from ov_emotions.reports.data import render_data_page

    config = StatsConfig(
        model=options.model or DEFAULT_MODEL,
        words_split=options.split,
        words=options.words,
    )
    if options.output is not None:
        require("vl_convert", extra="reports")  # now, and not after a minute of counting
        make_output_folder(options.output)
    with Bar("texts") as bar:
        stats = describe(options.prepared, config, bar)
        if options.output is not None:
            bar(Progress(0, None, "texts", "drawing the page"))
            written = render_data_page(stats, options.language)
            write_json(options.output / JSON_NAME, stats.to_json())
            write_text(options.output / PAGE_NAME, written)
    if answer.json:
        print_json(stats.to_json())
        return 0
    print_text(_described(stats))
    if options.output is not None:
        print_text(f"\nwrote {options.output / JSON_NAME}, {options.output / PAGE_NAME}")
    return 0


def _described(stats: Statistics) -> str:
    counts = [
        [name, group.rows, *(group.labels[label].present for label in stats.labels)]
        for name, group in stats.splits.items()
    ]
    repeated = [
        [name, group.duplicates, group.near_duplicates, group.contradictions]
        for name, group in stats.splits.items()
    ]
    shared = [
        [f"{found.split} in {found.other}", found.equal, found.near]
        for found in stats.overlaps
        if found.equal or found.near
    ]
    words = [
        f"{label}: {', '.join(w.word for w in stats.words[label][:8])}" for label in stats.labels
    ]
    parts = [
        table([["split", "rows", *stats.labels], *counts]),
        table([["split", "repeated", "nearly", "contradicting"], *repeated]),
        *([table([["overlap", "equal", "nearly"], *shared])] if shared else []),
        "\n".join(words),
    ]
    return "\n\n".join(parts)


def _summary(manifest: Manifest, output: Path) -> str:
    """Lay out what a prepared folder holds, and what was left out of it."""
    splits = manifest.splits
    # A split a column, because there may be many labels.
    counts = [
        ["rows", *(split.rows for split in splits.values())],
        *(
            [label, *(split.labels[label]["present"] for split in splits.values())]
            for label in manifest.labels
        ),
    ]
    bad = [
        [f"{source.name} {split}: unusable rows", len(rows)]
        for source in manifest.sources
        for split, rows in source.bad_rows.items()
        if rows
    ]
    dropped = [
        [f"{split}: {reason.replace('_', ' ')}", rows]
        for split, reasons in manifest.dropped.items()
        for reason, rows in reasons.items()
    ]
    return "\n\n".join(
        [
            table([["", *splits], *counts]),
            table([["dropped", "rows"], *bad, *dropped]),
            f"written to {output}, seed {manifest.seed}",
        ]
    )
