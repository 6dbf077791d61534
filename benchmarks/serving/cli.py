"""The driver's command line."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common import SPLIT, add_flags, renew, run_command
from benchmarks.serving import steady
from benchmarks.serving.load import run_precisely
from benchmarks.serving.measure import Campaign, Plan
from benchmarks.serving.noise import Others
from benchmarks.serving.table import README, for_readme, for_terminal
from benchmarks.serving.target import (
    Endpoint,
    Target,
    choose_texts,
    find_targets,
    open_answer,
    served_by_triton,
)
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import add_setting, given_values, positive_int, settings
from ov_emotions.cli.output import print_json, utf8_stdout
from ov_emotions.client.check import check_server
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.url import parse_url
from ov_emotions.errors import InputError, ServerError
from ov_emotions.quantization.timing import judge_noise
from ov_emotions.remote import expected_model
from ov_emotions.system import environment

LOCAL = "http://127.0.0.1:8000/emotions"
PACKAGES = ("openvino", "tritonclient", "grpcio", "aiohttp", "tokenizers", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line if None.
    :return: 0 fine, 1 failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="Load on model servers that speak KServe v2; see benchmarks/serving/README.md.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    run = verbs.add_parser("run", help="measure endpoints; with several, in turns")
    run.set_defaults(run=run_endpoints)
    run.add_argument(
        "endpoints",
        nargs="*",
        default=[LOCAL],
        metavar="[NAME=]URL",
        help=f"of served models, http(s):// or grpc(s)://; the later ones are compared with the "
        f"first (default: {LOCAL})",
    )
    run.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="sent with every request, but not written to the output; repeatable",
    )
    add_flags(
        run,
        model=(
            str,
            None,
            "the bundle that they serve: its answers are checked before, and its tokeniser makes "
            "the tokens where a server takes them",
        ),
        ca_file=(Path, None, "certificates to trust, PEM"),
    )
    triton = verbs.add_parser("triton", help="start a real Triton server and measure it")
    triton.set_defaults(run=run_triton)
    triton.add_argument(
        "--models", nargs="+", default=list(SHIPPED), help="bundles (default: those shipped)"
    )
    add_flags(triton, threads=(positive_int, None, "of each model (default: all cores)"))
    for part in (run, triton):
        add_flags(
            part,
            data=(Path, ..., "what `data prepare` wrote"),
            output=(Path, None, "JSON to write"),
            batch=(positive_int, 1, "texts in a request"),
            texts=(positive_int, 2000, "to send"),
            seed=(_seed, 20261125, "of their choice and order"),
            timeout=(float, 5.0, "seconds after which a request has failed"),
        )
        for setting in settings(Plan):
            add_setting(part, setting)
        part.add_argument("--json", action="store_true", help="print the JSON in place of tables")
    steady.add_parser(verbs)
    shown = verbs.add_parser("table", help="the README's tables, from the committed figures")
    shown.set_defaults(run=run_table)
    shown.add_argument("--write", action="store_true", help="put them into the README")
    return run_command(parser, arguments)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def run_endpoints(args: argparse.Namespace) -> int:
    """Measure endpoints that run already; 1 if nothing was answered."""
    headers = {}
    for text in args.header:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError("a header is given as NAME=VALUE")
        headers[name] = value
        args.command = args.command.replace(shlex.quote(text), f"{name}=...")
    bundle = None if args.model is None else Bundle.load(args.model)
    named = [_named(text) for text in args.endpoints]
    endpoints = [
        Endpoint(name, url, bundle, named[0][0] if position else None)
        for position, (name, url) in enumerate(named)
    ]
    return _report(args, nullcontext(endpoints), headers=headers, ca_file=args.ca_file)


def run_triton(args: argparse.Namespace) -> int:
    """Start Triton with the bundles and measure it; 1 if nothing was answered."""
    return _report(args, served_by_triton(args.models, args.threads))


def run_table(args: argparse.Namespace) -> int:
    """Print the README's tables, or put them there."""
    if args.write:
        renew(README, for_readme())
    else:
        print(for_readme(), file=utf8_stdout())
    return 0


def _named(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if equals and "://" not in name:
        return name, url
    return text, text


def _report(
    args: argparse.Namespace, served: AbstractContextManager[list[Endpoint]], **connection: Any
) -> int:
    # Repetitions would hide failures; as many connections as there are requests under way.
    options = ServerOptions(
        timeout=args.timeout, deadline=args.timeout, attempts=1, concurrency=512, **connection
    )
    plan = Plan(**given_values(settings(Plan), args))
    texts = choose_texts(args.data, args.texts, args.seed)
    # What was asked for is found to be possible before anything is started.
    with open_answer(args.output) as write, served as endpoints:
        others = Others(parse_url(endpoint.url) for endpoint in endpoints)
        load = os.getloadavg()[0]
        with Bar("steps") as bar:
            measured = run_precisely(_measure(endpoints, texts, args.batch, options, plan, bar))
        answer = {
            "command": args.command,
            "split": SPLIT,
            "seed": args.seed,
            "texts": len(texts),
            "texts_per_request": args.batch,
            "load_average_before": round(load, 2),
            "noise": {
                **judge_noise(measured.round_latencies(), *others.since()),
                "other_processes_counted": others.seen,
            },
            **environment(*PACKAGES),
            "plan": asdict(plan),
            **measured.to_dict(),
        }
        write(answer)
        if args.json:
            print_json(answer)
        else:
            print(for_terminal(answer), file=utf8_stdout())
    answered = any(level["requests"] for target in answer["targets"] for level in target["closed"])
    return 0 if answered else 1


async def _measure(
    endpoints: Sequence[Endpoint],
    texts: Sequence[str],
    batch: int,
    options: ServerOptions,
    plan: Plan,
    bar: Bar,
) -> Campaign:
    targets: list[Target] = []
    for endpoint in endpoints:
        targets += await find_targets(endpoint, texts, batch, options)
        if endpoint.bundle is not None:
            await _check(endpoint, options)
    campaign = Campaign(plan, targets, bar.update)
    await campaign.run()
    return campaign


async def _check(endpoint: Endpoint, options: ServerOptions) -> None:
    """Refuse to time a server that answers something else than its bundle."""
    expected = expected_model(endpoint.bundle)
    report = await check_server(endpoint.url, expected=expected, options=options, requests=1)
    if not report.ok:
        wrong = next(step for step in report.steps if not step.ok)
        raise ServerError(f"{endpoint.url}: {wrong.name}: {wrong.detail}")
