"""`ov-emotions classify`: texts in, emotions out."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, TextIO

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Count, Flag, UsageError, verb
from ov_emotions.cli.output import STANDARD, open_output
from ov_emotions.cli.render import HumanWriter, JsonWriter
from ov_emotions.errors import InputError
from ov_emotions.texts import FORMATS, BadRow, check_text_file, read_lines, read_texts

if TYPE_CHECKING:
    from ov_emotions.prediction import TextClassifier
    from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

Precision = Literal["f32", "bf16"]
LongTexts = Literal["window", "truncate"]


@dataclass(frozen=True)
class ClassifyOptions:
    """Which texts are classified, and how the answers are written.

    :param texts: a text (not a file name).
    :param input: read texts from files, - for standard input.
    :param text_column: column or field with the text.
    :param output: write there, whole or not at all (default: standard output).
    :param json: print a JSON object a line: text, labels, scores, truncated.
    :param russian: name the labels in Russian (not in JSON).
    :param chunk_size: texts read before their results come out; 1 answers each line of a slow pipe
        at once (default: 1 on a terminal, else what is fastest).
    """

    texts: Annotated[tuple[str, ...], Flag("TEXT", positional=True)] = ()
    input: Annotated[tuple[Path, ...], Flag("FILE", short="-i")] = ()
    text_column: Annotated[str, Flag("NAME")] = "text"
    output: Annotated[Path | None, Flag("FILE", short="-o")] = None
    json: bool = False
    russian: bool = False
    chunk_size: Count | None = None


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
    precision: Precision | None = None


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

    :param options: of the model.
    :return: the classifier.
    :raises InputError: if thresholds are given for a model that has none.
    """
    from ov_emotions.training.text_to_text.targets import is_text_to_text

    if is_text_to_text(options.model):
        return _load_text_to_text(options)
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


def _load_text_to_text(options: ModelOptions) -> TextToTextClassifier:
    from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

    assert options.model is not None
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


class _Texts:
    """The good texts of all inputs in order, remembering those that have no result yet.

    :param options: which texts; files are checked here, before any work.
    :param complain: gets a line for each row that is left out.
    """

    def __init__(self, options: ClassifyOptions, complain: Callable[[str], None]) -> None:
        self.options = options
        self.complain = complain
        self.pending: deque[str] = deque()
        self.good = 0
        self.bad = 0
        for path in options.input:
            if path != STANDARD:
                check_text_file(path, options.text_column)

    def _rows(self) -> Iterator[tuple[str, str | BadRow]]:
        options = self.options
        if options.texts:
            yield from (("", text) for text in options.texts)
        elif options.input:
            for path in options.input:
                if path == STANDARD:
                    yield from _stdin_rows()
                else:
                    yield from ((str(path), row) for row in read_texts(path, options.text_column))
        else:
            yield from _stdin_rows()

    def __iter__(self) -> Iterator[str]:
        for name, row in self._rows():
            if isinstance(row, BadRow):
                self.bad += 1
                self.complain(f"{name}: row {row.row}: {row.reason}")
            else:
                self.good += 1
                self.pending.append(row)
                yield row


def _stdin_rows() -> Iterator[tuple[str, str | BadRow]]:
    return (("standard input", row) for row in read_lines(_stdin()))


def _stdin() -> BinaryIO:
    return sys.stdin.buffer


@verb(texts={"input": f"read texts from files ({', '.join(FORMATS)}), - for standard input"})
def classify(options: ClassifyOptions, model: ModelOptions) -> int:
    """Find the emotions of Russian texts.

    Texts come from the arguments, or from --input files, or else from standard input, one a line.

    Rows without a usable text (empty, missing, NaN, not UTF-8) are reported on standard error by
    number and left out; all others are classified, and the exit code is 1. Without such rows it is
    0, also when there was no text at all. A text with no letter or digit in it scores 0 everywhere.

    Compiled models are kept in the user's cache folder, for a quicker start; the environment
    variable OV_EMOTIONS_CACHE names another folder, or `off`.

    An empty result (—) means that no emotion reached its threshold; it is not the label neutral.
    """
    if options.texts and options.input:
        raise UsageError("give texts or --input, not both")
    interactive = not options.texts and not options.input and sys.stdin.isatty()
    with Bar("texts", enabled=_may_draw(options, interactive)) as bar:
        texts = _Texts(options, bar.message)
        with open_output(options.output) as out:
            classifier = load_classifier(model)
            if interactive:
                bar.message("reading texts, one a line; Ctrl-D ends")
            writer = _writer(options, classifier, out)
            _write(classifier, texts, writer, _chunk(options, interactive), bar)
        _report_unparseable(classifier, bar)
        if texts.bad:
            bar.message(f"{texts.bad} of {texts.good + texts.bad} rows were left out")
        elif not texts.good:
            bar.message("there were no texts")
    return 1 if texts.bad else 0


def _report_unparseable(classifier: TextClassifier, bar: Bar) -> None:
    writer = _text_to_text(classifier)
    if writer is not None and writer.counts.unparseable:
        counts = writer.counts
        bar.message(
            f"{counts.unparseable} of {counts.outputs} outputs of the model name no label and "
            "count as none"
        )


def _may_draw(options: ClassifyOptions, interactive: bool) -> bool:
    # Where results scroll by, a bar would only get between them.
    return not interactive and (options.output is not None or not sys.stdout.isatty())


def _chunk(options: ClassifyOptions, interactive: bool) -> dict[str, int]:
    if options.chunk_size:
        return {"chunk_size": options.chunk_size}
    return {"chunk_size": 1} if interactive else {}


def _writer(
    options: ClassifyOptions, classifier: TextClassifier, out: TextIO
) -> HumanWriter | JsonWriter:
    if options.json:
        return JsonWriter(out)
    writer = _text_to_text(classifier)
    russian = classifier.label_names_ru if options.russian else {}
    names = {label: russian.get(label, label) for label in classifier.labels}
    # Of a model that writes labels, 0 everywhere says that it wrote none.
    return HumanWriter(out, names, "nothing to read" if writer is None else "none named")


def _text_to_text(classifier: TextClassifier) -> TextToTextClassifier | None:
    """Return the classifier if it is one that writes the labels."""
    from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

    return classifier if isinstance(classifier, TextToTextClassifier) else None


def _write(
    classifier: TextClassifier,
    texts: _Texts,
    writer: HumanWriter | JsonWriter,
    chunk: dict[str, int],
    bar: Bar,
) -> None:
    for done, prediction in enumerate(classifier.stream(texts, **chunk), start=1):
        writer.write(texts.pending.popleft(), prediction)
        if not texts.pending:
            writer.out.flush()
        bar.update(done)
