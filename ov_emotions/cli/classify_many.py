"""`ov-emotions classify-many`: folders of texts in, the same rows with emotions out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.classify import PredictionOptions
from ov_emotions.cli.frame import Answer, verb
from ov_emotions.schema import Count, Flag
from ov_emotions.texts.table import ReadSettings

if TYPE_CHECKING:
    from ov_emotions.cluster.run import Summary


@dataclass(frozen=True)
class ManyOptions:
    """Which files are classified, and where their rows go.

    :param source: a folder of files, or one file.
    :param target: a folder to write.
    :param prefix: before the names of the columns that are added.
    :param restart: delete what OUT holds, begin anew.
    """

    source: Annotated[Path, Flag("IN", positional=True)]
    target: Annotated[Path, Flag("OUT", positional=True)]
    prefix: str = ""
    restart: bool = False


@dataclass(frozen=True)
class ManyResources:
    """What does the work.

    :param actors: processes (default: as cores allow).
    :param threads: of each.
    :param part_rows: rows of a part at most; what a kill loses is the parts under way.
    :param address: of a Ray cluster, `auto` or HOST:PORT.
    """

    actors: Count | None = None
    threads: Count = 1
    part_rows: Count = 10_000
    address: str | None = None


@verb(texts={"json": "print the summary as JSON"})
def classify_many(
    options: ManyOptions,
    reading: ReadSettings,
    prediction: PredictionOptions,
    resources: ManyResources,
    answer: Answer,
) -> int:
    """Find the emotions of all rows of a folder of files, on Ray Data.

    IN is searched for the files that `classify` reads; names that begin with a dot or an underscore
    are left out. The rows are cut into parts, and each is written to OUT in the format of its file
    (.jsonl for texts without columns and transcripts): all columns as they were, then source_file,
    labels, scores and truncated. Rows without a usable text are set aside in OUT/_bad with file,
    row and reason; then the exit code is 1.

    A run that was stopped or killed goes on when the same command is given again: parts that stand
    are not done twice. OUT/_SUCCESS is there when all are. Other input or options are refused;
    --actors, --threads and --address may differ.

    On one machine, Ray is started for the length of the command. With --address, IN, OUT and a
    model that is a folder must be where every node of the cluster sees them.
    """
    from ov_emotions.cluster import run
    from ov_emotions.cluster.plan import resolve_settings

    with Bar("rows") as bar:
        settings = resolve_settings(
            prediction.model,
            thresholds=prediction.threshold or None,
            reading=reading,
            prefix=options.prefix,
            long_texts=prediction.long_texts,
            precision=prediction.precision,
            part_rows=resources.part_rows,
        )
        summary = run.classify_many(
            options.source,
            options.target,
            settings,
            actors=resources.actors,
            threads=resources.threads,
            address=resources.address,
            restart=options.restart,
            tell=bar,
        )
        for sentence in summary.failed:
            bar.message(f"not done: {sentence}")
        if summary.rows_bad:
            bar.message(f"{summary.rows_bad:,} rows were set aside: {options.target / '_bad'}")
    answer.give(summary, _sentence(summary))
    return 1 if summary.rows_bad or summary.failed else 0


def _sentence(summary: Summary) -> str:
    rows = f"{summary.rows_out:,} of {summary.rows_in:,} rows classified"
    if summary.rows_per_second is None:
        return f"{rows}; nothing was left to do"
    before = f", {summary.parts_before:,} of {summary.parts:,} parts before"
    return (
        f"{rows}{before if summary.parts_before else ''}; {summary.rows_per_second:,.0f} rows/s in "
        f"{summary.seconds:,.1f} s ({summary.actors} actors, {summary.threads} threads each)"
    )
