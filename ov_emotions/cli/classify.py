"""`ov-emotions classify` and `classify-many`: texts in, emotions out."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from msgspec import structs

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, UsageError, verb
from ov_emotions.cli.output import open_bytes, open_output
from ov_emotions.errors import InputError
from ov_emotions.normalize import replace_surrogates
from ov_emotions.schema import Count, Flag, InferencePrecision, LongTexts
from ov_emotions.texts import (
    FORMATS,
    STANDARD,
    BadRow,
    ReadSettings,
    Row,
    Table,
    answered,
    open_table,
)
from ov_emotions.texts.streams import as_they_come
from ov_emotions.texts.writing import WRITTEN, Added, RowWriter, Written, free, open_writer

if TYPE_CHECKING:
    from ov_emotions.classifier import TextClassifier
    from ov_emotions.cluster.run import Summary
    from ov_emotions.prediction import Prediction

_GROUP = 1024


@dataclass(frozen=True)
class ClassifyOptions:
    """Which texts are classified, and how the answers are written.

    :param texts: a text (not a file name).
    :param input: read texts from files, - for standard input.
    :param output: write there, whole or not at all, - for standard output; a table where the name
        ends in .csv, .tsv, .xlsx, .jsonl or .parquet (default: standard output).
    :param output_format: write a table of this format, whatever the name says (default: by the
        name).
    :param json: print a JSON object a line: text, labels, scores, truncated.
    :param language: of the labels; ru gives their Russian names.
    :param russian: name the labels in Russian (not in JSON).
    :param prefix: before the names of the columns that are added to a table.
    :param chunk_size: texts that are classified together (default: what is fastest; of a slow pipe,
        what has come).
    """

    texts: Annotated[tuple[str, ...], Flag("TEXT", positional=True)] = ()
    input: Annotated[tuple[Path, ...], Flag("FILE", short="-i")] = ()
    output: Annotated[Path | None, Flag("FILE", short="-o")] = None
    output_format: Written | None = None
    json: bool = False
    language: Literal["en", "ru"] = "en"
    russian: bool = False
    prefix: str = ""
    chunk_size: Count | None = None

    @property
    def table(self) -> str | None:
        """The format of the table that is written; None for lines."""
        extension = "" if self.output is None else self.output.suffix.lower()[1:]
        named = extension if extension in WRITTEN and not self.json else None
        return self.output_format or named


@dataclass(frozen=True)
class PredictionOptions:
    """What an answer depends on.

    :param model: a shipped name, a bundle's folder or a Hub id (default: the shipped model).
    :param threshold: a label's threshold in place of the model's; may be given several times
        (default: the model's).
    :param long_texts: read a long text whole in windows, or its beginning only.
    :param precision: of the inference (default: the model's).
    """

    model: Annotated[str | None, Flag("MODEL", short="-m")] = None
    threshold: Annotated[dict[str, float], Flag("LABEL=VALUE")] = field(default_factory=dict)
    long_texts: LongTexts = "window"
    precision: InferencePrecision | None = None


@dataclass(frozen=True)
class ModelOptions(PredictionOptions):
    """Which model answers, and on what.

    :param model: a shipped name, a bundle's folder or a Hub id, or the folder of a text-to-text
        model, which PyTorch runs (default: the shipped model).
    :param threads: CPU threads to use (default: all that this process may use).
    :param profile: tuning profile of this machine and model, which `ov-emotions bench` writes.
    :param device: OpenVINO device.
    """

    threads: Count | None = None
    profile: Annotated[Path | None, Flag("FILE")] = None
    device: str = "CPU"


def load_classifier(options: ModelOptions) -> TextClassifier:
    """Load the model that the options name.

    :raises InputError: if thresholds are given for a model that has none.
    """
    from ov_emotions.training.text_to_text.targets import is_text_to_text

    if options.model is not None and is_text_to_text(options.model):
        from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

        if options.threshold:
            raise InputError(
                f"{options.model} is a text-to-text model, which has no thresholds: it writes the "
                "labels"
            )
        return TextToTextClassifier.from_pretrained(
            options.model,
            device=options.device.lower(),
            threads=options.threads,
            precision=options.precision or "f32",
        )
    from ov_emotions.classifier import EmotionClassifier
    from ov_emotions.runtime.cache import user_cache_dir

    return EmotionClassifier(
        options.model,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
        thresholds=dict(options.threshold) or None,
        long_texts=options.long_texts,
        profile=options.profile,
        cache_dir=user_cache_dir(),
    )


class _Input:
    """The rows of all inputs in order, and what is said of them."""

    def __init__(
        self, options: ClassifyOptions, reading: ReadSettings, say: Callable[[str], None]
    ) -> None:
        self.options = options
        self.reading = reading
        self.say = say
        self.good = self.bad = 0
        paths = options.input or (() if options.texts else (STANDARD,))
        # Files that cannot be read are told before any work; standard input is waited for later.
        self.opened = [None if path == STANDARD else self._open(path) for path in paths]

    @property
    def interactive(self) -> bool:
        """Whether texts are typed."""
        return None in self.opened and sys.stdin.isatty()

    def _open(self, path: Path) -> Table:
        table = open_table(path, self.reading)
        for note in table.notes:
            self.say(note)
        return table

    def tables(self) -> list[Table]:
        """Open standard input as well, and return all tables in order."""
        return [table or self._open(STANDARD) for table in self.opened]

    def rows(self, tables: Sequence[Table], added: Sequence[str] | None) -> Iterator[Row]:
        """Read the usable rows.

        :param added: the columns that are added to those of the input; None to read texts alone.
        """
        for number, text in enumerate(self.options.texts, start=1):
            self.good += 1
            yield Row(number, text)
        for table in tables:
            name = table.source.name
            for found in table.rows(() if added is None else None):
                row = free(found, added or ())
                if isinstance(row, BadRow):
                    self.bad += 1
                    self.say(f"{name}: row {row.row}: {row.reason}")
                else:
                    self.good += 1
                    yield structs.replace(row, source=name) if len(tables) > 1 and added else row


@verb(texts={"input": f"read texts from files ({', '.join(FORMATS)}), - for standard input"})
def classify(options: ClassifyOptions, reading: ReadSettings, model: ModelOptions) -> int:
    """Find the emotions of Russian texts.

    Texts come from the arguments, or from --input files, or else from standard input, one a line.
    Lines from a pipe are answered as they come.

    With --output b.csv (.tsv, .xlsx, .jsonl, .parquet) a table is written: all columns of the
    input, then the labels, their scores, and whether the text was cut off.

    Rows without a usable text (empty, missing, NaN, not in the file's encoding) are reported on
    standard error by number and left out; all others are classified, and the exit code is 1.
    Without such rows it is 0, also when there was no text at all. A text with no letter or digit in
    it scores 0 everywhere.

    Compiled models are kept in the user's cache folder, for a quicker start; the environment
    variable OV_EMOTIONS_CACHE names another folder, or `off`.

    An empty result (—) means that no emotion reached its threshold; it is not the label neutral.
    """
    from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

    if options.texts and options.input:
        raise UsageError("give texts or --input, not both")
    if options.json and options.output_format:
        raise UsageError("give --json or --output-format, not both")
    # Where results scroll by, or texts are typed, a bar would only get between them.
    typed = not options.texts and not options.input and sys.stdin.isatty()
    to_file = options.output not in (None, STANDARD) or not sys.stdout.isatty()
    with Bar("texts", enabled=to_file and not typed) as bar:
        for text in options.texts:
            one_word = len(text) < 256 and len(text.split()) == 1
            if one_word and (text.lower().endswith(FORMATS) or Path(text).is_file()):
                bar.message(f"{text!r} is classified as a text; `-i {text}` reads the file")
        texts = _Input(options, reading, bar.message)
        with ExitStack() as stack:
            out: Any = stack.enter_context(
                open_bytes(options.output) if options.table else open_output(options.output)
            )
            classifier = load_classifier(model)
            if texts.interactive:
                bar.message("reading texts, one a line; Ctrl-D ends")
            tables = texts.tables()
            writer = _writer(options, classifier, out, tables, stack)
            added = None
            if isinstance(writer, RowWriter):
                added = writer.added.columns(cells=options.table != "jsonl")
            rows: Iterable[Row] = texts.rows(tables, added)
            # Texts may come one by one, with time between them.
            slow = any(table.source.waits for table in tables) and not options.chunk_size
            chunk: dict[str, Any] = {}
            if options.chunk_size:
                chunk["chunk_size"] = options.chunk_size
            done = 0
            for group in as_they_come(rows, _GROUP) if slow else [rows]:
                for row, prediction in answered(group, partial(classifier.stream, **chunk)):
                    writer.write(row, prediction)
                    done += 1
                    if done % _GROUP == 0 or options.chunk_size:
                        out.flush()
                    bar.update(done)
                out.flush()
        if isinstance(classifier, TextToTextClassifier) and classifier.counts.unparseable:
            bar.message(
                f"{classifier.counts.unparseable} of {classifier.counts.outputs} outputs of the "
                "model name no label and count as none"
            )
        if texts.bad:
            bar.message(f"{texts.bad} of {texts.good + texts.bad} rows were left out")
        elif not texts.good:
            bar.message("there were no texts")
    return 1 if texts.bad else 0


def _writer(
    options: ClassifyOptions,
    classifier: TextClassifier,
    out: Any,
    tables: Sequence[Table],
    stack: ExitStack,
) -> HumanWriter | JsonWriter | RowWriter:

    russian = options.language == "ru"
    names = classifier.label_names_ru if russian else {}
    if options.table:
        added = Added(
            tuple(classifier.labels), names, options.prefix, wide=True, source=len(tables) > 1
        )
        return stack.enter_context(open_writer(out, options.table, tables, added))
    if options.json:
        return JsonWriter(out, names)
    names = classifier.label_names_ru if russian or options.russian else {}
    # Of a model that writes labels, 0 everywhere says that it wrote none.
    nothing = "none named" if hasattr(classifier, "counts") else "nothing to read"
    return HumanWriter(
        out, {label: names.get(label, label) for label in classifier.labels}, nothing
    )


_DIM, _RESET = "\x1b[2m", "\x1b[0m"
_COLOURS = {
    "anger": "\x1b[31m",
    "disgust": "\x1b[32m",
    "fear": "\x1b[35m",
    "joy": "\x1b[33m",
    "sadness": "\x1b[34m",
    "surprise": "\x1b[36m",
    "neutral": _DIM,
}


def coloured(out: TextIO) -> bool:
    """Tell whether colours are welcome: on a terminal that has them, and without NO_COLOR."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def one_line(text: str) -> str:
    """Make a text one line, with nothing that a terminal would obey, such as escape sequences."""
    words = " ".join(replace_surrogates(text).split())
    return "".join(character if character.isprintable() else "�" for character in words)


class JsonWriter:
    """Writes `{"text", "labels", "scores", "truncated"}`, a line each."""

    def __init__(self, out: TextIO, names: Mapping[str, str]) -> None:
        self.out = out
        self.names = names

    def write(self, row: Row, prediction: Prediction) -> None:
        """Write one prediction; halves of surrogate pairs in the text become U+FFFD."""
        value = {"text": replace_surrogates(row.text), **prediction.to_dict(rounded=True)}
        if self.names:
            value["labels"] = [self.names.get(label, label) for label in value["labels"]]
            value["scores"] = {self.names.get(k, k): v for k, v in value["scores"].items()}
        self.out.write(json.dumps(value, ensure_ascii=False) + "\n")


class HumanWriter:
    """Writes the emotions in a column, then the text, cut to the width of a terminal.

    `nothing` stands for a text that scores 0 everywhere.
    """

    def __init__(self, out: TextIO, names: Mapping[str, str], nothing: str) -> None:
        self.out = out
        self.names = names
        self.nothing = nothing
        self.coloured = coloured(out)
        self.columns = shutil.get_terminal_size().columns if out.isatty() else None
        # Room for the two longest names from the start; the column grows if a row needs more.
        longest = sorted(map(len, names.values()))[-2:]
        self.width = sum(longest) + len(" 99%, ") + len(" 99%")

    def write(self, row: Row, prediction: Prediction) -> None:
        """Write one prediction as one line."""
        parts = [(label, self._part(prediction, label)) for label in prediction.labels]
        if not parts:
            parts = [("neutral", self._nothing(prediction))]
        plain = ", ".join(part for _, part in parts)
        self.width = max(self.width, len(plain))
        shown = plain
        if self.coloured:
            shown = ", ".join(f"{_COLOURS.get(k, '')}{part}{_RESET}" for k, part in parts)
        padding = " " * (self.width - len(plain) + 2)
        text = one_line(row.text)
        mark = " (only its beginning was read)" if prediction.truncated else ""
        if self.columns is not None:
            room = max(self.columns - self.width - 2 - len(mark), 12)
            text = text if len(text) <= room else text[: room - 1] + "…"
        self.out.write(f"{shown}{padding}{text}{mark}\n")

    def _part(self, prediction: Prediction, label: str) -> str:
        return f"{self.names[label]} {prediction.scores[label]:.0%}"

    def _nothing(self, prediction: Prediction) -> str:
        best = max(prediction.scores, key=lambda label: prediction.scores[label])
        if prediction.scores[best] == 0:
            return f"— {self.nothing}"
        return f"— at most {self._part(prediction, best)}"


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
