"""Run the leaderboard of training options, and write its figures and its table.

    python -m benchmarks.training run --data prepared --work runs/leaderboard --jobs 2
    python -m benchmarks.training collect --data prepared --work runs/leaderboard
    python -m benchmarks.training page --write

`run` may be stopped and given again: runs that are done stay done. `collect` reads them into a file
of benchmarks/results that is called as the plan, from which `page` makes the table in this folder's
README.md; a test holds the two equal.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, SEED, command, load, record, renew
from benchmarks.training.plan import Change, Place, run_all, run_one
from benchmarks.training.scoring import ALL, cross_fitted, render, summarize
from ov_emotions.data.dataset import MANIFEST_NAME, PreparedData
from ov_emotions.errors import InputError
from ov_emotions.files import sha256_file
from ov_emotions.schema import Count
from ov_emotions.thresholds import FOLDS, METHODS, Fit, fit_thresholds, threshold_fitter

PLAN = Path(__file__).with_name("training.toml")
PLANS = (PLAN, PLAN.with_name("training-sets.toml"), PLAN.with_name("training-english.toml"))
README = Path(__file__).with_name("README.md")


def run(*, data: Path, work: Path, plan: Path = PLAN, jobs: Count = 1) -> None:
    """Do every run that is not done yet.

    :param work: folder for the runs.
    :param jobs: runs at a time.
    """
    run_all(Place(plan, data, work), jobs)


def one(name: str, seed: int, *, data: Path, work: Path, plan: Path = PLAN) -> None:
    """Do one run."""
    place = Place(plan, data, work)
    (change,) = (row for row in place.read().rows if row.name == name)
    run_one(place, change, seed)


def collect(*, data: Path, work: Path, plan: Path = PLAN, jobs: Count = 1) -> None:
    """Read the runs that are done into rows with the scores of every seed.

    A row whose runs are gone keeps the scores that were collected before, where neither it nor the
    data have changed. Rows that lack a seed are named, not counted.

    :param jobs: runs that there were at a time.
    """
    place = Place(plan, data, work)
    planned, validation = place.read(), PreparedData.open(data).split("validation")
    data_sha256 = sha256_file(data / MANIFEST_NAME)
    known = _collected(plan, planned.seeds, data_sha256)

    def scores(change: Change, fit: Fit = fit_thresholds) -> list[dict[str, Any]]:
        found = []
        for seed in planned.seeds:
            result, probabilities = place.result(change, seed)
            labels, origins = validation.label_set.labels, validation.origins
            sets = cross_fitted(probabilities, validation.targets, labels, fit, origins)
            found.append({"minutes": result["minutes"], "rows": result["rows"], "sets": sets})
        return found

    def done(change: Change) -> bool:
        return all(place.is_done(change, seed) for seed in planned.seeds)

    def found(change: Change) -> list[dict[str, Any]]:
        return scores(change) if done(change) else known[change.name]["runs"]

    def row(shown: Change, runs: list[dict[str, Any]]) -> dict[str, Any]:
        sets = {
            name: summarize([run["sets"][name] for run in runs], [x["sets"][name] for x in base])
            for name in base[0]["sets"]
        }
        return {
            "name": shown.name,
            "group": shown.group,
            "about": shown.about,
            "settings": dict(shown.settings),
            "augment": list(shown.augment),
            "data": shown.data,
            **sets.pop(ALL),
            "sets": sets,
            "minutes": round(statistics.fmean(run["minutes"] for run in runs), 2),
            "runs": runs,
        }

    kept = [c.name for c in planned.rows if not done(c) and _same(c, known.get(c.name))]
    shown = [c for c in planned.rows if done(c) or c.name in kept]
    if planned.base not in shown:
        raise InputError(f"the base of {plan} was not run with every seed in {work}; run it first")
    base = found(planned.base)
    rows = [row(change, found(change)) for change in shown]
    for name, about in METHODS.items():
        fit = threshold_fitter(name)
        if fit is fit_thresholds:  # what every row has
            continue
        runs = known[name]["runs"] if planned.base.name in kept else scores(planned.base, fit)
        rows.append(row(Change(name, "thresholds", about), runs))
    record(
        output_of(plan),
        "torch transformers tokenizers numpy",
        split=f"validation, cross-fitted in {FOLDS} folds",
        rows_scored=len(validation),
        seeds=planned.seeds,
        fold_seed=SEED,
        jobs=jobs,
        plan_sha256=sha256_file(plan),
        data_manifest_sha256=data_sha256,
        collected_before=kept,
        not_run=[change.name for change in planned.rows if change not in shown],
        rows=rows,
    )


def _collected(plan: Path, seeds: tuple[int, ...], data_sha256: str) -> dict[str, dict[str, Any]]:
    """Read the rows that were collected with the same seeds, of the same data."""
    before = load(output_of(plan).name)
    now = {"seeds": list(seeds), "data_manifest_sha256": data_sha256, "fold_seed": SEED}
    if before is None or any(before[key] != value for key, value in now.items()):
        return {}
    return {row["name"]: row for row in before["rows"]}


def _same(change: Change, row: dict[str, Any] | None) -> bool:
    told = (dict(change.settings), list(change.augment), change.data)
    return row is not None and told == (row["settings"], row["augment"], row["data"])


def output_of(plan: Path) -> Path:
    """Name the file of a plan's figures."""
    return RESULTS / f"{plan.stem}.json"


def page(*, plan: Path = PLAN, write: bool = False) -> None:
    """Render the table in README.md."""
    section = render(output_of(plan))
    renew(README, section) if write else print(section)


if __name__ == "__main__":
    sys.exit(command("benchmarks.training", run, one, collect, page))
