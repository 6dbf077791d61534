"""`ov-emotions quantize`: an fp32 bundle to an INT8 bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    positive_int,
    print_json,
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb.

    :param subparsers: of the command.
    """
    parser = subparsers.add_parser(
        "quantize",
        help="quantize a bundle to INT8",
        description="Quantize an fp32 bundle to INT8 with NNCF, calibrated on the validation set, "
        "and refit its thresholds on the INT8 model.",
    )
    parser.add_argument("bundle", help="fp32 bundle: folder or Hub id")
    parser.add_argument("output", type=Path, help="folder of the INT8 bundle; replaced as a whole")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--subset-size", type=positive_int, default=300, help="calibration texts")
    parser.add_argument(
        "--preset",
        choices=("mixed", "performance"),
        default="mixed",
        help="mixed keeps activations asymmetric",
    )
    parser.add_argument(
        "--smooth-quant-alpha", type=float, default=0.95, help="in [0, 1]; -1 for no SmoothQuant"
    )
    parser.add_argument(
        "--float-embeddings", action="store_true", help="leave the embedding tables in float"
    )
    parser.add_argument("--seed", type=int, default=20261122, help="of the calibration subset")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    :param args: parsed arguments.
    :return: the exit code.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.prepare import PreparedData
    from ov_emotions.manifest import MANIFEST_NAME, WEIGHTS_NAME
    from ov_emotions.quantization.ptq import PtqConfig
    from ov_emotions.quantization.run import quantize_bundle

    check_output_folder(args.output, MANIFEST_NAME)
    config = PtqConfig(
        subset_size=args.subset_size,
        preset=args.preset,
        smooth_quant_alpha=args.smooth_quant_alpha,
        embeddings=not args.float_embeddings,
        seed=args.seed,
    )
    source = Bundle.load(args.bundle)
    bundle = quantize_bundle(source, PreparedData.open(args.data), args.output, config)
    sizes = [(b.folder / WEIGHTS_NAME).stat().st_size for b in (source, bundle)]
    record = bundle.manifest.provenance["quantization"]
    if args.json:
        print_json({"bundle": str(bundle.folder), "bytes": sizes[1], "quantization": record})
        return 0
    print(f"wrote {bundle.folder}: {sizes[0] / 1e6:.1f} MB to {sizes[1] / 1e6:.1f} MB")
    return 0
