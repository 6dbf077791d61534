"""The driver's command line: endpoints that run, a Triton that it starts, `serve`, the tables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from benchmarks.common import (
    SPLIT,
    Natural,
    command,
    command_line,
    load,
    record,
    rendered,
    renew,
)
from benchmarks.serving.load import run_precisely
from benchmarks.serving.measure import Campaign, Plan
from benchmarks.serving.steady import serve
from benchmarks.serving.target import (
    Endpoint,
    Target,
    choose_texts,
    find_targets,
    served_by_triton,
)
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.output import open_output, print_json, print_text
from ov_emotions.client.check import check_server
from ov_emotions.client.options import ServerOptions
from ov_emotions.errors import InputError, ServerError
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise
from ov_emotions.remote import expected_model
from ov_emotions.schema import Count, Flag, to_json

README = Path(__file__).with_name("README.md")
LOCAL = "http://127.0.0.1:8000/emotions"
PACKAGES = "openvino tritonclient grpcio aiohttp tokenizers numpy"


@dataclass(frozen=True)
class Sent:
    """What is sent, and what becomes of the figures.

    :param data: what `data prepare` wrote.
    :param output: JSON to write.
    :param batch: texts in a request.
    :param texts: to send.
    :param seed: of their choice and order.
    :param timeout: seconds after which a request has failed.
    :param json: print the JSON in place of tables.
    """

    data: Path
    output: Path | None = None
    batch: Count = 1
    texts: Count = 2000
    seed: Natural = 20261125
    timeout: float = 5.0
    json: bool = False


def run(
    endpoints: tuple[str, ...] = (LOCAL,),
    *,
    header: Annotated[tuple[str, ...], Flag(metavar="NAME=VALUE", each=True)] = (),
    model: str | None = None,
    ca_file: Path | None = None,
    sent: Sent,
    plan: Plan,
) -> int:
    """Measure endpoints that run already; with several, in turns.

    :param endpoints: URLs of served models, http(s):// or grpc(s)://, with `NAME=` before them or
        not; the later ones are compared with the first.
    :param header: sent with every request, but not written to the output.
    :param model: the bundle that they serve: its answers are checked before, and its tokeniser
        makes the tokens where a server takes them.
    :param ca_file: certificates to trust, PEM.
    :return: 1 if nothing was answered.
    """
    bundle = None if model is None else Bundle.load(model)
    named = [_named(text) for text in endpoints]
    found = [
        Endpoint(name, url, bundle, named[0][0] if position else None)
        for position, (name, url) in enumerate(named)
    ]
    written, headers = command_line(), {}
    for text in header:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError("a header is given as NAME=VALUE")
        headers[name] = value
        written = written.replace(shlex.quote(text), f"{name}=...")
    return _report(nullcontext(found), sent, plan, written, headers=headers, ca_file=ca_file)


def triton(
    *, models: tuple[str, ...] = SHIPPED, threads: Count | None = None, sent: Sent, plan: Plan
) -> int:
    """Start a real Triton server with bundles and measure it.

    :param models: bundles.
    :param threads: of each model (default: all cores).
    :return: 1 if nothing was answered.
    """
    return _report(served_by_triton(models, threads), sent, plan, command_line())


def table(*, write: bool = False) -> None:
    """Print the README's tables, from the committed figures."""
    if write:
        renew(README, for_readme())
    else:
        print_text(for_readme())


def for_readme() -> str:
    """Render the sections of README.md from the committed figures, with their marks."""
    return rendered(
        "serving.md",
        results=load("serving.json"),
        servers=load("servers-measured.json"),
        graphs=[load(f"serving-graph{end}.json") for end in ("", "-tiny")],
        memory=load("serving-memory.json"),
        steady=load("server-load.json"),
        goodput=load("goodput.json"),
        older=[load(f"goodput-avx2{end}.json") for end in ("", "-tiny")],
    )


def _named(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    return (name, url) if equals and "://" not in name else (text, text)


def _report(
    served: AbstractContextManager[list[Endpoint]],
    sent: Sent,
    plan: Plan,
    written: str,
    **connection: Any,
) -> int:
    # Repetitions would hide failures; as many connections as there are requests under way.
    options = ServerOptions(
        timeout=sent.timeout, deadline=sent.timeout, attempts=1, concurrency=512, **connection
    )
    texts = choose_texts(sent.data, sent.texts, sent.seed)
    # What was asked for is found to be possible before anything is started.
    with open_output(sent.output) if sent.output else nullcontext() as file, served as endpoints:
        before, busy = cpu_jiffies(), os.getloadavg()[0]
        with Bar("steps") as bar:
            measured = run_precisely(_measure(endpoints, texts, sent.batch, options, plan, bar))
        answer = record(
            None,
            PACKAGES,
            split=SPLIT,
            seed=sent.seed,
            texts=len(texts),
            texts_per_request=sent.batch,
            load_average_before=round(busy, 2),
            noise=judge_noise(measured.round_latencies(), before, cpu_jiffies()),
            plan=asdict(plan),
            **measured.to_dict(),
        )
        answer["command"] = written
        if file is not None:
            file.write(to_json(answer))
    if sent.json:
        print_json(answer)
    else:
        print_text(rendered("driver_run.md", answer=answer))
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
        if endpoint.bundle is None:
            continue
        # A server that answers something else than its bundle is not timed.
        expected = expected_model(endpoint.bundle)
        report = await check_server(endpoint.url, expected=expected, options=options, requests=1)
        if not report.ok:
            wrong = next(step for step in report.steps if not step.ok)
            raise ServerError(f"{endpoint.url}: {wrong.name}: {wrong.detail}")
    campaign = Campaign(plan, targets, bar.update)
    await campaign.run()
    return campaign


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `benchmarks.common.command`."""
    return command("benchmarks.serving", run, triton, serve, table, given=arguments)
