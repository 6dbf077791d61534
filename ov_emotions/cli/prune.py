"""`ov-emotions prune`: a base encoder with the normaliser inside and a smaller vocabulary."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    print_json,
)
from ov_emotions.texts import BadRow, check_text_file, read_texts

_SPLITS = ("train", "validation")


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "prune",
        help="make a base encoder ready for fine-tuning, with a smaller vocabulary",
        description="Write a copy of a base encoder with the normaliser inside its tokeniser and "
        "without the vocabulary that a corpus of normalised Russian never uses.",
    )
    parser.set_defaults(run=run, usage_error=parser.error)
    parser.add_argument("base", type=Path, metavar="BASE", help="folder of the base encoder")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder to write as a whole")
    parser.add_argument(
        "--text",
        action="extend",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="text files of the corpus, one text a line (.txt, .txt.gz)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PREPARED",
        help="a prepared folder, whose train and validation texts join the corpus",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--keep-cyrillic",
        action="store_true",
        help="keep unused pieces of Cyrillic letters and digits (the default)",
    )
    kept.add_argument(
        "--keep-digits", action="store_true", help="of unused pieces, keep only those of digits"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Prune the vocabulary.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.training.prune import KEEP_CYRILLIC, KEEP_DIGITS, prune_base

    if not args.text and args.data is None:
        args.usage_error("a corpus is needed: give --text, --data or both")
    check_output_folder(args.output, "tokenizer.json")
    with Progress("texts") as progress:
        sizes = prune_base(
            args.base,
            args.output,
            _corpus(args, progress),
            KEEP_DIGITS if args.keep_digits else KEEP_CYRILLIC,
        )
    if args.json:
        print_json({"vocabulary": sizes, "output": str(args.output)})
    else:
        print(f"vocabulary {sizes['before']:,} -> {sizes['after']:,}, written to {args.output}")
    return 0


def _corpus(args: argparse.Namespace, progress: Progress) -> Iterator[str]:
    """Open everything before the first text, then give the texts one by one."""
    from ov_emotions.data.prepare import PreparedData

    for path in args.text:
        check_text_file(path)
    prepared = None if args.data is None else PreparedData.open(args.data)

    def texts() -> Iterator[str]:
        for path in args.text:
            left_out = 0
            for row in read_texts(path):
                if isinstance(row, BadRow):
                    left_out += 1
                else:
                    yield row
            if left_out:
                progress.message(f"{path}: {left_out} lines without a usable text were left out")
        if prepared is not None:
            for split in _SPLITS:
                yield from prepared.split(split).texts

    def counted() -> Iterator[str]:
        for done, text in enumerate(texts(), start=1):
            progress.update(done)
            yield text

    return counted()
