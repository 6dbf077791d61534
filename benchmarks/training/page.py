"""The leaderboard's table in Markdown, from its committed figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "training.json"
README = Path(__file__).parent / "README.md"


def verdict(row: dict[str, Any]) -> str:
    """Say what can be said of a change: only what every seed agrees on is told from chance.

    :param row: of the results.
    :return: a word or two.
    """
    spans = [row[name]["difference"] for name in ("weighted_f1", "macro_f1")]
    if row["name"] == "base":
        return ""
    better = [span["min"] > 0 for span in spans]
    worse = [span["max"] < 0 for span in spans]
    if any(better) and not any(worse):
        return "helps" if all(better) else f"helps {'weighted' if better[0] else 'macro'}"
    if any(worse) and not any(better):
        return "hurts" if all(worse) else f"hurts {'weighted' if worse[0] else 'macro'}"
    return "mixed" if any(better) else "not told"


def _score(row: dict[str, Any], name: str) -> str:
    spread = "" if row[name]["sd"] is None else f" ± {row[name]['sd']:.4f}"
    return f"{row[name]['mean']:.4f}{spread}"


def _difference(row: dict[str, Any], name: str) -> str:
    span = row[name]["difference"]
    return f"{span['mean']:+.4f} ({span['min']:+.4f} to {span['max']:+.4f})"


def render(results: dict[str, Any]) -> str:
    """Render the table.

    :param results: what `collect` wrote.
    :return: Markdown, the rows of each group sorted by what they bring to weighted F1.
    """
    base, *others = results["rows"]
    groups = list(dict.fromkeys(row["group"] for row in others))
    others.sort(
        key=lambda row: (groups.index(row["group"]), -row["weighted_f1"]["difference"]["mean"])
    )
    lines = [
        "| change | | weighted F1 | to base | macro F1 | to base | minutes | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| **base** | {base['about']} | {_score(base, 'weighted_f1')} | "
        f"| {_score(base, 'macro_f1')} | | {base['minutes']:.1f} | |",
    ]
    lines += [
        f"| {row['group']}: **{row['name']}** | {row['about']} "
        f"| {_score(row, 'weighted_f1')} | {_difference(row, 'weighted_f1')} "
        f"| {_score(row, 'macro_f1')} | {_difference(row, 'macro_f1')} "
        f"| {row['minutes']:.1f} | {verdict(row)} |"
        for row in others
    ]
    machine, seeds = results["machine"], results["seeds"]
    lines += [
        "",
        f"Mean ± standard deviation over {len(seeds)} seeds on {results['rows_scored']:,} rows of "
        f"{results['split']}; differences are paired by seed: mean (smallest to largest). "
        f"{results['jobs']} runs at a time on {machine['cores']} cores of {machine['cpu']}, torch "
        f"{results['versions']['torch']}; minutes are those of one run.",
    ]
    if results["not_run"]:
        lines += ["", f"Planned and not run: {', '.join(results['not_run'])}."]
    return "\n".join(lines)
