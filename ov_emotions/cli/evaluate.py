"""`ov-emotions evaluate`: models scored on prepared splits, by any backend."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    add_prepared_flag,
    positive_int,
    print_json,
    table,
)

if TYPE_CHECKING:
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.evaluation import Scored

_WORST = 20


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "evaluate",
        help="score models on held-out data",
        description="Score models on splits of a prepared folder: F1 with bootstrap intervals, at "
        "each model's own thresholds and precision.",
    )
    parser.add_argument(
        "bundles",
        nargs="+",
        help="shipped names, bundles, Hub ids, checkpoint folders, URLs of served models "
        "(http://host:8000/emotions, grpc://…); text-to-text folders too",
    )
    add_prepared_flag(parser)
    parser.add_argument(
        "--split",
        action="append",
        dest="splits",
        help="split, or validation:PART; repeatable (default: validation:selection)",
    )
    parser.add_argument("--precision", choices=("f32", "bf16"), help="instead of the model's")
    parser.add_argument(
        "--metadata-url",
        metavar="URL",
        help="REST URL of a Model Server that is asked over gRPC, which tells no labels there",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="compare every further model with the first by the paired bootstrap",
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="add intervals by label, confusion and the correlation of labels to the figures",
    )
    parser.add_argument(
        "--worst", type=positive_int, metavar="N", help="add the N worst errors of each split"
    )
    parser.add_argument("--output", type=Path, help="write the figures there as JSON too")
    parser.add_argument(
        "--html",
        type=Path,
        help=f"write a page with plots, details and the worst errors ({_WORST} unless --worst)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="BUNDLE",
        help="write the figures into this bundle's manifest and model card: its own, and those of "
        "the other bundles beside them by precision",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.evaluation import data_facts, record_metrics
    from ov_emotions.files import write_json

    if args.compare and len(args.bundles) < 2:
        args.parser.error("--compare needs two models at least")
    prepared = PreparedData.open(args.data)
    splits = args.splits or ["validation:selection"]
    ask = (prepared, splits, args.precision, args.metadata_url)
    pairs = [_evaluate(bundle, *ask) for bundle in args.bundles]
    results = [result for result, _ in pairs]
    answer: dict[str, Any] = {
        "command": shlex.join(["ov-emotions", *sys.argv[1:]]),
        **data_facts(prepared),
        "results": results,
    }
    if args.compare:
        answer["comparisons"] = _compare(args.bundles, pairs)
    if args.record:
        record_metrics(Bundle.load(args.record), results)
    if args.html:
        from ov_emotions.cli.shared import open_output
        from ov_emotions.evaluation.page import render_evaluation

        full = {**answer, "results": _detailed(pairs, True, args.worst or _WORST)}
        with open_output(args.html) as file:
            file.write(render_evaluation(full))
    answer["results"] = _detailed(pairs, args.details, args.worst)
    if args.output:
        write_json(args.output, answer)
    if args.json:
        print_json(answer)
    else:
        print(table(_rows(results)))
        for line in _unparseable(results):
            print(line)
        for comparison in answer.get("comparisons", []):
            print(f"\n{comparison['model']} less {comparison['reference']}")
            print(table(_difference_rows(comparison)))
    return 0


def _evaluate(
    source: str,
    prepared: PreparedData,
    splits: list[str],
    precision: str | None,
    metadata_url: str | None,
) -> tuple[dict[str, Any], list[Scored] | None]:
    """Give the figures, and the decisions where the model gives probabilities."""
    from ov_emotions.training.text_to_text.manifest import is_text_to_text

    if is_text_to_text(source):
        from ov_emotions.training.text_to_text.evaluate import evaluate_text_to_text

        return evaluate_text_to_text(Path(source), prepared, splits, precision), None
    from ov_emotions.evaluation import evaluate_source, open_source

    with open_source(source, precision, metadata_url) as opened:
        return evaluate_source(opened, prepared, splits)


def _detailed(
    pairs: list[tuple[dict[str, Any], list[Scored] | None]], details: bool, worst: int | None
) -> list[dict[str, Any]]:
    from ov_emotions.evaluation.analysis import analyse, worst_errors

    answer = []
    for result, found in pairs:
        splits = dict(result["splits"])
        for scored in found or []:
            more = analyse(scored) if details else {}
            if worst:
                more["worst"] = worst_errors(scored, worst)
            splits[scored.name] = splits[scored.name] | more
        answer.append({**result, "splits": splits})
    return answer


def _compare(
    names: list[str], pairs: list[tuple[dict[str, Any], list[Scored] | None]]
) -> list[dict[str, Any]]:
    from ov_emotions.errors import InputError
    from ov_emotions.evaluation.compare import compare_scored

    kept: list[list[Scored]] = []
    for name, (_, found) in zip(names, pairs, strict=True):
        if found is None:
            raise InputError(f"{name} is a text-to-text model, which --compare does not take yet")
        kept.append(found)
    return [
        {"reference": names[0], "model": name, "splits": compare_scored(kept[0], found)}
        for name, found in zip(names[1:], kept[1:], strict=True)
    ]


def _difference_rows(comparison: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [("F1", "split", "difference", "95 %", "not better")]
    for split, found in comparison["splits"].items():
        means = {"weighted": found["weighted_f1"], "macro": found["macro_f1"]}
        for name, entry in {**means, **found["labels"]}.items():
            span = f"{entry['low']:+.4f} to {entry['high']:+.4f}"
            share = f"{entry['share_not_better']:.1%}"
            rows.append((name, split, f"{entry['value']:+.4f}", span, share))
    return rows


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
