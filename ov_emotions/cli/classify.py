"""`ov-emotions classify`: texts in, emotions out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import structs

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import UsageError, verb
from ov_emotions.cli.output import open_bytes, open_output
from ov_emotions.cli.render import HumanWriter, JsonWriter
from ov_emotions.errors import InputError
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
