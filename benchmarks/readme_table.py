"""The figures and tables of settings in README files, rendered from the committed figures.

    python -m benchmarks.readme_table            print the tables of results
    python -m benchmarks.readme_table --write    put them into README.md, and the tables of settings

A test holds README.md equal to what this renders, and the tables of settings equal to the classes.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from benchmarks.common import ROOT, command, load, rendered, renew
from benchmarks.peers.page import headlines
from ov_emotions.bundle import SHIPPED
from ov_emotions.cli.convert import told
from ov_emotions.cli.frame import settings_table

README = ROOT / "README.md"
WITH_SETTINGS = (README, ROOT / "ov_emotions" / "server" / "README.md")
QUALITY = (*SHIPPED, "emotions-ru-small-forum")
"""The models that ship, and one that is there as a checkpoint."""
CHECKLISTS = ("checklist.json", "checklist-forum.json")
BENCHMARKS = ROOT / "benchmarks" / "README.md"
SPLITS = {
    "test_goemotions": "GoEmotions-ru test",
    "test_cedr": "CEDR test",
    "test_brighter": "BRIGHTER held out",
}


def render() -> str:
    """Render the README's sections with their marks; every figure is of benchmarks/results."""
    return rendered(
        "readme.md",
        splits=SPLITS,
        quality=[r for model in QUALITY for r in load(f"quality-{model}.json")["results"]],
        passed={found["model"]: _passed(found) for found in _checklists()},
        speed=load("speed.json"),
        older=load("speed-avx2.json"),
        headlines=headlines(load("peers.json"), load("peers-limit.json")),
        converted=told(load("convert-cedr.json")),
    )


def _checklists() -> list[dict[str, Any]]:
    return [found for name in CHECKLISTS for found in load(name)["checklists"]]


def _passed(found: dict[str, Any]) -> str:
    lines, passed = (sum(group[key] for group in found["groups"]) for key in ("lines", "passed"))
    return f"{passed / lines:.3f} of {lines}"


def render_checklist() -> str:
    """Render the groups of the check list, with the lines of each that every model passes."""
    found = _checklists()
    groups = [
        {**of_one[0], "passed": [group["passed"] for group in of_one]}
        for of_one in zip(*(one["groups"] for one in found), strict=True)
    ]
    groups.sort(key=lambda group: group["passed"][0] / group["lines"])
    return rendered(
        "checklist.md",
        models=[one["model"] for one in found],
        groups=groups,
        lines=sum(group["lines"] for group in groups),
        passed=[sum(row) for row in zip(*(group["passed"] for group in groups), strict=True)],
    )


def render_settings(text: str) -> str:
    """Render the tables of settings whose marks a page has, `settings MODULE:CLASS`."""
    tables = []
    for module, name in re.findall(r"<!-- settings ([\w.]+):(\w+): start -->", text):
        mark = f"settings {module}:{name}"
        table = settings_table(getattr(importlib.import_module(module), name))
        tables.append(f"<!-- {mark}: start -->\n\n{table}\n\n<!-- {mark}: end -->")
    return "\n".join(tables)


def page(*, write: bool = False) -> None:
    """Write the pages, or print the tables of results."""
    if not write:
        print(render(), render_checklist(), sep="\n")
        return
    renew(README, render())
    renew(BENCHMARKS, render_checklist())
    for path in WITH_SETTINGS:
        renew(path, render_settings(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(command("benchmarks.readme_table", page))
