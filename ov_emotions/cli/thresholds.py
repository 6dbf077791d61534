"""`ov-emotions thresholds`: decision thresholds fitted on validation, and how good each way is."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from ov_emotions.cli.shared import Subparsers, add_refit_flags, print_json, table
from ov_emotions.thresholds import METHODS, Metric


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "thresholds",
        help="fit decision thresholds, and compare ways to",
        description="Fit thresholds on the part `thresholds` of validation. Every way is scored by "
        "nested cross-fitting: on rows that had no part in its thresholds. Ways: "
        + "; ".join(f"{name}: {told}" for name, told in METHODS.items())
        + ".",
    )
    parser.add_argument(
        "model", help="bundle (shipped name, folder, Hub id), checkpoint folder or server URL"
    )
    parser.add_argument(
        "--method",
        choices=tuple(METHODS),
        default="bootstrap-median",
        help="way to fit (default: bootstrap-median)",
    )
    parser.add_argument(
        "--metric",
        choices=get_args(Metric),
        default="weighted",
        help="mean of the labels' F1 to fit for, where a way weighs labels (default: weighted)",
    )
    parser.add_argument("--seed", type=int, default=20261122, help="of the folds")
    add_refit_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.errors import InputError
    from ov_emotions.evaluation.run import predict_rows
    from ov_emotions.evaluation.sources import open_source
    from ov_emotions.files import write_json
    from ov_emotions.thresholds import compare_methods, sigmoid, threshold_fitter, with_thresholds

    if args.seed < 0:
        raise InputError(f"--seed must be at least 0, not {args.seed}")
    part = "validation:thresholds"
    with open_source(args.model) as source:
        if args.write and source.facts["backend"] != "openvino":
            raise InputError(f"{args.model} is no bundle; --write needs one (export it first)")
        data, logits = predict_rows(source, PreparedData.open(args.data), part)
    probabilities = sigmoid(logits)
    scores = compare_methods(probabilities, data.targets, args.metric, args.seed)
    fitted = threshold_fitter(args.method, args.metric, args.seed)(probabilities, data.targets)
    values = {name: float(v) for name, v in zip(source.labels, fitted, strict=True)}
    record = {
        "method": args.method,
        "metric": args.metric,
        "seed": args.seed,
        "fitted_on": part,
        "rows": len(data),
    }
    answer: dict[str, Any] = {
        **source.facts,
        "fitted": {**record, "thresholds": values},
        "cross_fitted": [score.to_dict() for score in scores],
    }
    if args.write:
        with_thresholds(Bundle.load(args.model), args.write, fitted, record)
    if args.output:
        write_json(args.output, answer)
    if args.json:
        print_json(answer)
        return 0
    rows: list[tuple[object, ...]] = [("way", "weighted F1", "macro F1")]
    rows += [
        (s.method, *(f"{v:.4f} ± {d:.4f}" for v, d in zip(pair, s.spread, strict=True)))
        for s in scores
        for pair in [(s.weighted_f1, s.macro_f1)]
    ]
    print(table(rows))
    print(f"\n{args.method}, for {args.metric} F1:")
    print(table([("label", "threshold"), *((k, f"{v:.4f}") for k, v in values.items())]))
    return 0
