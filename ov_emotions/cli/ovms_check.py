"""`ov-emotions ovms check`: whether a server is live, ready, right, answering, and how fast."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    positive_int,
    print_json,
    utf8_stdout,
)

if TYPE_CHECKING:
    from ov_emotions.client.check import CheckReport

_EPILOG = """\
URL is grpc://HOST:9000/MODEL or http://HOST:8000/MODEL (grpcs:// and https:// with TLS), also of
NVIDIA Triton; tfs+grpc:// or tfs+http:// for OpenVINO Model Server up to 2026.2.1. Over gRPC Model
Server does not tell what its model is: give --metadata-url or --model.

The exit code is 0 if all is well and 1 if not. The times are seen from here, network included.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check",
        help="see whether a server serves the right model and answers",
        description="See whether a server is live, ready, serves the right model, answers, and how "
        "fast.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("url", metavar="URL", help="of the served model")
    parser.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help="what should be served (a shipped name, a bundle's folder or a Hub id); its answers "
        "are compared too",
    )
    parser.add_argument("--metadata-url", metavar="URL", help="REST URL of the same server")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="S", help="seconds a request (default: 10)"
    )
    parser.add_argument(
        "--requests", type=positive_int, default=20, metavar="N", help="to time (default: 20)"
    )
    parser.add_argument(
        "--header",
        action="append",
        type=_header,
        default=[],
        metavar="NAME=VALUE",
        help="sent with every request; may be given several times",
    )
    parser.add_argument("--ca-file", type=Path, metavar="PEM", help="certificates to trust")
    parser.add_argument("--cert-file", type=Path, metavar="PEM", help="the client's certificate")
    parser.add_argument("--key-file", type=Path, metavar="PEM", help="its private key")
    add_json_flag(parser)


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("a header is given as NAME=VALUE")
    return name, value


def run(args: argparse.Namespace) -> int:
    """Look at the server and print what was found.

    :param args: the parsed arguments.
    :return: 0 if all is well, else 1.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.client.check import check_server
    from ov_emotions.client.options import ServerOptions

    options = ServerOptions(
        timeout=args.timeout,
        deadline=args.timeout,
        attempts=1,
        headers=dict(args.header),
        ca_file=args.ca_file,
        cert_file=args.cert_file,
        key_file=args.key_file,
    )
    report = asyncio.run(
        check_server(
            args.url,
            bundle=None if args.model is None else Bundle.load(args.model),
            metadata_url=args.metadata_url,
            options=options,
            requests=args.requests,
        )
    )
    if args.json:
        print_json(report.to_dict())
    else:
        print(_page(report), file=utf8_stdout())
    return 0 if report.ok else 1


def _page(report: CheckReport) -> str:
    marks = {True: "ok", False: "FAILED", None: "-"}
    width = max(len(step.name) for step in report.steps)
    lines = [
        f"{step.name.ljust(width)}  {marks[step.ok].ljust(6)}  {step.detail}"
        for step in report.steps
    ]
    return "\n".join([report.url, *lines])
