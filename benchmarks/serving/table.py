"""Tables of the figures: for a terminal, and for README.md beside this file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.readme_table import insert
from ov_emotions.cli.output import table
from ov_emotions.files import write_text

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
SERVERS = RESULTS.with_name("servers-measured.json")
STEADY = RESULTS.with_name("server-load.json")
GRAPHS = tuple(RESULTS.with_name(f"serving-graph{end}.json") for end in ("", "-tiny"))
MEMORY = RESULTS.with_name("serving-memory.json")
GOODPUT = RESULTS.with_name("goodput.json")
NOTHING = "Not measured yet."

Rows = list[list[str]]


def closed_rows(answer: Mapping[str, Any]) -> Rows:
    """Lay out the closed loops, a target a row.

    :param answer: what the driver writes.
    :return: cells, the header first.
    """
    rows = [
        [
            "target",
            "1 client: p50",
            "p99",
            "knee",
            "answers/s there",
            "p50",
            "p90",
            "p99",
            "most answers/s",
            "failed",
        ]
    ]
    for target in answer["targets"]:
        levels = {figures["level"]: figures for figures in target["closed"]}
        alone = levels.get(1, {})
        bend = levels.get(target["knee_clients"], {})
        clients = target["knee_clients"]
        rows.append(
            [
                target["name"],
                _ms(alone.get("p50_ms")),
                _ms(alone.get("p99_ms")),
                "none" if clients is None else _clients(clients),
                _rate(bend.get("throughput", {}).get("median")),
                _ms(bend.get("p50_ms")),
                _ms(bend.get("p90_ms")),
                _ms(bend.get("p99_ms")),
                _rate(target["peak_throughput"] or None),
                _failures(target["closed"]),
            ]
        )
    return rows


def open_rows(answer: Mapping[str, Any]) -> Rows:
    """Lay out the arrivals at fixed rates, a target and rate a row.

    :param answer: what the driver writes.
    :return: cells, the header first.
    """
    rows = [["target", "arrivals/s", "p50", "p90", "p99", "sent late, p99", "failed"]]
    for target in answer["targets"]:
        rows += [
            [
                target["name"],
                _rate(figures["level"]),
                _ms(figures["p50_ms"]),
                _ms(figures["p90_ms"]),
                _ms(figures["p99_ms"]),
                _ms(figures["late_p99_ms"]),
                _failures([figures]),
            ]
            for figures in target["open"]
        ]
    return rows


def comparison_rows(answer: Mapping[str, Any]) -> Rows:
    """Lay out how targets compare, at the fewest clients and at the most; a pair a row.

    :param answer: what the driver writes.
    :return: cells, the header first; only the header where nothing was compared.
    """
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for found in answer["comparisons"]:
        pairs.setdefault((found["target"], found["against"]), []).append(found)
    rows = [["target", "against", "p50, ratio", "throughput, ratio"]]
    for (target, against), levels in pairs.items():
        fewest = min(levels, key=lambda found: found["clients"])
        most = max(levels, key=lambda found: found["clients"])
        rows.append(
            [
                target,
                against,
                f"{_ratio(fewest['p50'])}, {_clients(fewest['clients'])}",
                f"{_ratio(most['throughput'])}, {_clients(most['clients'])}",
            ]
        )
    return rows


def facts(answer: Mapping[str, Any]) -> str:
    """Say on what the figures were made, and what the driver itself took.

    :param answer: what the driver writes.
    :return: sentences.
    """
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


def for_terminal(answer: Mapping[str, Any]) -> str:
    """Render all of it as plain text.

    :param answer: what the driver writes.
    :return: lines without an end.
    """
    parts = ["Closed loops", table(closed_rows(answer))]
    if any(target["open"] for target in answer["targets"]):
        parts += ["", "Arrivals at a fixed rate", table(open_rows(answer))]
    if answer["comparisons"]:
        parts += ["", "Compared, as median over the rounds", table(comparison_rows(answer))]
    return "\n".join([*parts, "", facts(answer)])


def for_readme(answer: Mapping[str, Any] | None) -> str:
    """Render all of it as Markdown.

    :param answer: what the driver wrote; None where there is nothing yet.
    :return: lines without an end.
    """
    if answer is None:
        return NOTHING
    return "\n".join(
        [
            *_markdown(closed_rows(answer)),
            "",
            *_markdown(open_rows(answer)),
            "",
            *_markdown(comparison_rows(answer)),
            "",
            facts(answer),
        ]
    )


def side_by_side(answer: Mapping[str, Any] | None) -> str:
    """Render the run of a real Model Server, Triton and `serve` beside one another.

    :param answer: what the driver wrote; None where there is nothing yet.
    :return: lines of Markdown without an end.
    """
    if answer is None:
        return NOTHING
    return "\n".join(
        [
            *_markdown(closed_rows(answer)),
            "",
            *_markdown(comparison_rows(answer)),
            "",
            facts(answer),
        ]
    )


def steady_load(answer: Mapping[str, Any] | None) -> str:
    """Render what `python -m benchmarks.serving serve` measured.

    :param answer: what it wrote; None where there is nothing yet.
    :return: a paragraph of Markdown.
    """
    if answer is None:
        return NOTHING
    latency, memory = answer["latency_ms"]["all"], answer["memory"]
    versions = answer["versions"]
    return (
        f"{answer['clients']} clients for {answer['seconds']:.0f} s on {answer['model']} "
        f"({answer['precision']}): {answer['answered']:,} answers, {answer['per_second']:,.0f} a "
        f"second; {answer['lost']} lost, {answer['wrong']} wrong. p50 {_ms(latency['p50'])}, "
        f"p99 {_ms(latency['p99'])}, slowest {_ms(latency['max'])}; "
        f"{answer['server']['requests_per_inference']} requests an inference. Memory "
        f"{memory['settled_mb']:.0f} MB in the second quarter and "
        f"{memory['end_mb']:.0f} MB in the last. One run, clients and server on the same "
        f"{answer['machine']['cores']} cores of {answer['machine']['cpu']}; OpenVINO "
        f"{versions['openvino']}, FastAPI {versions['fastapi']}, uvicorn {versions['uvicorn']}."
    )


def in_openvino(
    graphs: Sequence[Mapping[str, Any] | None], memory: Mapping[str, Any] | None
) -> str:
    """Render what `python -m benchmarks.serving.graph` measured.

    :param graphs: what `speed` wrote, a model each.
    :param memory: what `memory` wrote.
    :return: lines of Markdown without an end.
    """
    found = [graph for graph in graphs if graph is not None]
    if not found or memory is None:
        return NOTHING
    rows = [["model", "what answers", "one text, p50", "p95", "of the library"]]
    for graph in found:
        for name, seen in graph["one_text"].items():
            ratio = seen["of_the_library"]
            told = f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
            shown = "1" if name == "EmotionClassifier" else told
            rows.append(
                [
                    graph["model"],
                    name,
                    f"{seen['p50_ms']:.2f} ms",
                    f"{seen['p95_ms']:.2f} ms",
                    shown,
                ]
            )
    many = [
        f"{graph['model']} {one['texts_a_second']:,.0f} ({one['lowest']:,.0f} to "
        f"{one['highest']:,.0f}) with {one['streams']}"
        for graph in found
        for one in graph["many_single_texts"]
    ]
    held = [f"{one['peak_mb']:,} MB with {one['streams']}" for one in memory["memory"]]
    first, machine = found[0], found[0]["environment"]["machine"]
    return "\n".join(
        [
            *_markdown(rows),
            "",
            f"Many single texts at once, answers a second by streams: {', '.join(many)}. "
            f"The process at its largest, with {memory['memory'][0]['batch']} of the longest texts "
            f"a request, by streams: {', '.join(held)}. {first['rounds']} rounds of "
            f"{first['texts']:,} texts, in turns; {first['threads']} threads of {machine['cores']} "
            f"cores, {machine['cpu']}; OpenVINO {first['environment']['versions']['openvino']}.",
        ]
    )


def overloaded(answer: Mapping[str, Any] | None) -> str:
    """Render what `python -m benchmarks.serving.goodput` measured.

    :param answer: what it wrote; None where there is nothing yet.
    :return: lines of Markdown without an end.
    """
    if answer is None:
        return NOTHING
    rows = [
        [
            "round",
            "lists in process",
            "in a row",
            "overload",
            "of capacity",
            "single texts",
            "of lists",
        ]
    ]
    for number, one in enumerate(answer["rounds"], 1):
        rows.append(
            [
                str(number),
                _rate(one["in_process"]),
                _rate(one["in_a_row"]["texts_per_second"]),
                _rate(one["overload"]["texts_per_second"]),
                f"{one['goodput_of_capacity']:.2f}",
                _rate(one["singles"]["texts_per_second"]),
                f"{one['singles_of_lists']:.2f}",
            ]
        )
    machine = answer["environment"]["machine"]
    return "\n".join(
        [
            *_markdown(rows),
            "",
            f"Texts a second on {answer['settings']['model']}. Medians: goodput "
            f"{answer['goodput_of_capacity']:.2f} of capacity, single texts "
            f"{answer['singles_of_lists']:.2f} of lists. Driver and server on the same "
            f"{machine['cores']} cores of {machine['cpu']}.",
        ]
    )


def load_results(path: Path = RESULTS) -> dict[str, Any] | None:
    """Read committed figures.

    :param path: of the file.
    :return: what the driver wrote; None where nothing was committed.
    """
    if not path.is_file():
        return None
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return answer


def sections() -> dict[str, str]:
    """Render what stands in README.md between each pair of marks.

    :return: Markdown by the name of the marks.
    """
    graphs = [load_results(path) for path in GRAPHS]
    return {
        "results": for_readme(load_results()),
        "servers": side_by_side(load_results(SERVERS)),
        "graph": in_openvino(graphs, load_results(MEMORY)),
        "steady": steady_load(load_results(STEADY)),
        "goodput": overloaded(load_results(GOODPUT)),
    }


def update_readme() -> None:
    """Put the tables of the committed figures into README.md."""
    text = README.read_text(encoding="utf-8")
    for marks, told in sections().items():
        text = insert(text, told, marks)
    write_text(README, text)


def _markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for position, row in enumerate(rows):
        yield "| " + " | ".join(row) + " |"
        if not position:
            yield "| " + " | ".join("---" for _ in row) + " |"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _clients(count: float) -> str:
    return "1 client" if count == 1 else f"{count:g} clients"


def _ratio(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"


def _failures(levels: Sequence[Mapping[str, Any]]) -> str:
    kinds: dict[str, int] = {}
    for figures in levels:
        for kind, count in figures["errors"].items():
            kinds[kind] = kinds.get(kind, 0) + count
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "0"
