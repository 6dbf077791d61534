"""Run the leaderboard of training options, and write its figures and its table.

    python -m benchmarks.training run --data prepared --work runs/leaderboard --jobs 2
    python -m benchmarks.training collect --data prepared --work runs/leaderboard
    python -m benchmarks.training page --write

`run` may be stopped and given again: runs that are done stay done. `collect` reads them into
benchmarks/results/training.json, from which `page` makes the table in this folder's README.md; a
test holds the two equal.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, SEED, load, renew
from benchmarks.training.plan import (
    RESULT,
    Change,
    Place,
    Plan,
    read_plan,
    read_run,
    run_all,
    run_one,
)
from benchmarks.training.scoring import cross_fitted, render, summarize
from ov_emotions.data.dataset import MANIFEST_NAME, PreparedData
from ov_emotions.files import sha256_file, write_json
from ov_emotions.system import environment
from ov_emotions.thresholds import FOLDS, METHODS, Fit, fit_thresholds, threshold_fitter

PLAN = Path(__file__).with_name("plan.toml")
README = Path(__file__).with_name("README.md")
OUTPUT = RESULTS / "training.json"


def collect(place: Place, plan: Plan, jobs: int) -> dict[str, Any]:
    """Read the runs that are done, `jobs` at a time, into rows with the scores of every seed.

    Rows that lack a seed are named, not counted.
    """
    validation = PreparedData.open(place.data).split("validation")
    labels = validation.label_set.labels

    def scores(change: Change, seed: int, fit: Fit = fit_thresholds) -> dict[str, float]:
        result, probabilities = read_run(place, change, seed)
        found = cross_fitted(probabilities, validation.targets, labels, fit)
        return {**found, "minutes": result["minutes"], "rows": result["rows"]}

    def row(shown: Change, trained: Change, fit: Fit = fit_thresholds) -> dict[str, Any]:
        runs = [scores(trained, seed, fit) for seed in plan.seeds]
        facts = {"name": shown.name, "group": shown.group, "about": shown.about}
        settings = {"settings": dict(shown.settings), "augment": list(shown.augment)}
        return facts | settings | summarize(runs, base) | {"runs": runs}

    done = [
        one for one in plan.rows if all((place.run(one, s) / RESULT).is_file() for s in plan.seeds)
    ]
    base = [scores(plan.base, seed) for seed in plan.seeds]
    fitters = {name: threshold_fitter(name) for name in METHODS}
    rows = [row(change, change) for change in done] + [
        row(Change(name, "thresholds", METHODS[name]), plan.base, fit)
        for name, fit in fitters.items()
        if fit is not fit_thresholds  # what every row has
    ]
    return {
        "command": shlex.join(["python", "-m", "benchmarks.training", *sys.argv[1:]]),
        "split": f"validation, cross-fitted in {FOLDS} folds",
        "rows_scored": len(validation),
        "seeds": list(plan.seeds),
        "fold_seed": SEED,
        "jobs": jobs,
        "plan_sha256": sha256_file(place.plan),
        "data_manifest_sha256": sha256_file(place.data / MANIFEST_NAME),
        **environment("torch", "transformers", "tokenizers", "numpy"),
        "not_run": [one.name for one in plan.rows if one not in done],
        "rows": rows,
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("run", "one", "collect"):
        part = verbs.add_parser(verb, allow_abbrev=False)
        part.add_argument("--data", type=Path, required=True, help="prepared folder")
        part.add_argument("--work", type=Path, required=True, help="folder for the runs")
        part.add_argument("--plan", type=Path, default=PLAN)
        if verb == "one":
            part.add_argument("name")
            part.add_argument("seed", type=int)
        else:
            part.add_argument("--jobs", type=int, default=1, help="runs at a time")
    verbs.add_parser("page").add_argument("--write", action="store_true")
    args = parser.parse_args()
    if args.verb == "page":
        section = render(load(OUTPUT.name))
        renew(README, section) if args.write else print(section)
        return
    place, plan = Place(args.plan, args.data, args.work), read_plan(args.plan)
    if args.verb == "run":
        run_all(place, plan, args.jobs)
    elif args.verb == "one":
        (change,) = (row for row in plan.rows if row.name == args.name)
        run_one(place, plan, change, args.seed)
    else:
        write_json(OUTPUT, collect(place, plan, args.jobs))
        print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    main()
