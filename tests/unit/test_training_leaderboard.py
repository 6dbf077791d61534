"""The leaderboard of training options: its plan, its arithmetic, its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

from benchmarks.common import load, renewed
from benchmarks.training import __main__ as leaderboard
from benchmarks.training.plan import read_plan
from benchmarks.training.scoring import cross_fitted, render, summarize, verdict

PLAN = read_plan(leaderboard.PLAN)


@pytest.mark.parametrize("change", PLAN.rows, ids=lambda change: change.name)
def test_every_row_of_the_plan_is_a_valid_run_that_differs_from_the_base(change):
    run = PLAN.config(change, 7, Path("data"), Path("out"))
    base = PLAN.config(PLAN.base, 7, Path("data"), Path("out"))
    assert run.seed == 7
    assert (run == base) == (change.name == "base")
    assert change.about
    assert change.group


def test_two_rows_of_one_name_are_refused(tmp_path):
    row = '[[change]]\nname = "a"\ngroup = "g"\nabout = "x"\n'
    plan = tmp_path / "plan.toml"
    plan.write_text(f'seeds = [1]\n[base]\nabout = "b"\n{row}{row}', encoding="utf-8")
    with pytest.raises(ValueError, match="names a row twice"):
        read_plan(plan)


def test_cross_fitting_scores_no_row_at_thresholds_it_had_a_part_in():
    rng = np.random.default_rng(0)
    targets = (rng.random((400, 2)) < 0.3).astype(np.int8)
    seen: list[int] = []

    def fit(probabilities, given):
        seen.append(len(given))
        # The share of rows that have the label: of no use to rows that took part in it.
        return np.quantile(probabilities, 0.7, axis=0).astype(np.float32)

    chance = cross_fitted(rng.random((400, 2)).astype(np.float32), targets, ("a", "b"), fit)
    assert seen == [320] * 5
    assert 0.2 < chance["weighted_f1"] < 0.4
    sure = np.where(targets == 1, 0.9, 0.1).astype(np.float32)
    assert cross_fitted(sure, targets, ("a", "b")) == {"weighted_f1": 1.0, "macro_f1": 1.0}


def _run(weighted: float, macro: float, minutes: float = 1.0) -> dict[str, float]:
    return {"weighted_f1": weighted, "macro_f1": macro, "minutes": minutes}


BASE = [_run(0.60, 0.50), _run(0.62, 0.51), _run(0.61, 0.52)]


def test_differences_are_paired_by_seed():
    found = summarize([_run(0.61, 0.50, 2), _run(0.64, 0.50, 3), _run(0.64, 0.50, 4)], BASE)
    assert found["weighted_f1"]["mean"] == pytest.approx(0.63)
    assert found["weighted_f1"]["difference"] == {
        "mean": pytest.approx(0.02),
        "min": pytest.approx(0.01),
        "max": pytest.approx(0.03),
    }
    assert found["minutes"] == 3


def _row(name: str, group: str, runs: list[dict[str, float]]) -> dict:
    return {"name": name, "group": group, "about": f"about {name}"} | summarize(runs, BASE)


@pytest.mark.parametrize(
    ("weighted", "macro", "said"),
    [
        ((0.01, 0.01, 0.01), (0.01, 0.01, 0.01), "helps"),
        ((0.01, 0.01, 0.01), (-0.01, 0.0, 0.01), "helps weighted"),
        ((-0.01, -0.02, -0.01), (0.0, 0.0, 0.0), "hurts weighted"),
        ((0.01, 0.01, 0.01), (-0.01, -0.01, -0.01), "mixed"),
        ((0.01, -0.01, 0.01), (0.01, -0.01, 0.02), "not told"),
    ],
)
def test_only_what_every_seed_agrees_on_is_said_to_help_or_hurt(weighted, macro, said):
    runs = [
        _run(base["weighted_f1"] + w, base["macro_f1"] + m)
        for base, w, m in zip(BASE, weighted, macro, strict=True)
    ]
    assert verdict(_row("x", "g", runs)) == said


def test_the_table_sorts_each_group_by_what_it_brings_and_names_what_is_missing():
    better, best = ([_run(r["weighted_f1"] + d, r["macro_f1"]) for r in BASE] for d in (0.01, 0.02))
    table = render(
        {
            "rows": [
                _row("base", "base", BASE),
                _row("one", "head", better),
                _row("two", "loss", better),
                _row("three", "head", best),
            ],
            "seeds": [1, 2, 3],
            "rows_scored": 5343,
            "split": "validation",
            "jobs": 2,
            "machine": {"cores": 2, "cpu": "a CPU"},
            "versions": {"torch": "2"},
            "not_run": ["four"],
        }
    )
    names = [line.split("**")[1] for line in table.splitlines() if "**" in line]
    assert names == ["base", "three", "one", "two"]
    assert "+0.0200 (+0.0200 to +0.0200)" in table
    assert "Planned and not run: four." in table


def test_the_page_shows_the_committed_figures():
    page = leaderboard.README.read_text(encoding="utf-8")
    assert renewed(page, render(load("training.json"))) == page
