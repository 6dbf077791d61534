"""`ov-emotions report`: which model to ship, why, and how sure that is."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    make_output_folder,
    positive_int,
    print_json,
)
from ov_emotions.quantization.recipe import recipe_names


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "report",
        help="compare recipes by accuracy and latency, and say which to ship",
        description="Quantize a model by several recipes, score and time them beside fp32 and "
        "torch, and write study.json, report.md, report.html and pareto.svg. Run it on a machine "
        "that does nothing else.",
    )
    parser.add_argument("source", nargs="?", help="checkpoint or fp32 bundle: folder or Hub id")
    parser.add_argument("output", type=Path, help="folder of the report")
    parser.add_argument("--data", type=Path, help="prepared folder")
    parser.add_argument(
        "--recipe",
        action="append",
        dest="recipes",
        help="recipe or .toml file; repeatable (default: all that come with the library)",
    )
    parser.add_argument(
        "--precision",
        action="append",
        dest="precisions",
        choices=("f32", "bf16"),
        help="repeatable (default: those that this CPU has)",
    )
    parser.add_argument(
        "--final-split",
        help="split that confirms the choice, which validation makes; none for no such split "
        "(default: the first test split of the prepared folder, if it has one)",
    )
    parser.add_argument(
        "--max-drop", type=float, default=0.003, help="weighted F1 that may be lost to fp32"
    )
    parser.add_argument("--rounds", type=positive_int, default=5, help="of timing")
    parser.add_argument(
        "--single-texts", type=positive_int, default=150, help="classified one by one in a round"
    )
    parser.add_argument(
        "--offline-texts", type=positive_int, default=400, help="classified in one call in a round"
    )
    parser.add_argument("--bundles", type=Path, help="folder to keep the bundles in")
    parser.add_argument(
        "--from-study", type=Path, metavar="JSON", help="render an earlier study again"
    )
    add_json_flag(parser, "print the study as JSON")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.reports.run import read_study, write_report

    if args.from_study is None and (args.source is None or args.data is None):
        args.parser.error("a source and --data are required, or --from-study")
    if args.from_study is not None and (args.source is not None or args.data is not None):
        args.parser.error("--from-study goes without a source and --data")
    make_output_folder(args.output)
    study = read_study(args.from_study) if args.from_study else _study(args)
    files = write_report(study, args.output)
    written = read_study(files[0])
    if args.json:
        print_json(written)
        return 0
    verdict = written["verdict"]
    print(verdict["sentence"])
    for reason in verdict["reasons"]:
        print(f"- {reason}")
    print("wrote " + ", ".join(str(path) for path in files))
    return 0


def _study(args: argparse.Namespace) -> dict[str, Any]:
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.quantization.study import StudyConfig, run_study

    prepared = PreparedData.open(args.data)
    final = prepared.test_split if args.final_split is None else args.final_split
    config = StudyConfig(
        source=args.source,
        recipes=tuple(args.recipes or recipe_names()),
        precisions=tuple(args.precisions or ()),
        final_split=None if final == "none" else final,
        max_drop=args.max_drop,
        rounds=args.rounds,
        single_texts=args.single_texts,
        offline_texts=args.offline_texts,
        bundles=args.bundles,
    )
    with Progress("steps") as progress:
        study = run_study(config, prepared, progress.update)
    return {"command": shlex.join(["ov-emotions", *sys.argv[1:]]), **study}
