"""The README's table of results, rendered from the committed figures.

    python benchmarks/readme_table.py            print the table
    python benchmarks/readme_table.py --write    put it into README.md, and the tables of settings

A test holds README.md equal to what this prints, and the tables of settings equal to the classes.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from ov_emotions.bundle import SHIPPED
from ov_emotions.cli.convert import told
from ov_emotions.cli.frame import settings_table
from ov_emotions.files import write_text

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
WITH_SETTINGS = (README, ROOT / "ov_emotions" / "server" / "README.md")
SPLITS = {
    "test_goemotions": "GoEmotions-ru test",
    "test_cedr": "CEDR test",
    "test_brighter": "BRIGHTER held out",
}


def _load(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def _f1(scores: dict[str, Any]) -> str:
    low, high = scores["intervals_95"]["weighted_f1"]
    return f"{scores['weighted_f1']:.3f} ({low:.3f}–{high:.3f}) / {scores['macro_f1']:.3f}"


def _passed(found: dict[str, Any]) -> str:
    lines, passed = (sum(group[key] for group in found["groups"]) for key in ("lines", "passed"))
    return f"{passed / lines:.3f} of {lines}"


def render() -> str:
    """Render the tables in Markdown.

    :return: quality, then speed; every figure from a file in benchmarks/results.
    """
    speed = _load("speed.json")
    quality = [r for model in SHIPPED for r in _load(f"quality-{model}.json")["results"]]
    passed = {found["model"]: _passed(found) for found in _load("checklist.json")["checklists"]}
    lines = [
        "| model | weights | " + " | ".join(SPLITS.values()) + " | check list |",
        "| --- | --- | " + " | ".join("---" for _ in SPLITS) + " | --- |",
    ]
    lines += [
        f"| {result['model']} | {result['weights']} | "
        + " | ".join(_f1(result["splits"][split]) for split in SPLITS)
        + f" | {passed[result['model']] if result['weights'] == 'int8' else ''} |"
        for result in quality
    ]
    lines += [
        "",
        "Weighted F1 (95 % bootstrap interval) / macro F1, each model at its own thresholds; "
        "lines of `benchmarks/checklist.csv` that pass.",
        "",
        "| model | weights, runtime | one text, p50 | one text, p99 | 1,000 texts at once |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, figures in speed["results"].items():
        model, _, kind = name.partition(" ")
        runtime = kind if kind.startswith("torch") else f"{kind}, OpenVINO"
        lines.append(
            f"| {model} | {runtime} | {figures['p50_ms']['median']:.2f} ms "
            f"| {figures['p99_ms']['median']:.2f} ms "
            f"| {figures['texts_per_second']['median']:,.0f} texts/s |"
        )
    machine = speed["machine"]
    lines += [
        "",
        f"Medians of {len(next(iter(speed['results'].values()))['rounds']['p50_ms'])} interleaved "
        f"rounds on {machine['cores']} cores of {machine['cpu']}, OpenVINO "
        f"{speed['versions']['openvino']}, torch {speed['versions']['torch']}. INT8 against fp32 "
        "of the same weights, ratio per round as median (smallest to largest):",
        "",
    ]
    for model, ratios in speed["ratios"].items():
        for name, ratio in ratios.items():
            what, _, key = name.partition(", ")
            kind = what.removeprefix("int8 faster than ")
            against = "torch fp32" if kind.startswith("torch") else "OpenVINO fp32"
            measure = "one text" if key == "p50_ms" else "1,000 texts"
            lines.append(
                f"- {model}, {measure}: {ratio['median']:.2f} times as fast as {against} "
                f"({ratio['min']:.2f} to {ratio['max']:.2f})"
            )
    return "\n".join(lines)


def insert(readme: str, table: str, marks: str = "results") -> str:
    """Put a table between its marks.

    :param readme: the README's text.
    :param table: what `render` gives.
    :param marks: what the marks name.
    :return: the new text.
    """
    start, end = f"<!-- {marks}: start -->", f"<!-- {marks}: end -->"
    head, _, rest = readme.partition(start)
    _, _, tail = rest.partition(end)
    return f"{head}{start}\n\n{table}\n\n{end}{tail}"


def insert_peers(readme: str) -> str:
    """Put the headline ratios against peers between their marks, where the README has these.

    :param readme: the README's text.
    :return: the new text.
    """
    # Here, because the page uses what stands above.
    from benchmarks.peers.page import load_peers, render_headlines

    if "<!-- peers: start -->" not in readme:
        return readme
    return insert(readme, render_headlines(load_peers()), "peers")


def insert_convert(readme: str) -> str:
    """Put what `convert` printed between its marks.

    :param readme: the README's text.
    :return: the new text.
    """
    printed = "\n".join(told(_load("convert-cedr.json")))
    return insert(readme, f"```text\n{printed}\n```", "convert")


def insert_settings(text: str) -> str:
    """Put tables of settings between their marks, `settings MODULE:CLASS`.

    :param text: a Markdown file's.
    :return: the new text.
    """
    for module, name in re.findall(r"<!-- settings ([\w.]+):(\w+): start -->", text):
        kind = getattr(importlib.import_module(module), name)
        text = insert(text, settings_table(kind), f"settings {module}:{name}")
    return text


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        sys.path.insert(0, str(ROOT))  # run as a script, it sees only its own folder
        write_text(
            README,
            insert_convert(insert_peers(insert(README.read_text(encoding="utf-8"), render()))),
        )
        for path in WITH_SETTINGS:
            write_text(path, insert_settings(path.read_text(encoding="utf-8")))
    else:
        print(render())
