"""The part of benchmarks/README.md on scaling, and its plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.peers.plots import curves, number

PLOTS = {
    "cores": ("Texts a second against cores", "cores"),
    "batch": ("Texts a second against texts in a call", "texts in a call"),
    "token budget": ("Texts a second against the token budget of a batch", "tokens of a batch"),
    "length": ("Texts a second against the length of texts", "tokens of a text, mean of a group"),
}


def scaling_plots(answer: Mapping[str, Any] | None) -> dict[str, str]:
    """Draw what was measured, and what is predicted.

    :param answer: what the command wrote.
    :return: SVG by file name.
    """
    if answer is None:
        return {}
    drawn = {}
    for plot, (title, label) in PLOTS.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for point in answer["points"]:
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
    if answer["sizing"]:
        rows = answer["sizing"]["sizing"]
        lines = {
            key: [(row["cores"], row[key]) for row in rows] for key in ("high", "middle", "low")
        }
        name, title = "scaling-predicted", "Predicted texts a second (not measured beyond 2 cores)"
        drawn[f"{name}.svg"] = (
            curves(title, lines, name=name, x_label="cores", log_x=True, dashed=tuple(lines)) + "\n"
        )
    return drawn


def render(answer: Mapping[str, Any] | None) -> str:
    """Render the part.

    :param answer: what the command wrote.
    :return: Markdown without an end of line; a sentence where there is nothing yet.
    """
    if answer is None:
        return "Not measured yet: `benchmarks/results/scaling.json` does not exist."
    parts = []
    for plot, (title, _) in PLOTS.items():
        parts += [f"![{title}](plots/scaling-{plot.replace(' ', '-')}.svg)", ""]
    parts += ["| | texts/s |", "| --- | ---: |"]
    for point in answer["points"]:
        figure = point["texts_per_second"]
        parts.append(
            f"| {point['name']} | {number(figure['median'])} "
            f"({number(figure['min'])} to {number(figure['max'])}) |"
        )
    if answer["sizing"]:
        plot = "![Predicted texts a second](plots/scaling-predicted.svg)"
        parts += ["", "### Sizing", "", *_sizing(answer["sizing"]), "", plot]
    machine = answer["machine"]
    parts += [
        "",
        f"{answer['model']} on {machine['cores']} cores of {machine['cpu']}, OpenVINO "
        f"{answer['versions']['openvino']}; median (smallest to largest) of "
        f"{len(answer['points'][0]['rounds'])} rounds. {answer['noise']['sentence']}",
    ]
    return "\n".join(parts)


def _sizing(found: Mapping[str, Any]) -> Iterator[str]:
    serial = found["serial"][found["way"]]
    yield (
        "**Predicted, not measured, beyond 2 cores.** Texts a second of *n* cores are "
        "n·X(1) / (1 + s·(n − 1)): a core's own throughput X(1), and the part s of the work that "
        "more cores do not shorten, from one and two cores here "
        f"({found['way']}: s = {serial['median']:.3f}, "
        f"{serial['min']:.3f} to {serial['max']:.3f}). "
        "It leaves out what cannot be seen on two cores: memory channels that many cores share "
        "(weights stay in the caches of a small model, but not of a large one), a second socket, "
        "and clocks that fall as more cores work. So expect no more than this, and "
        "measure before you buy."
    )
    yield ""
    yield "| cores | texts/s | with the largest to the smallest s | cost of a million texts |"
    yield "| ---: | ---: | ---: | ---: |"
    for row in found["sizing"]:
        yield (
            f"| {row['cores']:.0f} | {number(row['middle'])} | {number(row['low'])} to "
            f"{number(row['high'])} | {row['cost']:.3g} |"
        )
    yield ""
    yield (
        f"Cost: at {found['price_per_vcpu_hour']:g} a vCPU hour and {found['vcpus_per_core']:g} "
        "vCPUs a core, which are assumptions and no vendor's price; `--price` and "
        "`--vcpus-per-core` take yours. Start-up and idle time are not in it."
    )
    yield ""
    yield "What can be checked here, the second core foretold from the first:"
    yield ""
    for name, row in found["check"].items():
        yield (
            f"- {name}: {number(row['predicted'])} with the s of *{row['from']}*, "
            f"{100 * row['error']:+.1f} % off the measured {number(row['measured'])} texts/s; "
            f"with s = 0 {100 * row['linear_error']:+.1f} %"
        )
