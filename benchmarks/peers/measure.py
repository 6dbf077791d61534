"""All peers of a model in turns: one works, the others are stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import rounds_within, say
from benchmarks.peers.driver import PeerError, WorkerProcess, closing_all
from benchmarks.peers.plan import PEERS, Peer
from benchmarks.peers.setup import model_facts, peer_variables, python_of

WARM_UP_TEXTS = 96
TRIAL_TEXTS = 512
ANSWER_SECONDS = 420.0
PRODUCT_SECONDS = 0.25
_PATHS = ("model", "tokenizer")
_DOING = {
    "labels": "does not classify",
    "measure": "fails on many texts",
    "singles": "fails on single texts",
}


@dataclass(frozen=True)
class Settings:
    """How much is measured of a model.

    :param rounds: of all peers in turns.
    :param texts: classified in one call, other ones every round.
    :param seconds: of whole passes over them at least.
    :param singles: texts that are classified one by one in every round.
    :param quality: whether the test split is classified.
    :param budget: seconds after which no further round begins; one round is always taken.
    """

    rounds: int
    texts: int
    seconds: float
    singles: int
    quality: bool
    budget: float


class Field:
    """The peers of one model, loaded and ready.

    :param texts: that are drawn from, for warming up too.
    :param count: texts of a round: a peer's warming up and trials are in proportion.
    :param only: names of peers; all if empty.
    """

    def __init__(
        self, work: Path, model: str, texts: Sequence[str], count: int, only: Sequence[str] = ()
    ) -> None:
        self.facts = model_facts(work, model)
        self.failed: dict[str, str] = {}
        self.facts_of: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, WorkerProcess] = {}
        self.peers = [peer for peer in PEERS if not only or peer.name in only]
        self._work, self._folder = work, work / model
        self._warm_up = list(texts[: min(WARM_UP_TEXTS, max(count // 4, 1))])
        self._trial = list(texts[: min(TRIAL_TEXTS, count)])

    def start(self) -> None:
        """Start and load a worker for each that is needed; those that fail are noted."""
        for peer in self.peers:
            if peer.worker in self.workers or peer.name in self.failed:
                continue
            say(f"loading {peer.worker}")
            worker = self._spawn(peer.worker, peer.environment)
            paths = {k: str(self._folder / peer.options[k]) for k in _PATHS if k in peer.options}
            options = {**self.facts, "trial": self._trial, **peer.options, **paths}
            try:
                loaded = worker.ask("load", ANSWER_SECONDS, module=peer.module, options=options)
            except PeerError as error:
                say(f"{peer.worker} does not load: {error}")
                self.workers.pop(peer.worker).close()
                alike = (one.name for one in self.peers if one.worker == peer.worker)
                self.failed |= dict.fromkeys(alike, f"does not load: {error}")
                continue
            facts = {"load_s": round(loaded["seconds"], 2), "versions": loaded["versions"]}
            self.facts_of[peer.worker] = facts
        for peer in self.running():
            # Every way once, so that what is made at the first call is there; a text alone is
            # another shape, for which torch.compile compiles anew.
            for texts in (self._warm_up, self._warm_up[:1]):
                if peer.name not in self.failed:
                    self.ask(peer, "labels", texts=texts)
        # What no running peer needs goes: memory and stopped processes.
        needed = {peer.worker for peer in self.running()}
        for name in [n for n in self.workers if n not in needed]:
            self.workers.pop(name).close()

    def running(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.name not in self.failed]

    def ask(self, peer: Peer, what: str, **arguments: Any) -> dict[str, Any] | None:
        """Ask a peer; None, and the reason noted, if it fails."""
        way = peer.single_way if what == "singles" and peer.single_way else peer.way
        try:
            return self.workers[peer.worker].ask(what, ANSWER_SECONDS, way=way, **arguments)
        except PeerError as error:
            self.failed[peer.name] = f"{_DOING[what]}: {error}"
            say(f"{peer.name} failed: {error}")
            return None

    def rates(self) -> dict[str, Any]:
        """Measure matrix products in a worker of their own, loaded at the first call."""
        if "rates" not in self.workers:
            worker = self._spawn("rates", "ours")
            worker.ask("load", module="rates", options={"seconds": PRODUCT_SECONDS})
        return self.workers["rates"].ask("report")

    def report(self, worker: str) -> dict[str, Any]:
        """Return what a worker has to say beside its figures; empty if it is gone."""
        try:
            return self.workers[worker].ask("report") if worker in self.workers else {}
        except PeerError:
            return {}

    def _spawn(self, name: str, environment: str) -> WorkerProcess:
        log = self._work / "logs" / f"{self._folder.name} {name}.log"
        python = python_of(self._work, environment)
        if shutil.which(str(python)) is None:
            raise PeerError(f"{python} is missing; run the verb setup")
        self.workers[name] = WorkerProcess(python, log, peer_variables(self._work))
        return self.workers[name]


def measure_model(
    work: Path,
    model: str,
    texts: Sequence[str],
    test: Sequence[str],
    settings: Settings,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure all peers of a model.

    :param texts: all texts, shuffled; every round takes the next ones.
    :param test: texts whose labels are asked for, if quality is wanted.
    :param only: names of peers; all if empty.
    :return: `rounds` by peer, `rates`, `labels`, `failed`, `workers` and `texts_of_rounds`.
    """
    began = time.monotonic()
    field = Field(work, model, texts, settings.texts, only)
    found: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in field.peers}
    rates, taken, labels = [], [], {}
    with closing_all(field.workers):
        field.start()
        left = settings.budget - (time.monotonic() - began)
        for number in rounds_within(left, settings.rounds):
            rows = np.arange(number * settings.texts, (number + 1) * settings.texts) % len(texts)
            taken.append(rows.tolist())
            rates.append(field.rates())
            for peer in field.running():
                if figures := _round(field, peer, [texts[i] for i in rows], settings):
                    found[peer.name].append(figures)
        for peer in field.running() if settings.quality else []:
            say(f"{model}: {peer.name} classifies the test split")
            if answer := field.ask(peer, "labels", texts=list(test)):
                labels[peer.name] = answer["labels"]
        limit = field.report("bare")
    return {
        "rounds": found,
        "rates": rates,
        "labels": labels,
        "failed": field.failed,
        "workers": field.facts_of,
        "limit": limit,
        "texts_of_rounds": taken,
        "facts": field.facts,
        "seconds": round(time.monotonic() - began),
    }


def _round(
    field: Field, peer: Peer, texts: list[str], settings: Settings
) -> dict[str, float] | None:
    """Take a peer's figures of one round; None if it fails."""
    many = field.ask(peer, "measure", texts=texts, seconds=settings.seconds)
    times = field.ask(peer, "singles", texts=texts[: settings.singles]) if many else None
    if not many or not times:
        return None
    p50, p99 = np.percentile(times["milliseconds"], [50, 99]).tolist()
    return {
        "texts_per_second": round(many["texts"] / many["seconds"], 3),
        "p50_ms": round(p50, 4),
        "p99_ms": round(p99, 4),
        "rss_mb": round(many["rss_mb"]),
    }
