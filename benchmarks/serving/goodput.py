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
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.common import command, record, say
from benchmarks.serving.load import Limits, Run, Send, closed_loop, open_loop
from benchmarks.serving.steady import percentiles, served
from benchmarks.serving.target import choose_texts
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import ServerError
from ov_emotions.schema import DEFAULT_MODEL, Count
from ov_emotions.server.settings import ENVIRONMENT
from ov_emotions.system import cpu_budget

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_MANY = 10_000


class Door:
    """Connections to a server that stay open, and what came back over them, by status."""

    def __init__(self, url: str) -> None:
        self._url, self._parts = url, urlsplit(url)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.statuses: Counter[str] = Counter()

    def sender(self, requests: Sequence[Sequence[str]]) -> Send:
        """Make what sends one of the requests, lists of texts, and reads its answer."""
        bodies = [json.dumps({"texts": one}, ensure_ascii=False).encode() for one in requests]
        head = "POST /v1/emotions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n"
        head = head.format(self._parts.hostname) + "Content-Length: {}\r\n\r\n"
        ready = [head.format(len(body)).encode() + body for body in bodies]

        async def send(number: int) -> None:
            place = self._parts.hostname, self._parts.port
            reader, writer = (
                self._idle.pop() if self._idle else await asyncio.open_connection(*place)
            )
            writer.write(ready[number % len(ready)])
            answer = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(answer)
            await reader.readexactly(int(length[1]) if length else 0)
            self._idle.append((reader, writer))
            status = answer.split(b" ", 2)[1].decode()
            self.statuses[status] += 1
            if status != "200":
                raise ServerError(f"refused the request ({status})")

        return send

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    def cpu_seconds(self) -> float:
        """Read what the server has computed."""
        with urllib.request.urlopen(f"{self._url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return float(next(x for x in lines if x.startswith("process_cpu_seconds_total")).split()[1])


def measure(
    url: str, requests: Sequence[Sequence[str]], load: Callable[[Send], Coroutine[Any, Any, Run]]
) -> dict[str, Any]:
    """Put one kind of load on a server, in requests of equally many texts, and say what it saw."""
    door, size = Door(url), len(requests[0])
    before = door.cpu_seconds()

    async def run() -> Run:
        seen = await load(door.sender(requests))
        door.close()
        return seen

    seen = asyncio.run(run())
    cores = seen.seconds * cpu_budget().cores
    return {
        "texts_per_second": round(size * len(seen.latencies) / seen.seconds, 1),
        "statuses": dict(sorted(door.statuses.items())),
        "latency_ms": percentiles(seen.latencies),
        "driver_share": round(seen.cpu_seconds / cores, 3),
        "server_share": round((door.cpu_seconds() - before) / cores, 3),
    }


def in_process(classifier: EmotionClassifier, texts: list[str], seconds: float) -> float:
    """Classify lists for a while, and give texts a second."""
    start, done = time.perf_counter(), 0
    while (took := time.perf_counter() - start) < seconds:
        classifier(texts)
        done += len(texts)
    return round(done / took, 1)


def goodput(
    *,
    data: Path,
    model: str = DEFAULT_MODEL,
    texts: Count = 2000,
    large: Count = 700,
    times: float = 3.0,
    deadline: float = 30.0,
    clients: Count = 64,
    seconds: float = 15.0,
    rounds: Count = 5,
    least: float = 0.9,
    singles: float = 0.65,
    output: Path | None = None,
) -> int:
    """Measure, and write the figures.

    :param texts: different ones.
    :param large: texts of a large request.
    :param times: the capacity, of the overload.
    :param deadline: of the server, in seconds.
    :param seconds: of each kind of load.
    :param least: goodput of capacity that will do.
    :param singles: rate of single texts, of that of lists, that will do.
    :return: 1 where less was reached.
    """
    chosen = choose_texts(data, texts, 0)
    starts = range(0, max(len(chosen), large), large)
    lists = [[chosen[(start + i) % len(chosen)] for i in range(large)] for start in starts]
    alone = [[text] for text in chosen]
    os.environ[f"{ENVIRONMENT}DEADLINE"] = str(deadline)
    limits, found = Limits(seconds, sys.maxsize, _MANY), []
    with EmotionClassifier(model) as classifier, served(model, None) as server:
        classifier.warm_up()
        in_process(classifier, chosen, 1.0)
        measure(server.url, lists, lambda send: closed_loop(send, 1, Limits(2.0)))  # compiles
        for _ in range(rounds):
            own = in_process(classifier, chosen, seconds)
            row = measure(server.url, lists, lambda send: closed_loop(send, 1, limits))
            capacity = row["texts_per_second"]
            if not capacity:
                say(f"no request of {large} texts was answered: {row['statuses']}")
                return 1
            rate = times * capacity / large
            over = measure(server.url, lists, lambda send, r=rate: open_loop(send, r, limits))
            many = measure(server.url, alone, lambda send: closed_loop(send, clients, limits))
            one = {"in_process": own, "in_a_row": row, "overload": over, "singles": many}
            one["goodput_of_capacity"] = round(over["texts_per_second"] / capacity, 3)
            one["singles_of_lists"] = round(many["texts_per_second"] / own, 3)
            found.append(one)
            say(f"round {len(found)}: {one}")
        code = server.stop()
    good, single = (
        statistics.median(one[name] for one in found)
        for name in ("goodput_of_capacity", "singles_of_lists")
    )
    print(f"medians: goodput {good:.2f} of capacity, single texts {single:.2f} of lists")
    record(
        output,
        "openvino",
        model=model,
        rounds=found,
        goodput_of_capacity=good,
        singles_of_lists=single,
        exit_code=code,
    )
    return int(good < least or single < singles or code != 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `benchmarks.common.command`."""
    return command("benchmarks.serving.goodput", goodput, given=arguments)


if __name__ == "__main__":
    sys.exit(main())
