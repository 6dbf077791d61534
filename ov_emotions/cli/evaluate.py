"""`ov-emotions evaluate`: bundles scored on prepared splits."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions.cli.shared import Subparsers, add_json_flag, print_json, table

if TYPE_CHECKING:
    from ov_emotions.data.prepare import PreparedData


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "evaluate",
        help="score bundles on held-out data",
        description="Score bundles on splits of a prepared folder: F1 with bootstrap intervals, at "
        "each bundle's own thresholds and precision.",
    )
    parser.add_argument(
        "bundles", nargs="+", help="shipped names, folders or Hub ids; text-to-text folders too"
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument(
        "--split",
        action="append",
        dest="splits",
        help="split, or validation:PART; repeatable (default: validation:selection)",
    )
    parser.add_argument("--precision", choices=("f32", "bf16"), help="instead of the bundle's")
    parser.add_argument("--output", type=Path, help="write the figures there as JSON too")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="BUNDLE",
        help="write the figures into this bundle's manifest and model card: its own, and those of "
        "the other bundles beside them by precision",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.evaluation import data_facts, record_metrics
    from ov_emotions.files import write_json

    prepared = PreparedData.open(args.data)
    splits = args.splits or ["validation:selection"]
    results = [_evaluate(b, prepared, splits, args.precision) for b in args.bundles]
    answer = {
        "command": shlex.join(["ov-emotions", *sys.argv[1:]]),
        **data_facts(prepared),
        "results": results,
    }
    if args.output:
        write_json(args.output, answer)
    if args.record:
        record_metrics(Bundle.load(args.record), results)
    if args.json:
        print_json(answer)
    else:
        print(table(_rows(results)))
        for line in _unparseable(results):
            print(line)
    return 0


def _evaluate(
    source: str, prepared: PreparedData, splits: list[str], precision: str | None
) -> dict[str, Any]:
    from ov_emotions.training.text_to_text.manifest import is_text_to_text

    if is_text_to_text(source):
        from ov_emotions.training.text_to_text.evaluate import evaluate_text_to_text

        return evaluate_text_to_text(Path(source), prepared, splits, precision)
    from ov_emotions.bundle import Bundle
    from ov_emotions.evaluation import evaluate

    return evaluate(Bundle.load(source), prepared, splits, precision)


def _unparseable(results: list[dict[str, Any]]) -> list[str]:
    return [
        f"{result['model']} on {split}: {outputs['unparseable']:,} of {outputs['outputs']:,} "
        f"outputs ({outputs['unparseable_share']:.1%}) name no label and count as none"
        for result in results
        for split, scores in result["splits"].items()
        if (outputs := scores.get("outputs"))
    ]


def _rows(results: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("model", "weights", "run in", "split", "rows", "weighted F1", "macro F1")
    ]
    for result in results:
        for split, scores in result["splits"].items():
            low, high = scores["intervals_95"]["weighted_f1"]
            macro_low, macro_high = scores["intervals_95"]["macro_f1"]
            rows.append(
                (
                    result["model"],
                    result["weights"],
                    result["inference_precision"],
                    split,
                    scores["rows"],
                    f"{scores['weighted_f1']:.4f} ({low:.3f} to {high:.3f})",
                    f"{scores['macro_f1']:.4f} ({macro_low:.3f} to {macro_high:.3f})",
                )
            )
    return rows
