"""An evaluation, or a calibration, as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ov_emotions.evaluation.plots import f1_bars, matrix, reliability_plot
from ov_emotions.reports import format as fmt
from ov_emotions.reports import old_page as page
from ov_emotions.reports.study import LabelF1
from ov_emotions.reports.table import Cell, Row, Table
from ov_emotions.thresholds import Reliability

_STYLES = ("matrix.css",)
_MEANS = ("weighted_f1", "macro_f1", "micro_f1", "samples_f1", "exact_match")


def render_evaluation(answer: Mapping[str, Any]) -> str:
    """Write an evaluation as a page.

    :param answer: what `ov-emotions evaluate` answers; sections whose facts it lacks are left out.
    :return: an HTML document.
    """
    results = answer["results"]
    models = ", ".join(result["model"] for result in results)
    sections = [page.section("all", "Figures", page.table(_means(results), sortable=True))]
    for i, pair in enumerate(answer.get("comparisons", [])):
        sections.append(_comparison(i, pair))
    for i, result in enumerate(results):
        for j, (split, scores) in enumerate(result["splits"].items()):
            sections += _split(f"m{i}-s{j}", f"{result['model']}: {split}", scores)
    return page.document(
        f"Evaluation of {models}", _header("Evaluation", models), sections, styles=_STYLES
    )


def render_calibration(answer: Mapping[str, Any]) -> str:
    """Write a calibration as a page.

    :param answer: what `ov-emotions calibrate` answers.
    :return: an HTML document.
    """
    before, after = answer["before"], answer["after"]
    sections = [page.section("all", "Calibration error", page.table(_errors(answer)))]
    for name, old, new in [
        ("all labels", before["all"], after["all"]),
        *((label, before["labels"][label], after["labels"][label]) for label in before["labels"]),
    ]:
        diagrams = {"before": _reliability(old), "after": _reliability(new)}
        plot = page.figure(
            lambda width, id_, name=name, diagrams=diagrams: reliability_plot(  # type: ignore[misc]
                diagrams, title=f"Share of texts: {name}", width=width, name=id_
            ),
            f"reliability-{len(sections)}",
            "On the diagonal, probabilities say how often a label is there.",
        )
        sections.append(page.section(f"diagram-{len(sections)}", name, plot))
    title = f"Calibration of {answer['model']}"
    return page.document(title, _header("Temperature", answer["model"]), sections, styles=_STYLES)


def _header(about: str, title: str) -> str:
    return f'<header><p class="about">{page.text(about)}</p><h1>{page.text(title)}</h1></header>'


def _number(value: float | None, digits: int = 4) -> Cell:
    return Cell("–") if value is None else Cell(f"{value:.{digits}f}", value)


def _means(results: Sequence[Mapping[str, Any]]) -> Table:
    names = ("weighted F1", "macro F1", "micro F1", "samples F1", "exact match")
    rows = []
    for result in results:
        for split, scores in result["splits"].items():
            cells = [Cell(f"{result['model']}, {split}"), Cell(fmt.count(scores["rows"]))]
            for key in _MEANS:
                interval = scores["intervals_95"].get(key)
                told = f"{scores[key]:.4f}"
                if interval:
                    told += f" ({interval[0]:.3f}–{interval[1]:.3f})"
                cells.append(Cell(told, scores[key]))
            rows.append(Row(tuple(cells)))
    head = ("model and split", "rows", *names)
    caption = "Means over labels, rows and decisions, with 95 % bootstrap intervals"
    return Table("means", caption, head, (False, *(True,) * 6), tuple(rows))


def _split(name: str, title: str, scores: Mapping[str, Any]) -> Iterator[str]:
    intervals = scores.get("label_intervals_95", {})
    labels = {
        label: LabelF1(**entry, low=low, high=high)
        for label, entry in scores["labels"].items()
        for low, high in [intervals.get(label, (None, None))]
    }
    bars = page.figure(
        lambda width, id_: f1_bars(labels, width=width, name=id_),
        f"{name}-bars",
        "F1 of each annotated label at the model's thresholds.",
    )
    rows = tuple(
        Row(
            (
                Cell(label),
                *(_number(value, 3) for value in (s.precision, s.recall, s.f1)),
                *(Cell(fmt.count(n), n) for n in (s.support, s.predicted)),
            )
        )
        for label, s in labels.items()
    )
    head = ("label", "precision", "recall", "F1", "rows with it", "rows given it")
    numeric = (False, *(True,) * 5)
    by_label = page.table(Table(f"{name}-labels", title, head, numeric, rows), sortable=True)
    about = f"<p>{page.text(title)}</p>"
    yield page.section(f"{name}-labels", "By label", about, bars, by_label)
    if "confusion" in scores:
        yield _confusion(name, about, scores["confusion"])
        yield _correlation(name, about, list(scores["confusion"]), scores["correlation"])
    if scores.get("worst"):
        yield page.section(f"{name}-worst", "Worst errors", about, _worst(name, scores["worst"]))


def _grid(
    name: str,
    caption: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
) -> str:
    """Draw a matrix, and give its numbers in a table that opens at a click."""
    plot = page.figure(
        lambda width, id_: matrix(values, rows, columns, title=caption, width=width, name=id_),
        name,
        "The deeper the colour, the larger the number.",
    )
    lines = tuple(
        Row((Cell(row), *(_number(value, 2) for value in line)))
        for row, line in zip(rows, values, strict=True)
    )
    numeric = (False, *(True for _ in columns))
    numbers = page.table(Table(f"{name}-table", caption, ("", *columns), numeric, lines))
    return plot + page.details("The numbers", numbers)


def _confusion(name: str, about: str, found: Mapping[str, Any]) -> str:
    missed = {label: facts for label, facts in found.items() if facts["misses"]}
    if not missed:
        return ""
    columns = [*found, "none"]
    values = [[facts["given"].get(column) for column in columns] for facts in missed.values()]
    rows = [f"{label} ({facts['misses']:,})" for label, facts in missed.items()]
    caption = "Given in place of a missed label: share of its misses"
    return page.section(
        f"{name}-confusion", "Confusion", about, _grid(f"{name}-c", caption, rows, columns, values)
    )


def _correlation(
    name: str, about: str, labels: Sequence[str], values: Sequence[Sequence[float | None]]
) -> str:
    caption = "Correlation of the labels' probabilities"
    return page.section(
        f"{name}-correlation",
        "Correlation",
        about,
        _grid(f"{name}-r", caption, labels, labels, values),
    )


def _worst(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = tuple(
        Row(
            (
                Cell(row["text"]),
                Cell(", ".join(row["true"]) or "none"),
                Cell(", ".join(row["predicted"]) or "none"),
                Cell(", ".join(f"{k} {v:.2f}" for k, v in _highest(row["scores"]))),
                Cell(f"{row['origin']}, {row['row']}"),
                _number(row["loss"], 2),
            )
        )
        for row in rows
    )
    head = ("text", "true", "predicted", "highest scores", "row", "loss")
    caption = "Wrong decisions with the largest log-loss"
    numeric = (False, False, False, False, False, True)
    return page.table(Table(f"{name}-worst", caption, head, numeric, lines), class_="words")


def _highest(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])[:3]


def _comparison(number: int, pair: Mapping[str, Any]) -> str:
    rows = []
    for split, found in pair["splits"].items():
        entries = [("weighted F1", found["weighted_f1"]), ("macro F1", found["macro_f1"])]
        for label, entry in [*entries, *found["labels"].items()]:
            span = f"{fmt.signed(entry['low'])} to {fmt.signed(entry['high'])}"
            cells = (
                Cell(f"{label}, {split}"),
                Cell(fmt.signed(entry["value"]), entry["value"]),
                Cell(span),
                _number(entry["share_not_better"], 3),
            )
            rows.append(Row(cells))
    caption = f"F1 of {pair['model']} less that of {pair['reference']}, paired bootstrap"
    head = ("F1", "difference", "95 % interval", "resamples not better")
    content = Table(f"comparison-{number}", caption, head, (False, True, True, True), tuple(rows))
    return page.section(f"compare-{number}", "Comparison", page.table(content, sortable=True))


def _errors(answer: Mapping[str, Any]) -> Table:
    before, after = answer["before"], answer["after"]
    triples = [("all labels", None, before["all"], after["all"])]
    for label, temperature in answer["temperatures"].items():
        entry = (label, temperature, before["labels"][label], after["labels"][label])
        triples.append(entry)
    rows = tuple(
        Row((Cell(name), _number(temperature, 3), _number(old["ece"]), _number(new["ece"])))
        for name, temperature, old, new in triples
    )
    head = ("label", "temperature", "before", "after")
    caption = f"Expected calibration error on {answer['measured_on']}"
    return Table("errors", caption, head, (False, True, True, True), rows)


def _reliability(raw: Mapping[str, Any]) -> Reliability:
    return Reliability(
        raw["ece"], tuple(raw["confidence"]), tuple(raw["frequency"]), tuple(raw["rows"])
    )
