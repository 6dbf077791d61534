"""`ov-emotions triton build`: a bundle to a model repository of NVIDIA Triton."""

from __future__ import annotations

import argparse
from pathlib import Path

from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    positive_int,
    print_json,
    utf8_stdout,
)

_EPILOG = """\
The Python backend takes texts (text BYTES [N]) and gives probabilities FP32 [N, labels] and labels
BYTES [N], as OpenVINO Model Server does. The server's Python must have the ov-emotions wheel:

    pip install ov-emotions "numpy<2"
    tritonserver --model-repository=REPOSITORY

Triton 2.51 (24.10) needs numpy below 2: with numpy 2 its Python backend misreads texts and dies
("Stub process is not healthy"). Newer ones may do without that.

With --token-in it takes input_ids and attention_mask INT64 [N, T], of callers who tokenise
themselves, and gives probabilities only.

The OpenVINO backend takes input_ids and attention_mask INT64 [N, T], because it knows no strings.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    group: argparse.ArgumentParser = subparsers.add_parser(
        "triton",
        help="serve a model with NVIDIA Triton",
        description="Serve a model with NVIDIA Triton.",
    )
    verbs = group.add_subparsers(metavar="VERB", required=True)
    parser: argparse.ArgumentParser = verbs.add_parser(
        "build",
        help="write a model repository",
        description="Publish a bundle as the next version of a model in Triton's repository.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "bundle", metavar="BUNDLE", help="a shipped name, a bundle's folder or a Hub id"
    )
    parser.add_argument(
        "repository", type=Path, metavar="REPOSITORY", help="folder; made if need be"
    )
    parser.add_argument(
        "--backend",
        choices=("python", "openvino"),
        default="python",
        help="which of Triton's backends runs it (default: python)",
    )
    parser.add_argument(
        "--name",
        help="of the model on the server (default: emotions; emotions-tokens with --token-in)",
    )
    parser.add_argument(
        "--token-in",
        action="store_true",
        help="take input_ids and attention_mask, from callers who tokenise themselves, and give "
        "probabilities without names",
    )
    parser.add_argument(
        "--names",
        choices=("ru", "en"),
        default="ru",
        help="language of the names in labels (default: ru)",
    )
    parser.add_argument(
        "--separator",
        default=", ",
        metavar="TEXT",
        help="between names (default: a comma, a space)",
    )
    parser.add_argument(
        "--long-texts",
        choices=("window", "truncate"),
        default="window",
        help="read a long text whole in windows, or its beginning only (default: window)",
    )
    parser.add_argument(
        "--instances",
        type=positive_int,
        default=1,
        metavar="N",
        help="copies of the model, each works on one request at a time (default: 1)",
    )
    parser.add_argument(
        "--threads", type=positive_int, metavar="N", help="CPU threads of a copy (default: all)"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Publish the bundle.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.serving.publishing import default_name
    from ov_emotions.serving.triton import TritonConfig
    from ov_emotions.serving.triton_repository import build_repository

    config = TritonConfig(
        backend=args.backend,
        name=default_name(args.token_in) if args.name is None else args.name,
        names=args.names,
        separator=args.separator,
        long_texts=args.long_texts,
        instances=args.instances,
        threads=args.threads,
        token_in=args.token_in,
    )
    published = build_repository(Bundle.load(args.bundle), args.repository, config)
    if args.json:
        print_json(published.to_dict())
        return 0
    done = "wrote" if published.changed else "already there:"
    print(
        f"{done} version {published.version} in {published.folder}\n"
        f"serve it: tritonserver --model-repository={args.repository}",
        file=utf8_stdout(),
    )
    return 0
