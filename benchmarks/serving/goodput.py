"""What `ov-emotions serve` makes of too much, and of many single texts, beside what could be had.

    python -m benchmarks.serving.goodput --data FOLDER --output FILE

Every round measures, one after another:

- `in process`: lists by `EmotionClassifier`, in this process;
- `in a row`: one client, requests of `--large` texts: the capacity for large requests;
- `overload`: such requests arriving at `--times` that capacity, answered or not. Goodput counts the
  texts that were answered, until the last answer;
- `single texts`: `--clients` clients of one text a request, each again as soon as it was answered.

The clients write and read bytes by hand, so that they take little of the CPU that the server wants.
What they took is told, as is what the server took: of all cores, from 0 to 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.common import add_flags
from benchmarks.serving.steady import served
from benchmarks.serving.target import choose_texts
from ov_emotions.bundle import DEFAULT_MODEL
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.frame import positive_int
from ov_emotions.files import write_json
from ov_emotions.server.settings import ENVIRONMENT
from ov_emotions.system import cpu_budget, environment

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_AFTER = re.compile(rb"retry-after: (\d+)", re.IGNORECASE)


class Client:
    """A connection that stays open, and bytes that are sent over it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def request(self, texts: Sequence[str]) -> bytes:
        body = json.dumps({"texts": list(texts)}, ensure_ascii=False).encode()
        head = (
            f"POST /v1/emotions HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def send(self, request: bytes) -> tuple[int, int]:
        """Send a request, and read its answer: the status, and Retry-After or 0."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length, after = _LENGTH.search(head), _AFTER.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(b" ", 2)[1]), int(after[1]) if after else 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


@dataclass
class Load:
    """One kind of load on a server, and what it saw.

    :param texts: to ask for.
    :param answered: texts that were answered.
    :param seconds: until the last answer.
    :param statuses: answers by status.
    :param latencies: seconds of each answer with status 200.
    :param refused: seconds until each other answer.
    :param retry_after: seconds that refusals named.
    :param driver: share of all cores that the driver took.
    :param server: share of all cores that the server took.
    """

    url: str
    texts: Sequence[str]
    answered: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)
    driver: float = 0.0
    server: float = 0.0

    @property
    def rate(self) -> float:
        """Texts a second."""
        return self.answered / self.seconds

    def run(self, load: Callable[[Load], Coroutine[Any, Any, None]]) -> Load:
        """Run the load to its end."""
        cores = cpu_budget().cores
        server, driver, start = self._server_cpu(), time.process_time(), time.perf_counter()
        asyncio.run(load(self))
        took = time.perf_counter() - start
        self.driver = (time.process_time() - driver) / took / cores
        self.server = (self._server_cpu() - server) / took / cores
        self.seconds = self.seconds or took
        return self

    async def in_a_row(self, size: int, seconds: float) -> None:
        """Let one client ask, again as soon as it was answered."""
        client, start, number = Client(self.url), time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            await self._ask(client, client.request(self._some(number, size)), size, start)
            number += 1
        client.close()

    async def overload(self, size: int, rate: float, seconds: float) -> None:
        """Let requests arrive evenly, answered or not."""
        start = time.perf_counter()

        async def one(number: int) -> None:
            client = Client(self.url)
            request = client.request(self._some(number, size))
            await asyncio.sleep(max(start + number / rate - time.perf_counter(), 0))
            await self._ask(client, request, size, start)
            client.close()

        await asyncio.gather(*(one(number) for number in range(max(1, int(rate * seconds)))))

    async def singles(self, clients: int, seconds: float) -> None:
        """Let clients ask for one text, each again as soon as it was answered."""
        start = time.perf_counter()
        requests = [Client(self.url).request([text]) for text in self.texts]

        async def one(number: int) -> None:
            client, at = Client(self.url), number * len(requests) // clients
            while time.perf_counter() - start < seconds:
                await self._ask(client, requests[at % len(requests)], 1, start)
                at += 1
            client.close()

        await asyncio.gather(*(one(number) for number in range(clients)))

    async def _ask(self, client: Client, request: bytes, size: int, start: float) -> None:
        sent = time.perf_counter()
        status, after = await client.send(request)
        now = time.perf_counter()
        self.statuses[status] += 1
        if status == 200:
            self.answered += size
            self.seconds = now - start
            self.latencies.append(now - sent)
        else:
            self.refused.append(now - sent)
            self.retry_after.append(after)

    def _some(self, number: int, size: int) -> list[str]:
        return [self.texts[(number * size + i) % len(self.texts)] for i in range(size)]

    def _server_cpu(self) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return float(next(x for x in lines if x.startswith("process_cpu_seconds_total")).split()[1])

    def told(self) -> dict[str, Any]:
        """Give what is written down."""

        def percentiles(values: Sequence[float]) -> dict[str, float]:
            if not values:
                return {}
            return {f"p{p}": round(1000 * float(np.percentile(values, p)), 1) for p in (50, 95, 99)}

        return {
            "texts_per_second": round(self.rate, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "latency_ms": percentiles(self.latencies),
            "refused_after_ms": percentiles(self.refused),
            "retry_after_s": sorted(set(self.retry_after)),
            "driver_share": round(self.driver, 3),
            "server_share": round(self.server, 3),
        }


def in_process(classifier: EmotionClassifier, texts: list[str], seconds: float) -> float:
    """Classify lists for a while, and give texts a second."""
    start, done = time.perf_counter(), 0
    while (took := time.perf_counter() - start) < seconds:
        classifier(texts)
        done += len(texts)
    return done / took


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line if None.
    :return: 0 fine, 1 where goodput or the rate of single texts is below what is asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.goodput")
    add_flags(
        parser,
        data=(Path, ..., "what `data prepare` wrote"),
        model=(str, DEFAULT_MODEL, ""),
        texts=(positive_int, 2000, "different ones"),
        large=(positive_int, 700, "texts of a large request"),
        times=(float, 3.0, "the capacity, of the overload"),
        deadline=(float, 30.0, "of the server, in seconds"),
        clients=(positive_int, 64, ""),
        seconds=(float, 15.0, "of each kind of load"),
        rounds=(positive_int, 5, ""),
        goodput=(float, 0.9, "of capacity, at least"),
        singles=(float, 0.65, "of lists, at least"),
        output=(Path, None, ""),
    )
    args = parser.parse_args(arguments)
    texts = choose_texts(args.data, args.texts, 0)
    os.environ[f"{ENVIRONMENT}DEADLINE"] = str(args.deadline)
    rounds = []
    with EmotionClassifier(args.model) as classifier, served(args.model, None) as server:

        def run(load: Callable[[Load], Coroutine[Any, Any, None]]) -> Load:
            return Load(server.url, texts).run(load)

        classifier.warm_up()
        in_process(classifier, texts, 1.0)
        run(lambda load: load.in_a_row(args.large, 2.0))  # models are compiled
        for number in range(args.rounds):
            lists = in_process(classifier, texts, args.seconds)
            row = run(lambda load: load.in_a_row(args.large, args.seconds))
            if not row.answered:
                print(f"no request of {args.large} texts was answered: {row.told()['statuses']}")
                return 1
            arrivals = args.times * row.rate / args.large
            over = run(lambda load, rate=arrivals: load.overload(args.large, rate, args.seconds))
            singles = run(lambda load: load.singles(args.clients, args.seconds))
            rounds.append(
                {
                    "in_process": round(lists, 1),
                    "in_a_row": row.told(),
                    "overload": over.told(),
                    "singles": singles.told(),
                    "goodput_of_capacity": round(over.rate / row.rate, 3),
                    "singles_of_lists": round(singles.rate / lists, 3),
                }
            )
            print(
                f"round {number + 1}: lists {lists:.0f} texts/s in process; {args.large} texts a "
                f"request in a row {row.rate:.0f}; {args.times:g} times that {over.rate:.0f}, "
                f"{over.rate / row.rate:.2f} of it {dict(over.statuses)}; {args.clients} clients "
                f"of single texts {singles.rate:.0f}, {singles.rate / lists:.2f} of lists (the "
                f"driver took {singles.driver:.2f} of the cores, the server {singles.server:.2f})",
                flush=True,
            )
        exit_code = server.stop()
    goodput, single = (
        statistics.median(one[name] for one in rounds)
        for name in ("goodput_of_capacity", "singles_of_lists")
    )
    print(f"medians: goodput {goodput:.2f} of capacity, single texts {single:.2f} of lists")
    if args.output is not None:
        settings = {name: str(value) for name, value in vars(args).items() if name != "output"}
        write_json(
            args.output,
            {
                "settings": settings,
                "environment": environment(),
                "rounds": rounds,
                "goodput_of_capacity": goodput,
                "singles_of_lists": single,
                "exit_code": exit_code,
            },
        )
    return int(goodput < args.goodput or single < args.singles or exit_code != 0)


if __name__ == "__main__":
    sys.exit(main())
