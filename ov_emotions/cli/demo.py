"""`ov-emotions demo`: a page for people, on the same server as the API."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ov_emotions.cli.flags import add_config_flags, config_values
from ov_emotions.cli.serve import run_app
from ov_emotions.cli.shared import Subparsers, add_json_flag
from ov_emotions.errors import InputError
from ov_emotions.server.settings import API_KEY_VARIABLE, ServerSettings

_EPILOG = """\
The page is in Russian and English, and asks nothing of other hosts. The same address answers
programs, as `ov-emotions serve` does: POST /v1/emotions, KServe v2, /metrics, /openapi.json.
"""

# A page that stays open keeps a connection, for which an orderly stop would wait.
_GRACE_SECONDS = 3.0


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="a page to look at: one text, files, dialogues, two models side by side",
        description="Serve a page for people, in Russian and English, and the API beside it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--compare-with",
        action="append",
        default=[],
        metavar="MODEL",
        help="a model to set beside the first: shipped name, bundle's folder or Hub id; may be "
        "given several times, and the shipped ones are there anyway",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="folder that `ov-emotions report` wrote (default: the committed one, in a checkout)",
    )
    add_config_flags(parser, ServerSettings)
    add_json_flag(parser, "print one object when the page is there: url, model, version")


def run(args: argparse.Namespace) -> int:
    """Serve the page until told to stop.

    :param args: the parsed arguments.
    :return: 0 after an orderly stop.
    :raises InputError: if keys are asked for, which the page has none of.
    """
    from ov_emotions.system import require

    for module, extra in (("fastapi", "server"), ("prometheus_client", "server")):
        require(module, extra=extra)
    from ov_emotions.demo.app import PATH, DemoSettings, create_demo_app
    from ov_emotions.server.limits import read_api_keys

    values = config_values(ServerSettings, args)
    settings = replace(ServerSettings(grace_seconds=_GRACE_SECONDS), **values)
    if read_api_keys(settings):
        raise InputError(
            f"the page brings no API key: leave out --api-key-file and {API_KEY_VARIABLE}, and put "
            "a proxy in front that asks for a password, or run `ov-emotions serve` for programs"
        )
    page = DemoSettings(tuple(args.compare_with), args.report)
    return run_app(
        settings, lambda: create_demo_app(settings, page), as_json=args.json, path=f"{PATH}/"
    )
