"""Models beside each other on all of validation, a set at a time, at cross-fitted thresholds.

    python -m benchmarks.training.stages NAME=MODEL ... --data prepared --output FILE
    python -m benchmarks.training.stages --output FILE --write      put its figures into the page

A model is a bundle, or a checkpoint with its IR made on the way. Every row is decided at thresholds
that were fitted on the other folds of all sets together, and no test split is read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, SEED, command, load, record, rendered, renew
from benchmarks.training.scoring import ALL, cross_fitted
from ov_emotions import EmotionClassifier
from ov_emotions.conversion.run import open_fp32
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import InputError

OUTPUT = RESULTS / "last-stage.json"
PAGE = ROOT / "quantize" / "checkpoints" / "README.md"
SETS = {
    "ru_goemotions": "GoEmotions-ru",
    "brighter_rus": "BRIGHTER",
    "support_desk": "support desk",
    ALL: "all",
}
"""CEDR is left out: what the stages began with had trained on its rows. The marks in the page are
called as the file."""


def measure(models: dict[str, str], data: PreparedData) -> dict[str, Any]:
    """Score models on validation.

    :param models: bundles or checkpoints by name.
    :param data: the prepared folder.
    :return: by model and set, weighted and macro F1.
    """
    rows, labels = data.split("validation"), data.label_set.labels
    answer: dict[str, Any] = {}
    for name, source in models.items():
        with open_fp32(source, data) as (bundle, _), EmotionClassifier(bundle) as classifier:
            probabilities = classifier.predict_proba(list(rows.texts))
        found = cross_fitted(probabilities, rows.targets, labels, origins=rows.origins)
        answer[name] = {
            one: {metric: round(value, 4) for metric, value in found[one].items()} for one in SETS
        }
    return answer


def render(path: Path = OUTPUT) -> str:
    """Render the section of the page from a file of figures, which its marks are called as."""
    models = load(path.name, path.parent)["models"]
    return rendered("stages.md", mark=path.stem, sets=SETS, models=models)


def stages(
    models: tuple[str, ...] = (),
    *,
    data: Path | None = None,
    output: Path = OUTPUT,
    write: bool = False,
) -> None:
    """Measure, and render the page.

    :param models: of the form NAME=MODEL; none are measured where none is named.
    :param write: put the figures into the page.
    """
    if models:
        if data is None:
            raise InputError("--data is needed")
        named = dict(one.partition("=")[::2] for one in models)
        record(
            output,
            "openvino",
            split="validation, thresholds cross-fitted in 5 folds",
            seed=SEED,
            models=measure(named, PreparedData.open(data)),
        )
    section = render(output)
    renew(PAGE, section) if write else print(section)


if __name__ == "__main__":
    sys.exit(command("benchmarks.training.stages", stages))
