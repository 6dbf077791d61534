"""`ov-emotions classify`: texts in, emotions out."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from ov_emotions.cli.progress import Progress
from ov_emotions.cli.render import HumanWriter, JsonWriter
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    name_value,
    open_output,
    positive_int,
)
from ov_emotions.errors import InputError
from ov_emotions.texts import FORMATS, BadRow, check_text_file, read_lines, read_texts

if TYPE_CHECKING:
    from ov_emotions.prediction import TextClassifier
    from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

_EPILOG = """\
Texts come from the arguments, or from --input files, or else from standard input, one a line.
Rows without a usable text (empty, missing, NaN, not UTF-8) are reported on standard error by
number and left out; all others are classified, and the exit code is 1. Without such rows it is 0,
also when there was no text at all. A text with no letter or digit in it scores 0 everywhere.

Compiled models are kept in the user's cache folder, for a quicker start; the environment variable
OV_EMOTIONS_CACHE names another folder, or `off`.

An empty result (—) means that no emotion reached its threshold; it is not the label neutral.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "classify",
        help="find the emotions of texts",
        description="Find the emotions of Russian texts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, usage_error=parser.error)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text (not a file name)")
    parser.add_argument(
        "-i",
        "--input",
        action="extend",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help=f"read texts from files ({', '.join(FORMATS)})",
    )
    parser.add_argument(
        "--text-column",
        default="text",
        metavar="NAME",
        help="column or field with the text (default: text)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write there, whole or not at all"
    )
    add_json_flag(parser, "print a JSON object a line: text, labels, scores, truncated")
    parser.add_argument(
        "--russian", action="store_true", help="name the labels in Russian (not in JSON)"
    )
    add_model_flags(parser)
    parser.add_argument(
        "--chunk-size",
        type=positive_int,
        metavar="N",
        help="texts read before their results come out; 1 answers each line of a slow pipe at once "
        "(default: 1 on a terminal, else what is fastest)",
    )


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `load_classifier` reads.

    :param parser: the verb's.
    """
    add_prediction_flags(
        parser,
        "a shipped name, a bundle's folder or a Hub id, or the folder of a text-to-text model, "
        "which PyTorch runs",
    )
    parser.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads to use")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="tuning profile of this machine and model, which `ov-emotions bench` writes",
    )
    parser.add_argument("--device", default="CPU", help="OpenVINO device (default: CPU)")


def add_prediction_flags(parser: argparse.ArgumentParser, models: str) -> None:
    """Add what an answer depends on: model, thresholds, long texts, precision.

    :param parser: the verb's.
    :param models: which models it takes, in words.
    """
    parser.add_argument(
        "-m", "--model", metavar="MODEL", help=f"{models} (default: the shipped model)"
    )
    parser.add_argument(
        "--threshold",
        action="append",
        type=name_value,
        default=[],
        metavar="LABEL=VALUE",
        help="a label's threshold in place of the model's; may be given several times",
    )
    parser.add_argument(
        "--long-texts",
        choices=("window", "truncate"),
        default="window",
        help="read a long text whole in windows, or its beginning only (default: window)",
    )
    parser.add_argument(
        "--precision", choices=("f32", "bf16"), help="of the inference (default: the model's)"
    )


def load_classifier(args: argparse.Namespace) -> TextClassifier:
    """Load the model that the arguments name.

    :param args: the parsed arguments.
    :return: the classifier.
    :raises InputError: if thresholds are given for a model that has none.
    """
    from ov_emotions.training.text_to_text.manifest import is_text_to_text

    if is_text_to_text(args.model):
        return _load_text_to_text(args)
    from ov_emotions.classifier import EmotionClassifier
    from ov_emotions.runtime.cache import user_cache_dir

    return EmotionClassifier(
        args.model,
        device=args.device,
        threads=args.threads,
        precision=args.precision,
        thresholds=dict(args.threshold) or None,
        long_texts=args.long_texts,
        profile=args.profile,
        cache_dir=user_cache_dir(),
    )


def _load_text_to_text(args: argparse.Namespace) -> TextToTextClassifier:
    from ov_emotions.training.text_to_text.classifier import TextToTextClassifier

    if args.threshold:
        raise InputError(
            f"{args.model} is a text-to-text model, which has no thresholds: it writes the labels"
        )
    return TextToTextClassifier.from_pretrained(
        args.model,
        device=args.device.lower(),
        threads=args.threads,
        precision=args.precision or "f32",
    )


class _Texts:
    """The good texts of all inputs in order, remembering those that have no result yet.

    :param args: the parsed arguments; files are checked here, before any work.
    :param complain: gets a line for each row that is left out.
    """

    def __init__(self, args: argparse.Namespace, complain: Callable[[str], None]) -> None:
        self.args = args
        self.complain = complain
        self.pending: deque[str] = deque()
        self.good = 0
        self.bad = 0
        for path in args.input:
            check_text_file(path, args.text_column)

    def _rows(self) -> Iterator[tuple[str, str | BadRow]]:
        args = self.args
        if args.texts:
            yield from (("", text) for text in args.texts)
        elif args.input:
            for path in args.input:
                yield from ((str(path), row) for row in read_texts(path, args.text_column))
        else:
            yield from (("standard input", row) for row in read_lines(_stdin()))

    def __iter__(self) -> Iterator[str]:
        for name, row in self._rows():
            if isinstance(row, BadRow):
                self.bad += 1
                self.complain(f"{name}: row {row.row}: {row.reason}")
            else:
                self.good += 1
                self.pending.append(row)
                yield row


def _stdin() -> BinaryIO:
    return sys.stdin.buffer


def run(args: argparse.Namespace) -> int:
    """Classify what the arguments name.

    :param args: the parsed arguments.
    :return: 0, or 1 if rows were left out.
    """
    if args.texts and args.input:
        args.usage_error("give texts or --input, not both")
    interactive = not args.texts and not args.input and sys.stdin.isatty()
    with Progress("texts", enabled=_may_draw(args, interactive)) as progress:
        texts = _Texts(args, progress.message)
        with open_output(args.output) as out:
            classifier = load_classifier(args)
            if interactive:
                progress.message("reading texts, one a line; Ctrl-D ends")
            _write(
                classifier,
                texts,
                _writer(args, classifier, out),
                _chunk(args, interactive),
                progress,
            )
        _report_unparseable(classifier, progress)
        if texts.bad:
            progress.message(f"{texts.bad} of {texts.good + texts.bad} rows were left out")
        elif not texts.good:
            progress.message("there were no texts")
    return 1 if texts.bad else 0


def _report_unparseable(classifier: TextClassifier, progress: Progress) -> None:
    writer = _text_to_text(classifier)
    if writer is not None and writer.counts.unparseable:
        counts = writer.counts
        progress.message(
            f"{counts.unparseable} of {counts.outputs} outputs of the model name no label and "
            "count as none"
        )


def _may_draw(args: argparse.Namespace, interactive: bool) -> bool:
    # Where results scroll by, a bar would only get between them.
    return not interactive and (args.output is not None or not sys.stdout.isatty())


def _chunk(args: argparse.Namespace, interactive: bool) -> dict[str, int]:
    if args.chunk_size:
        return {"chunk_size": args.chunk_size}
    return {"chunk_size": 1} if interactive else {}


def _writer(
    args: argparse.Namespace, classifier: TextClassifier, out: TextIO
) -> HumanWriter | JsonWriter:
    if args.json:
        return JsonWriter(out)
    writer = _text_to_text(classifier)
    russian = classifier.label_names_ru if args.russian else {}
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
    progress: Progress,
) -> None:
    for done, prediction in enumerate(classifier.stream(texts, **chunk), start=1):
        writer.write(texts.pending.popleft(), prediction)
        if not texts.pending:
            writer.out.flush()
        progress.update(done)
