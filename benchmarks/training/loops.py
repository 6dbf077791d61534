"""Two versions of the training code compared: the same recipes and seeds, scored on validation.

    python -m benchmarks.training run --plan benchmarks/training/loops.toml --data prepared \
        --work runs/loops-old             # with the older code on PYTHONPATH
    python -m benchmarks.training run --plan benchmarks/training/loops.toml --data prepared \
        --work runs/loops-new
    python -m benchmarks.training.loops --data prepared --old runs/loops-old --new runs/loops-new

Thresholds are cross-fitted, so that no row has a part in those it is scored at. Every resample
draws the same rows for both versions and all seeds (the paired bootstrap); the test split is not
read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.plan import read_plan
from benchmarks.training.runner import Place, read_run
from benchmarks.training.scoring import METRICS, SEED
from ov_emotions.data.dataset import MANIFEST_NAME, PreparedData
from ov_emotions.files import sha256_file, write_json
from ov_emotions.metrics import score
from ov_emotions.system import environment
from ov_emotions.thresholds import FOLDS, cross_fit, fit_thresholds

PLAN = Path(__file__).parent / "loops.toml"
RESULTS = Path(__file__).parents[1] / "results" / "training-loops.json"
SAMPLES = 1000


def compare(plan_file: Path, data: Path, old: Path, new: Path) -> dict[str, Any]:
    """Score the runs of both versions.

    :param plan_file: the plan that both ran.
    :param data: prepared folder.
    :param old: folder of the older version's runs.
    :param new: of the newer one's.
    :return: per row of the plan both versions' scores by seed, and the newer one's mean difference
        over the seeds with its 95% interval over rows.
    """
    plan = read_plan(plan_file)
    validation = PreparedData.open(data).split("validation")
    targets, labels = validation.targets, validation.label_set.labels
    rng = np.random.default_rng(SEED)
    draws = rng.integers(0, len(targets), (SAMPLES, len(targets)))

    def scores(predicted: NDArray[np.bool_], rows: Any = slice(None)) -> NDArray[np.float64]:
        found = score(targets[rows], predicted[rows], labels)
        return np.array([getattr(found, name) for name in METRICS])

    rows = []
    for change in plan.rows:
        found: dict[str, list[NDArray[np.bool_]]] = {"old": [], "new": []}
        runs: dict[str, list[dict[str, float]]] = {"old": [], "new": []}
        for version, work in (("old", old), ("new", new)):
            for seed in plan.seeds:
                result, probabilities = read_run(Place(plan_file, data, work), change, seed)
                found[version].append(cross_fit(probabilities, targets, fit_thresholds, SEED))
                values = zip(METRICS, scores(found[version][-1]).round(5).tolist(), strict=True)
                runs[version].append({"seed": seed, **dict(values), "steps": result["steps"]})
        both = list(zip(found["new"], found["old"], strict=True))
        mean = np.mean([scores(n) - scores(o) for n, o in both], axis=0)
        resampled = np.array(
            [
                np.mean([scores(n, rows) - scores(o, rows) for n, o in both], axis=0)
                for rows in draws
            ]
        )
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        difference = {
            name: {
                "mean": round(float(mean[i]), 5),
                "interval_95": [round(float(low[i]), 5), round(float(high[i]), 5)],
            }
            for i, name in enumerate(METRICS)
        }
        rows.append({"name": change.name, "about": change.about, **runs, "difference": difference})
    return {
        "split": f"validation, cross-fitted in {FOLDS} folds",
        "rows_scored": len(targets),
        "bootstrap_samples": SAMPLES,
        "plan_sha256": sha256_file(plan_file),
        "data_manifest_sha256": sha256_file(data / MANIFEST_NAME),
        **environment("torch", "transformers", "tokenizers", "numpy"),
        "rows": rows,
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--plan", type=Path, default=PLAN)
    for name in ("data", "old", "new"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    write_json(RESULTS, compare(args.plan, args.data, args.old, args.new))
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
