"""`ov-emotions export`: a checkpoint to an fp32 bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    print_json,
    table,
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "export",
        help="convert a checkpoint to OpenVINO IR",
        description="Convert a checkpoint to an fp32 OpenVINO bundle and check it against torch on "
        "real texts of every length group.",
    )
    parser.add_argument("checkpoint", type=Path, help="folder that `train` wrote (RUN/best)")
    parser.add_argument("output", type=Path, help="folder of the bundle; replaced as a whole")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--name", help="name of the bundle (default: the output folder's)")
    parser.add_argument("--base-model", default="", help="published name of the encoder")
    parser.add_argument("--base-licence", default="unknown", help="SPDX licence of the encoder")
    parser.add_argument("--licence", default="unknown", help="SPDX licence of the bundle")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.bundle import MANIFEST_NAME
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.export import ExportConfig, export_bundle, parity_texts

    check_output_folder(args.output, MANIFEST_NAME)
    prepared = PreparedData.open(args.data)
    config = ExportConfig(
        args.checkpoint,
        args.output,
        args.name or args.output.resolve().name,
        args.base_model,
        args.base_licence,
        args.licence,
    )
    bundle, parity = export_bundle(config, parity_texts(prepared))
    if args.json:
        print_json({"bundle": str(bundle.folder), "parity": parity.to_dict()})
        return 0
    rows: list[tuple[object, ...]] = [("tokens", "texts", "largest logit difference to torch")]
    rows += [
        (name, group["texts"], f"{group['largest_difference']:.1e}")
        for name, group in parity.groups.items()
    ]
    print(table(rows))
    print(f"wrote {bundle.folder}")
    return 0
