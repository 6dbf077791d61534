"""The driver's command line."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from benchmarks.serving import steady
from benchmarks.serving.load import run_precisely
from benchmarks.serving.measure import Measured, Plan, measure
from benchmarks.serving.noise import Others
from benchmarks.serving.table import for_readme, for_terminal, load_results, update_readme
from benchmarks.serving.target import (
    SPLIT,
    Endpoint,
    Target,
    choose_texts,
    find_targets,
    served_by_triton,
)
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import add_setting, given_values, positive_int, settings
from ov_emotions.cli.output import open_output, print_json, utf8_stdout
from ov_emotions.client.check import check_server
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.url import parse_url
from ov_emotions.errors import InputError, OvEmotionsError, ServerError
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
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(given)
    args.command = shlex.join(["python", "-m", "benchmarks.serving", *given])
    try:
        code: int = args.run(args)
    except (OvEmotionsError, OSError) as error:
        print(f"benchmarks.serving: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks.serving: interrupted", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
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
        "--model",
        metavar="BUNDLE",
        help="what they serve: its answers are checked before, and its tokeniser makes the tokens "
        "where a server takes them",
    )
    run.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="sent with every request, but not written to the output; repeatable",
    )
    run.add_argument("--ca-file", type=Path, metavar="PEM", help="certificates to trust")
    _add_common(run)
    triton = verbs.add_parser("triton", help="start a real Triton server and measure it")
    triton.set_defaults(run=run_triton)
    triton.add_argument(
        "--models", nargs="+", default=list(SHIPPED), help="bundles (default: those shipped)"
    )
    triton.add_argument(
        "--threads", type=positive_int, metavar="N", help="of each model (default: all cores)"
    )
    _add_common(triton)
    steady.add_parser(verbs)
    shown = verbs.add_parser("table", help="the README's table, from the committed figures")
    shown.set_defaults(run=run_table)
    shown.add_argument("--write", action="store_true", help="put it into the README")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="what `data prepare` wrote")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument(
        "--batch", type=positive_int, default=1, metavar="N", help="texts in a request (default: 1)"
    )
    parser.add_argument(
        "--texts", type=positive_int, default=2000, metavar="N", help="to send (default: 2000)"
    )
    parser.add_argument(
        "--seed", type=_seed, default=20261125, metavar="N", help="of their choice and order"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="X",
        help="seconds after which a request has failed (default: 5)",
    )
    for setting in settings(Plan):
        add_setting(parser, setting)
    parser.add_argument("--json", action="store_true", help="print the JSON in place of tables")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def run_endpoints(args: argparse.Namespace) -> int:
    """Measure endpoints that run already.

    :param args: the parsed arguments.
    :return: 0; 1 if nothing was answered.
    """
    headers = {}
    for text in args.header:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError("a header is given as NAME=VALUE")
        headers[name] = value
        args.command = args.command.replace(shlex.quote(text), f"{name}=...")
    options = _options(args, headers=headers, ca_file=args.ca_file)
    bundle = None if args.model is None else Bundle.load(args.model)
    named = [_named(text) for text in args.endpoints]
    endpoints = [
        Endpoint(name, url, bundle, None if not position else named[0][0])
        for position, (name, url) in enumerate(named)
    ]
    with _job(args) as job:
        return _report(args, job, endpoints, options)


def run_triton(args: argparse.Namespace) -> int:
    """Start Triton with the bundles and measure it.

    :param args: the parsed arguments.
    :return: 0; 1 if nothing was answered.
    """
    options = _options(args)
    with _job(args) as job, served_by_triton(args.models, args.threads) as endpoints:
        return _report(args, job, endpoints, options)


def run_table(args: argparse.Namespace) -> int:
    """Print the README's table, or put it there.

    :param args: the parsed arguments.
    :return: 0.
    """
    if args.write:
        update_readme()
    else:
        print(for_readme(load_results()), file=utf8_stdout())
    return 0


@dataclass(frozen=True)
class _Job:
    """What was asked for, found to be possible before anything is started."""

    plan: Plan
    texts: list[str]
    output: TextIO | None


@contextmanager
def _job(args: argparse.Namespace) -> Iterator[_Job]:
    plan = Plan(**given_values(settings(Plan), args))
    texts = choose_texts(args.data, args.texts, args.seed)
    with nullcontext() if args.output is None else open_output(args.output) as output:
        yield _Job(plan, texts, output)


def _options(args: argparse.Namespace, **rest: Any) -> ServerOptions:
    # Repetitions would hide failures; as many connections as there are requests under way.
    return ServerOptions(
        timeout=args.timeout, deadline=args.timeout, attempts=1, concurrency=512, **rest
    )


def _named(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if equals and "://" not in name:
        return name, url
    return text, text


def _report(
    args: argparse.Namespace, job: _Job, endpoints: list[Endpoint], options: ServerOptions
) -> int:
    plan, texts = job.plan, job.texts
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
    if job.output is not None:
        job.output.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")
    if args.json:
        print_json(answer)
    else:
        print(for_terminal(answer), file=utf8_stdout())
    answered = any(figures.requests for result in measured.results for figures in result.closed)
    return 0 if answered else 1


async def _measure(
    endpoints: Sequence[Endpoint],
    texts: Sequence[str],
    batch: int,
    options: ServerOptions,
    plan: Plan,
    bar: Bar,
) -> Measured:
    targets: list[Target] = []
    for endpoint in endpoints:
        targets += await find_targets(endpoint, texts, batch, options)
        if endpoint.bundle is not None:
            await _check(endpoint, options)
    return await measure(targets, plan, lambda done, all_, name: bar.update(done, all_, name))


async def _check(endpoint: Endpoint, options: ServerOptions) -> None:
    """Refuse to time a server that answers something else than its bundle."""
    expected = expected_model(endpoint.bundle)
    report = await check_server(endpoint.url, expected=expected, options=options, requests=1)
    if not report.ok:
        wrong = next(step for step in report.steps if not step.ok)
        raise ServerError(f"{endpoint.url}: {wrong.name}: {wrong.detail}")
