"""benchmarks/README.md: tables, goals and plots, rendered from the committed figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, load, rendered, renewed, spread_text
from benchmarks.peers.goals import EARLIER, LIMIT, OURS, ratio
from benchmarks.peers.plan import LARGE, PEERS, SMALL
from benchmarks.peers.plots import bars, curves
from ov_emotions.files import write_text
from ov_emotions.quantization.timing import spread

README = ROOT / "benchmarks" / "README.md"
PLOTS = ROOT / "benchmarks" / "plots"
TITLES = {
    SMALL: "The shipped model, emotions-ru-small",
    LARGE: "RoBERTa-large's shape, random weights (speed only)",
}
SCALING_PLOTS = {
    "cores": ("Texts a second against cores", "cores"),
    "batch": ("Texts a second against texts in a call", "texts in a call"),
    "token budget": ("Texts a second against the token budget of a batch", "tokens of a batch"),
    "length": ("Texts a second against the length of texts", "tokens of a text, mean of a group"),
}
_PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "optimum-intel", "infinity-emb")

Figures = Mapping[str, Any]


def render_peers(peers: Figures, limit: Figures | None, stream: Figures | None) -> str:
    """Render the comparison.

    :param peers: what `run` wrote.
    :param limit: what it wrote of the bare IR and the library alone.
    :param stream: what `stream` wrote.
    :return: the section with its marks.
    """
    return rendered(
        "peers.md",
        peers=peers,
        limit=limit,
        goals=list(_goals(peers, limit, stream)),
        environments=_environments(peers),
        titles=TITLES,
        small=SMALL,
        ours=OURS,
        earlier=EARLIER,
        matrix_rates=_matrix_rates,
        shares=_shares,
        whole=_whole,
    )


def _goals(
    peers: Figures, limit: Figures | None, stream: Figures | None
) -> Iterator[tuple[str, Figures]]:
    """Give goals with what they are of.

    Those against the bare IR, and for single texts, are taken from the run with more rounds.
    """
    for goal in peers["start_goals"]:
        yield "", goal
    for model, found in peers["models"].items():
        alone = limit["models"].get(model, {"goals": []}) if limit else {"goals": []}
        better = {goal["name"]: goal for goal in alone["goals"]}
        for goal in found["goals"]:
            yield f"{model}: ", better.get(goal["name"], goal)
    if stream is not None:
        yield f"{stream['model']}, {stream['texts']:,} texts: ", stream["goal"]


def _environments(peers: Figures) -> list[str]:
    environments = {peer.name: peer.environment for peer in PEERS}
    versions: dict[str, str] = {}
    for found in peers["models"].values():
        for name, row in found["peers"].items():
            told = [f"{k} {row['versions'][k]}" for k in _PACKAGES if k in row["versions"]]
            versions.setdefault(environments.get(name, name), ", ".join(told))
    return [f"{name}: {told}" for name, told in versions.items()]


def _matrix_rates(found: Figures) -> list[str]:
    rates = found["rates"]["macs_per_second"]
    return [
        f"{sorted(rates[kind])[len(rates[kind]) // 2] / 1e9:,.0f} in {kind.upper()}"
        for kind in ("int8", "bf16", "f32")
    ]


def _shares(found: Figures) -> list[str]:
    percents = {
        name: {key: 100 * value for key, value in share.items()}
        for name, share in found["utilisation"].items()
    }
    return [
        f"{name} uses {spread_text(share, ',.0f')} % of the INT8 rate"
        for name, share in percents.items()
    ]


def _whole(found: Figures) -> tuple[float, dict[str, float]]:
    """Say what no program that computes these products can pass: texts a second, and the ratio."""
    earlier = [row["texts_per_second"] for row in found["peers"][EARLIER]["rounds"]]
    rates = found["rates"]["macs_per_second"]["int8"]
    texts = [rate / macs for rate, macs in zip(rates, found["macs_per_text"], strict=False)]
    times = spread([one / other for one, other in zip(texts, earlier, strict=False)])
    return statistics.median(texts), times


def headlines(peers: Figures, limit: Figures | None) -> Iterator[str]:
    """Yield the ratios that the project's README begins with, a model a line."""
    for model, found in peers["models"].items():
        alone = limit["models"].get(model) if limit else None
        rivals = [peer.name for peer in PEERS if peer.kind == "peer"]
        best = max(
            (name for name in rivals if name in found["peers"]),
            key=lambda name: found["peers"][name]["texts_per_second"]["median"],
        )
        told = [
            f"{_times(found, EARLIER)} the texts/s of the earlier projects' path",
            f"{_times(found, best)} those of the best peer, {best}",
            f"{_times(alone or found, LIMIT)} those of the bare IR fed ready arrays",
        ]
        yield f"{TITLES[model]}: {', '.join(told)}"


def _times(found: Figures, other: str) -> str:
    rounds = {name: row["rounds"] for name, row in found["peers"].items()}
    told = spread_text(ratio(rounds, OURS, other, "texts_per_second"), ",.2f")
    return told.replace(" (", " × (", 1)


def peer_plots(peers: Figures) -> dict[str, str]:
    """Draw texts a second of every peer, as SVG by file name."""
    kinds = {peer.name: peer.kind for peer in PEERS}
    drawn = {}
    for model, found in peers["models"].items():
        rows = [
            (name, kinds.get(name, "peer"), row["texts_per_second"])
            for name, row in found["peers"].items()
        ]
        rows.sort(key=lambda row: -row[2]["median"])
        name, title = f"peers-{model}", f"{TITLES[model]}: texts a second"
        drawn[f"{name}.svg"] = bars(title, rows, name=name, unit="texts/s") + "\n"
    return drawn


def scaling_plots(scaling: Figures) -> dict[str, str]:
    """Draw what was measured, and what is predicted, as SVG by file name."""
    drawn = {}
    for plot, (title, label) in SCALING_PLOTS.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for point in scaling["points"]:
            if point["plot"] == plot:
                place = (point["x"], point["texts_per_second"]["median"])
                lines.setdefault(point["line"], []).append(place)
        if plot == "cores":
            first = lines["threads"][0]
            # The other ways of using two cores start from the same single core.
            lines = {k: v if v[0] == first else [first, *v] for k, v in lines.items()}
        name = f"scaling-{plot.replace(' ', '-')}"
        log = plot != "cores"
        drawn[f"{name}.svg"] = curves(title, lines, name=name, x_label=label, log_x=log) + "\n"
    if scaling["sizing"]:
        lines = {
            key: [(row["cores"], row[key]) for row in scaling["sizing"]["sizing"]]
            for key in ("high", "middle", "low")
        }
        name, title = "scaling-predicted", "Predicted texts a second (not measured beyond 2 cores)"
        drawn[f"{name}.svg"] = (
            curves(title, lines, name=name, x_label="cores", log_x=True, dashed=tuple(lines)) + "\n"
        )
    return drawn


def render_page(text: str, folder: Path = RESULTS) -> tuple[str, dict[str, str]]:
    """Render the page and its plots.

    :param text: of the page, with marks.
    :param folder: of the figures.
    :return: the page with what stands between the marks renewed, and SVG by file name.
    """
    peers, limit, stream, scaling = (
        load(f"{name}.json", folder) for name in ("peers", "peers-limit", "peers-stream", "scaling")
    )
    text = renewed(text, render_peers(peers, limit, stream))
    text = renewed(text, rendered("scaling.md", scaling=scaling, plots=SCALING_PLOTS))
    return text, peer_plots(peers) | scaling_plots(scaling)


def write_page() -> None:
    """Write the committed page and its plots anew."""
    text, plots = render_page(README.read_text(encoding="utf-8"))
    write_text(README, text)
    for name, plot in plots.items():
        write_text(PLOTS / name, plot)
