"""`ov-emotions ovms build`: a bundle to the model that OpenVINO Model Server serves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    positive_int,
    print_json,
    utf8_stdout,
)

if TYPE_CHECKING:
    from ov_emotions.serving.repository import Published
    from ov_emotions.serving.text_check import Comparison


def add_parser(subparsers: Subparsers) -> None:
    """Add the sub-verb.

    :param subparsers: of `ov-emotions ovms`.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "build",
        help="publish a bundle as a model that takes raw text",
        description="Build one model that takes raw text and gives probabilities and the names of "
        "the emotions, check it against the classifier, and publish it as the next version of a "
        "model repository. A text longer than the model reads is cut off at its end.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("bundle", metavar="BUNDLE", help="a shipped name, a folder or a Hub id")
    parser.add_argument("repository", type=Path, metavar="REPOSITORY", help="the server's folder")
    parser.add_argument(
        "--name", help="of the model (default: emotions; emotions-tokens with --token-in)"
    )
    parser.add_argument(
        "--names",
        choices=("ru", "en"),
        default="ru",
        help="Russian names of the emotions or English ones (default: ru)",
    )
    parser.add_argument(
        "--separator", default=", ", metavar="TEXT", help="between two names (default: ', ')"
    )
    parser.add_argument(
        "--token-in",
        action="store_true",
        help="take input_ids and attention_mask, from callers who tokenise themselves, and give "
        "probabilities without names",
    )
    parser.add_argument(
        "--keep",
        type=positive_int,
        metavar="N",
        help="versions to keep, the new one included; older ones are removed (default: all)",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="compare with the classifier on the texts of this file too (.txt, .csv, .tsv, "
        ".jsonl or .parquet), and list every text that differs, with the reason",
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Build, check and publish.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.serving.publishing import default_name
    from ov_emotions.serving.repository import publish
    from ov_emotions.serving.text_check import PROBES, compare, require_parity
    from ov_emotions.serving.text_model import TextModelConfig, build_text_model
    from ov_emotions.texts import check_text_file

    config = TextModelConfig(args.names, args.separator, args.token_in)
    if args.check is not None:
        check_text_file(args.check)
    bundle = Bundle.load(args.bundle)
    model = build_text_model(bundle, config)
    # Whatever else is asked for: what answers differently from its bundle is not published.
    require_parity(compare(bundle, model, config, PROBES), bundle)
    comparison = None
    if args.check is not None:
        with Progress("texts") as progress:
            comparison = compare(bundle, model, config, _texts(args.check, progress))
        require_parity(comparison, bundle)
    name = default_name(args.token_in) if args.name is None else args.name
    published = publish(model, args.repository, name, keep=args.keep)
    if args.json:
        answer = {"model": name, **published.to_dict()}
        answer["long_texts"] = None if args.token_in else "truncate"
        answer["comparison"] = None if comparison is None else comparison.to_dict()
        print_json(answer)
        return 0
    lines = [*_comparison_lines(comparison), *_published_lines(published)]
    if not args.token_in:
        length = bundle.manifest.max_length
        lines.append(f"long texts are cut off after {length} tokens (long_texts='truncate')")
    print("\n".join(lines), file=utf8_stdout())
    return 0


def _texts(path: Path, progress: Progress) -> Iterator[str]:
    from ov_emotions.texts import BadRow, read_texts

    left_out = 0
    for done, row in enumerate(read_texts(path), start=1):
        progress.update(done)
        if isinstance(row, BadRow):
            left_out += 1
        else:
            yield row
    if left_out:
        progress.message(f"{path}: {left_out} rows without a usable text were left out")


def _comparison_lines(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    differing = len(comparison.differences)
    lines = [
        f"compared with the classifier on {comparison.texts:,} texts: {differing} differ, "
        f"{comparison.other_names} in their names; largest difference of a probability "
        f"{comparison.largest:.4f}"
    ]
    lines += [
        f"  {found.reason}: {found.text[:80]!r}: {found.served!r} for {found.expected!r}, "
        f"{found.detail}"
        for found in comparison.differences
    ]
    return lines


def _published_lines(published: Published) -> list[str]:
    if not published.changed:
        return [f"version {published.version} is this model already; nothing was changed"]
    lines = [f"published {published.folder}"]
    if published.pruned:
        lines.append(f"removed versions: {', '.join(map(str, published.pruned))}")
    return lines
