"""Tables of the figures: for a terminal, and for README.md beside this file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import load, rendered, spread_text
from ov_emotions.cli.output import table

README = Path(__file__).with_name("README.md")

Answer = Mapping[str, Any]
"""What the driver writes."""

Rows = list[list[str]]
"""Cells, the header first."""

_CLOSED = (
    "target | 1 client: p50 | p99 | knee | answers/s there | p50 | p90 | p99 | most answers/s "
    "| failed"
)
_OPEN = "target | arrivals/s | p50 | p90 | p99 | sent late, p99 | failed"
_COMPARED = "target | against | p50, ratio | throughput, ratio"


def closed_rows(answer: Answer) -> Rows:
    """Lay out the closed loops, a target a row."""
    rows = [_CLOSED.split(" | ")]
    for target in answer["targets"]:
        levels = {figures["level"]: figures for figures in target["closed"]}
        alone = levels.get(1, {})
        clients = target["knee_clients"]
        bend = levels.get(clients, {})
        rows.append(
            [
                target["name"],
                *(_ms(alone.get(key)) for key in ("p50_ms", "p99_ms")),
                "none" if clients is None else _clients(clients),
                _rate(bend.get("throughput", {}).get("median")),
                *(_ms(bend.get(key)) for key in ("p50_ms", "p90_ms", "p99_ms")),
                _rate(target["peak_throughput"] or None),
                _failures(target["closed"]),
            ]
        )
    return rows


def open_rows(answer: Answer) -> Rows:
    """Lay out the arrivals at fixed rates, a target and rate a row."""
    times = ("p50_ms", "p90_ms", "p99_ms", "late_p99_ms")
    return [_OPEN.split(" | ")] + [
        [
            target["name"],
            _rate(figures["level"]),
            *(_ms(figures[key]) for key in times),
            _failures([figures]),
        ]
        for target in answer["targets"]
        for figures in target["open"]
    ]


def comparison_rows(answer: Answer) -> Rows:
    """Lay out how targets compare, at the fewest clients and at the most; a pair a row."""
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for found in answer["comparisons"]:
        pairs.setdefault((found["target"], found["against"]), []).append(found)
    rows = [_COMPARED.split(" | ")]
    for (target, against), levels in pairs.items():
        levels.sort(key=lambda found: found["clients"])
        told = [
            f"{spread_text(found[key])}, {_clients(found['clients'])}"
            for found, key in ((levels[0], "p50"), (levels[-1], "throughput"))
        ]
        rows.append([target, against, *told])
    return rows


def facts(answer: Answer) -> str:
    """Say on what the figures were made, and what the driver itself took."""
    machine, plan = answer["machine"], answer["plan"]
    servers = ", ".join(sorted({target["server"] for target in answer["targets"]}))
    cpu = [f["driver_cpu"] for t in answer["targets"] for f in (*t["closed"], *t["open"])]
    left = answer["steps_left_out"]
    versions = ", ".join(
        f"{name} {answer['versions'][name]}"
        for name in ("ov_emotions", "openvino", "tritonclient")
        if name in answer["versions"]
    )
    return (
        f"{servers}; driver and what is on loopback share {machine['cores']} cores of "
        f"{machine['cpu']} ({versions}). {plan['rounds']} rounds of "
        f"{plan['seconds']:g} s a step, the targets in turns; {answer['texts']:,} texts of "
        f"{answer['split']}, {answer['texts_per_request']} in a request. The driver itself kept "
        f"{min(cpu, default=0):.2f} to {max(cpu, default=0):.2f} cores busy. "
        + str(answer["noise"]["sentence"])
        + (f" There was no time for {left} steps." if left else "")
    )


def for_terminal(answer: Answer) -> str:
    """Render all of it as plain text."""
    parts = ["Closed loops", table(closed_rows(answer))]
    if any(target["open"] for target in answer["targets"]):
        parts += ["", "Arrivals at a fixed rate", table(open_rows(answer))]
    if answer["comparisons"]:
        parts += ["", "Compared, as median over the rounds", table(comparison_rows(answer))]
    return "\n".join([*parts, "", facts(answer)])


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
        closed_rows=closed_rows,
        open_rows=open_rows,
        comparison_rows=comparison_rows,
        facts=facts,
    )


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _clients(count: float) -> str:
    return "1 client" if count == 1 else f"{count:g} clients"


def _failures(levels: Sequence[Answer]) -> str:
    kinds: Counter[str] = Counter()
    for figures in levels:
        kinds.update(figures["errors"])
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "0"
