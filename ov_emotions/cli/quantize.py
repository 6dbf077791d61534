"""`ov-emotions quantize`: an fp32 bundle or a checkpoint to the bundle that a recipe makes."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    positive_int,
    print_json,
)
from ov_emotions.quantization.recipe import (
    DEFAULT_RECIPE,
    load_recipe,
    recipe_names,
    with_subset_size,
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "quantize",
        help="make a model smaller and faster by a recipe",
        description="Follow a recipe on a model with fp32 weights (INT8 with NNCF, calibrated on "
        "the validation set, unless another is named) and refit its thresholds on the result.",
        epilog="`ov-emotions quantize --recipes` says what each recipe does.",
    )
    parser.add_argument("source", nargs="?", help="fp32 bundle or checkpoint: a folder or a Hub id")
    parser.add_argument(
        "output", nargs="?", type=Path, help="folder of the new bundle; replaced as a whole"
    )
    parser.add_argument("--data", type=Path, help="prepared folder")
    parser.add_argument(
        "--recipe",
        default=DEFAULT_RECIPE,
        help=f"{', '.join(recipe_names())}, or a .toml file (default: {DEFAULT_RECIPE})",
    )
    parser.add_argument(
        "--precision",
        choices=("f32", "bf16"),
        help="inference precision that the thresholds are fitted at and the bundle is approved at "
        "(default: the source's)",
    )
    parser.add_argument(
        "--subset-size",
        type=positive_int,
        metavar="N",
        help="calibration texts (default: the recipe's); for own data that have fewer",
    )
    parser.add_argument(
        "--record",
        type=Path,
        help="JSON file for the command, what was done and found, versions and machine",
    )
    parser.add_argument("--recipes", action="store_true", help="list the recipes and do nothing")
    add_json_flag(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    if args.recipes:
        return _list_recipes(args.json)
    if args.source is None or args.output is None or args.data is None:
        args.parser.error("a source, an output folder and --data are required")
    from ov_emotions.bundle import MANIFEST_NAME, WEIGHTS_NAME
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.files import write_json
    from ov_emotions.quantization.run import quantize_bundle
    from ov_emotions.quantization.source import fp32_bundle
    from ov_emotions.system import environment

    check_output_folder(args.output, MANIFEST_NAME)
    if args.record is not None and not args.record.parent.is_dir():
        args.parser.error(f"--record: there is no folder {args.record.parent}")
    recipe = load_recipe(args.recipe)
    if args.subset_size is not None:
        recipe = with_subset_size(recipe, args.subset_size)
    prepared = PreparedData.open(args.data)
    with fp32_bundle(args.source, prepared) as source:
        bundle = quantize_bundle(source, prepared, args.output, recipe, args.precision)
        sizes = [(b.folder / WEIGHTS_NAME).stat().st_size for b in (source, bundle)]
    record = bundle.manifest.provenance["quantization"]
    if args.record is not None:
        write_json(
            args.record,
            {
                "command": shlex.join(["ov-emotions", *sys.argv[1:]]),
                "bytes": {"fp32": sizes[0], "made": sizes[1]},
                "quantization": record,
                "environment": environment("openvino", "nncf", "numpy"),
            },
        )
    if args.json:
        print_json({"bundle": str(bundle.folder), "bytes": sizes[1], "quantization": record})
        return 0
    reverted = record.get("reverted_operations")
    if reverted is not None:
        within = "within" if record["reached"] else "NOT within"
        print(
            f"accuracy control: {len(reverted)} operations back in float, weighted F1 drop "
            f"{record['plain_drop']:+.4f} before and {record['final_drop']:+.4f} after, {within} "
            f"{record['max_drop']}, on {record['validation_texts']:,} texts"
        )
    if "served_drop" in record:
        print(f"drop at {record['served_precision']}, as served: {record['served_drop']:+.4f}")
    print(f"wrote {bundle.folder}: {sizes[0] / 1e6:.1f} MB to {sizes[1] / 1e6:.1f} MB")
    return 0


def _list_recipes(as_json: bool) -> int:
    recipes = [load_recipe(name) for name in recipe_names()]
    if as_json:
        print_json([recipe.to_dict() for recipe in recipes])
        return 0
    for recipe in recipes:
        print(f"{recipe.name} ({recipe.weights})\n    {recipe.description}")
    return 0
