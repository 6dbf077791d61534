"""benchmarks/README.md: tables, goals and plots, rendered from the committed figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.goals import EARLIER, LIMIT, OURS
from benchmarks.peers.plan import LARGE, PEERS, ROOT, SMALL
from benchmarks.peers.plots import bars
from benchmarks.readme_table import insert
from benchmarks.scaling.page import render as render_scaling
from benchmarks.scaling.page import scaling_plots
from ov_emotions.files import write_text
from ov_emotions.quantization.timing import spread

FOLDER = ROOT / "benchmarks"
RESULTS = FOLDER / "results"
README = FOLDER / "README.md"
PLOTS = FOLDER / "plots"
TITLES = {
    SMALL: "The shipped model, emotions-ru-small",
    LARGE: "RoBERTa-large's shape, random weights (speed only)",
}


def load(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Read figures.

    :param name: of the file.
    :param folder: where it lies.
    :return: what was written; None where nothing was committed.
    """
    path = folder / name
    if not path.is_file():
        return None
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return answer


def load_peers(folder: Path = RESULTS) -> dict[str, Any] | None:
    """Read the comparison, and as its `limit` the run beside the bare IR alone.

    :param folder: of the figures.
    :return: what `run` wrote; None where it has not been.
    """
    answer = load("peers.json", folder)
    return None if answer is None else answer | {"limit": load("peers-limit.json", folder)}


def render_peers(answer: Mapping[str, Any] | None, stream: Mapping[str, Any] | None) -> str:
    """Render the comparison.

    :param answer: what `run` wrote.
    :param stream: what `stream` wrote.
    :return: Markdown without an end of line; a sentence where there is nothing yet.
    """
    if answer is None:
        return "Not measured yet: `benchmarks/results/peers.json` does not exist."
    parts = []
    for model, found in answer["models"].items():
        parts += [f"### {TITLES[model]}", "", *_model(answer, model, found), ""]
    if answer.get("limit") is not None:
        parts += ["### The limit, alone", "", *_limit(answer["limit"]), ""]
    parts += ["### Goals", "", *_goals(answer, stream), "", _facts(answer)]
    return "\n".join(parts)


def _model(answer: Mapping[str, Any], model: str, found: Mapping[str, Any]) -> Iterator[str]:
    quality = any("weighted_f1" in row for row in found["peers"].values())
    yield (
        f"Texts a round: {answer['texts_per_round'][model]:,} in one call, "
        f"{answer['singles_per_round'][model]:,} one by one. Rounds: "
        f"{_rounds(found)}."
        + (" A single round tells no spread." if _rounds(found) == 1 else "")
        + (f" F1 on {answer['split_texts']:,} texts of {answer['split']}." if quality else "")
    )
    yield ""
    yield f"![Texts a second](plots/peers-{model}.svg)"
    yield ""
    head = ["", "texts/s", "one text, p50", "p99", "memory"]
    head += ["weighted F1", "macro F1"] if quality else []
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " ---: |" * (len(head) - 1)
    for name, row in found["peers"].items():
        cells = [
            f"**{name}**" if name == OURS else name,
            _spread(row["texts_per_second"], 0 if model == SMALL else 1),
            f"{row['p50_ms']['median']:.2f} ms",
            f"{row['p99_ms']['median']:.2f} ms",
            f"{row['rss_mb']['median']:,.0f} MB",
        ]
        if quality:
            cells += [
                f"{row[key]:.3f}" if key in row else "–" for key in ("weighted_f1", "macro_f1")
            ]
        yield "| " + " | ".join(cells) + " |"
    if found["failed"]:
        yield ""
        yield "Not measured:"
        yield ""
        for name, reason in found["failed"].items():
            yield f"- {name}: {reason}"
    yield ""
    yield _utilisation(found)


def _utilisation(found: Mapping[str, Any]) -> str:
    rates = found["rates"]["macs_per_second"]
    told = ", ".join(
        f"{sorted(rates[kind])[len(rates[kind]) // 2] / 1e9:,.0f} in {kind.upper()}"
        for kind in ("int8", "bf16", "f32")
    )
    macs = sum(found["macs_per_text"]) / len(found["macs_per_text"])
    shares = "; ".join(
        f"{name} uses {_spread({k: 100 * v for k, v in share.items()}, 0)} % of the INT8 rate"
        for name, share in found["utilisation"].items()
    )
    shares += f". {_whole_rate(found)}" if EARLIER in found["peers"] else ""
    return (
        f"A text takes {macs / 1e9:,.2f} billion multiply-adds on average. In one large matrix "
        f"product OpenVINO does so many billions of them a second on this machine: {told}. "
        f"{shares}."
    )


def _whole_rate(found: Mapping[str, Any]) -> str:
    """Say what no program that computes these products can pass."""
    earlier = [row["texts_per_second"] for row in found["peers"][EARLIER]["rounds"]]
    rates = found["rates"]["macs_per_second"]["int8"]
    texts = [rate / macs for rate, macs in zip(rates, found["macs_per_text"], strict=False)]
    times = spread([one / other for one, other in zip(texts, earlier, strict=False)])
    return (
        f"The whole of it would be {statistics.median(texts):,.0f} texts/s, "
        f"{_spread(times, 1)} times the earlier projects' path"
    )


def _limit(limit: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "These two alone, in more rounds; the goals against the bare IR, and those for single "
        "texts, are taken from here. Texts of one length form a batch of the bare IR, and it has "
        "met all its shapes before it is timed."
    )
    yield ""
    yield "| | texts/s | one text, p50 | p99 | rounds |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for model, found in limit["models"].items():
        for name, row in found["peers"].items():
            rate = _spread(row["texts_per_second"], 0 if model == SMALL else 1)
            yield (
                f"| {model}, {name} | {rate} | {row['p50_ms']['median']:.2f} ms | "
                f"{row['p99_ms']['median']:.2f} ms | {_rounds(found)} |"
            )


def _against_limit(
    model: str, goals: Sequence[Mapping[str, Any]], limit: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """Take the goals against the bare IR, and for single texts, from the run with more rounds."""
    if limit is None or model not in limit["models"]:
        return list(goals)
    better = {goal["name"]: goal for goal in limit["models"][model]["goals"]}
    return [better.get(goal["name"], goal) for goal in goals]


def _goals(answer: Mapping[str, Any], stream: Mapping[str, Any] | None) -> Iterator[str]:
    yield "| goal | bound | measured | |"
    yield "| --- | --- | --- | --- |"
    rows = [("", goal) for goal in answer["start_goals"]]
    for model, found in answer["models"].items():
        goals = _against_limit(model, found["goals"], answer.get("limit"))
        rows += [(f"{model}: ", goal) for goal in goals]
    if stream is not None:
        rows.append((f"{stream['model']}, {stream['texts']:,} texts: ", stream["goal"]))
    for where, goal in rows:
        bound = ("at least " if goal["least"] else "under ") + f"{goal['bound']:g}{goal['unit']}"
        verdict = "reached" if goal["reached"] else "**not reached**"
        one = goal["figure"]["min"] == goal["figure"]["max"]
        measured = f"{goal['figure']['median']:.2f}" if one else _spread(goal["figure"], 2)
        yield f"| {where}{goal['name']} | {bound} | {measured}{goal['unit']} | {verdict} |"


def _facts(answer: Mapping[str, Any]) -> str:
    machine = answer["machine"]
    versions: dict[str, str] = {}
    for found in answer["models"].values():
        for name, row in found["peers"].items():
            kept = (
                "torch",
                "transformers",
                "onnxruntime",
                "openvino",
                "optimum-intel",
                "infinity-emb",
            )
            told = ", ".join(f"{k} {row['versions'][k]}" for k in kept if k in row["versions"])
            peer = next((peer for peer in PEERS if peer.name == name), None)
            versions.setdefault(peer.environment if peer else name, told)
    environments = "; ".join(f"{name}: {told}" for name, told in versions.items())
    return (
        f"{machine['cores']} cores of {machine['cpu']} ({', '.join(machine['flags'])}). Median "
        f"(smallest to largest) over the rounds; in a round all peers take the same texts in turn, "
        f"and the processes of the others are stopped. Goals are ratios taken round by round. "
        f"Environments: {environments}. {answer['noise']['sentence']}"
    )


def _spread(figure: Mapping[str, float], digits: int) -> str:
    low, high = figure["min"], figure["max"]
    return f"{figure['median']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def render_headlines(answer: Mapping[str, Any] | None) -> str:
    """Render the ratios that the project's README begins with.

    :param answer: what `run` wrote.
    :return: Markdown lines; a sentence where there is nothing yet.
    """
    if answer is None:
        return "Not measured yet."
    lines = []
    for model, found in answer["models"].items():
        rounds = {name: row["rounds"] for name, row in found["peers"].items()}
        if OURS not in rounds:
            continue
        rivals = [peer.name for peer in PEERS if peer.kind == "peer" and peer.name in rounds]
        best = max(
            rivals, key=lambda n: found["peers"][n]["texts_per_second"]["median"], default=None
        )
        limit = answer.get("limit") or {"models": {}}
        alone = limit["models"].get(model, {"peers": {}})["peers"]
        told = [
            f"{_times(rounds, other)} {what}"
            for other, what in (
                (EARLIER, "the texts/s of the earlier projects' path"),
                (best, f"those of the best peer, {best}"),
                (LIMIT, "those of the bare IR fed ready arrays"),
            )
            if other in rounds and not (other == LIMIT and alone)
        ]
        if alone:
            with_limit = {name: row["rounds"] for name, row in alone.items()}
            told.append(f"{_times(with_limit, LIMIT)} those of the bare IR fed ready arrays")
        single = " (a single round)" if _rounds(found) == 1 else ""
        lines.append(f"- {TITLES[model]}{single}: {', '.join(told)}")
    return "\n".join(lines)


def _rounds(found: Mapping[str, Any]) -> int:
    return len(next(iter(found["peers"].values()))["rounds"])


def _times(rounds: Mapping[str, Any], other: str) -> str:
    from benchmarks.peers.goals import ratio

    told = _spread(ratio(rounds, OURS, other, "texts_per_second"), 2).replace(" (", " × (", 1)
    return told if len(rounds[OURS]) > 1 else told.partition(" (")[0]


def peer_plots(answer: Mapping[str, Any] | None) -> dict[str, str]:
    """Draw texts a second of every peer.

    :param answer: what `run` wrote.
    :return: SVG by file name.
    """
    drawn = {}
    kinds = {peer.name: peer.kind for peer in PEERS}
    for model, found in (answer or {"models": {}})["models"].items():
        rows = sorted(
            (
                (n, kinds.get(n, "peer"), row["texts_per_second"])
                for n, row in found["peers"].items()
            ),
            key=lambda row: -row[2]["median"],
        )
        if rows:
            name = f"peers-{model}"
            title = f"{TITLES[model]}: texts a second"
            drawn[f"{name}.svg"] = bars(title, rows, name=name, unit="texts/s") + "\n"
    return drawn


def render_page(text: str, folder: Path = RESULTS) -> tuple[str, dict[str, str]]:
    """Render the page and its plots.

    :param text: of the page, with marks.
    :param folder: of the figures.
    :return: the page with what stands between the marks renewed, and SVG by file name.
    """
    peers, scaling = load_peers(folder), load("scaling.json", folder)
    text = insert(text, render_peers(peers, load("peers-stream.json", folder)), "peers")
    text = insert(text, render_scaling(scaling), "scaling")
    return text, peer_plots(peers) | scaling_plots(scaling)


def write_page(*, write: bool) -> str:
    """Render the committed page.

    :param write: to disk, plots as well.
    :return: the page.
    """
    text, plots = render_page(README.read_text(encoding="utf-8"))
    if write:
        write_text(README, text)
        for name, plot in plots.items():
            write_text(PLOTS / name, plot)
    return text
