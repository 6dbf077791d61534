"""`ov-emotions calibrate`: temperature calibration, measured and written into a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ov_emotions.cli.shared import (
    Subparsers,
    add_refit_flags,
    open_output,
    print_json,
    table,
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "calibrate",
        help="make probabilities say how often a label is there",
        description="Fit temperatures (Guo et al. 2017) by log-loss on the part `thresholds` of "
        "validation, and measure calibration before and after on the part `selection`. With "
        "--write the IR divides its logits by them and thresholds move along: decisions stay.",
    )
    parser.add_argument("model", help="bundle: shipped name, folder or Hub id")
    parser.add_argument(
        "--temperature",
        choices=("global", "per-label"),
        default="global",
        help="one for all labels, or one each (default: global)",
    )
    parser.add_argument("--html", type=Path, help="write a page with reliability diagrams")
    add_refit_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.evaluation.calibration import calibrate
    from ov_emotions.evaluation.page import render_calibration
    from ov_emotions.files import write_json

    prepared = PreparedData.open(args.data)
    answer = calibrate(Bundle.load(args.model), prepared, args.temperature, args.write)
    if args.output:
        write_json(args.output, answer)
    if args.html:
        with open_output(args.html) as file:
            file.write(render_calibration(answer))
    if args.json:
        print_json(answer)
    else:
        print(table(_rows(answer)))
    return 0


def _rows(answer: dict[str, Any]) -> list[tuple[object, ...]]:
    before, after = answer["before"], answer["after"]
    rows: list[tuple[object, ...]] = [("", "temperature", "before", "after")]
    for label, temperature in answer["temperatures"].items():
        eces = (_ece(side["labels"][label]["ece"]) for side in (before, after))
        rows.append((f"ECE {label}", f"{temperature:.4f}", *eces))
    rows.append(("ECE, all labels", "", *(_ece(side["all"]["ece"]) for side in (before, after))))
    means = (_ece(side["mean_label_ece"]) for side in (before, after))
    rows.append(("ECE, mean of labels", "", *means))
    rows.append(("log-loss", "", *(f"{side['log_loss']:.4f}" for side in (before, after))))
    return rows


def _ece(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
