"""Precision and recall of what an analysis of dialogues says, on scripted ones that are marked.

    python -m benchmarks.dialogues emotions-ru-small emotions-ru-tiny \
        --output benchmarks/results/dialogues.json

Half of the dialogues, dealt by seed so that both halves have as many hand-overs, chooses settings
from a small grid; the other half, which the choice did not see, is what is reported, for the
defaults as well. The dialogues were written for this purpose and are few: read the intervals.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions import EmotionClassifier, Prediction
from ov_emotions.dialogues import Dialogue, DialogueAnalysis, DialogueSettings, Utterance, analyse
from ov_emotions.files import write_json
from ov_emotions.system import environment

SEED = 20261130
MARKED = Path(__file__).with_name("dialogues.csv")
EARLY, LATE = 2, 4
"""How many utterances of the dialogue a hand-over may come before and after its mark; of a
turning point, `LATE` on either side."""

GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "handover": {
        "half_life": (1.0, 2.0, 3.0),
        "handover_level": (0.4, 0.45, 0.5, 0.55),
        "handover_run": (2, 3, 4),
        "handover_strength": (0.5, 0.55, 0.6, 0.65, 0.75),
        "handover_repeats": (1, 2, 3),
    },
    "turning_points": {
        "alpha": (0.05, 0.1, 0.2),
        "min_shift": (0.1, 0.15, 0.2, 0.25),
        "min_segment": (2, 3),
    },
    "segments": {
        "calm": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
        "upset": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6),
    },
}


@dataclass(frozen=True)
class Marks:
    """What whoever wrote a dialogue says of it; positions count from 0."""

    handover: int | None
    turns: tuple[tuple[int, str], ...]
    segment: str


class Remembered:
    """A classifier that has read every text once: the grid only changes what follows."""

    def __init__(self, model: str, texts: Sequence[str]) -> None:
        self._classifier = EmotionClassifier(model)
        self._found = dict(zip(texts, self._classifier(list(texts)), strict=True))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def __call__(self, texts: Sequence[str]) -> list[Prediction]:
        """Give what was found for each text."""
        return [self._found[text] for text in texts]


def read_marked(path: Path) -> dict[str, tuple[Dialogue, Marks]]:
    """Read dialogues and their marks by name: dialogue, speaker, text, handover, turn, segment."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["dialogue"]].append(row)
    found = {}
    for name, said in rows.items():
        marks = [i for i, row in enumerate(said) if row["handover"]]
        turns = tuple((i, row["turn"]) for i, row in enumerate(said) if row["turn"])
        utterances = tuple(Utterance(row["speaker"], row["text"]) for row in said)
        handover = marks[0] if marks else None
        found[name] = Dialogue(name, utterances), Marks(handover, turns, said[0]["segment"])
    return found


def halves(marked: dict[str, tuple[Dialogue, Marks]]) -> tuple[list[str], list[str]]:
    """Deal the dialogues into two halves, alike in hand-overs and segments.

    :return: names of the half that chooses and of the half that is reported.
    """
    rng = np.random.default_rng(SEED)
    groups: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for name, (_, marks) in marked.items():
        groups[marks.handover is not None, marks.segment].append(name)
    dealt: list[str] = []
    for key in sorted(groups):
        dealt += rng.permutation(groups[key]).tolist()
    return dealt[::2], dealt[1::2]


def counts(right: int, told: int, marked: int) -> dict[str, Any]:
    """Turn three counts into precision, recall and F1, with Wilson's 95 % intervals."""
    return {
        "right": right,
        "told": told,
        "marked": marked,
        "precision": _share(right, told),
        "precision_95": _wilson(right, told),
        "recall": _share(right, marked),
        "recall_95": _wilson(right, marked),
        "f1": _share(2 * right, told + marked),
    }


def _wilson(right: int, of: int) -> list[float] | None:
    if not of:
        return None
    z, share = 1.959964, right / of
    middle = share + z * z / (2 * of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    low, high = (middle - half) / scale, (middle + half) / scale
    return [round(max(low, 0.0), 3), round(min(high, 1.0), 3)]


def _share(right: int, of: int) -> float | None:
    return round(right / of, 4) if of else None


def score_handover(found: Sequence[DialogueAnalysis], marks: Sequence[Marks]) -> dict[str, Any]:
    """Count the hand-overs that come near their marks."""
    right = told = marked = 0
    for dialogue, mark in zip(found, marks, strict=True):
        told += dialogue.handover is not None
        marked += mark.handover is not None
        if dialogue.handover is not None and mark.handover is not None:
            right += -EARLY <= dialogue.handover.position - mark.handover <= LATE
    return counts(right, told, marked)


def score_turns(found: Sequence[DialogueAnalysis], marks: Sequence[Marks]) -> dict[str, Any]:
    """Count the clients' turning points that have a mark of their direction near."""
    right = told = marked = 0
    for dialogue, mark in zip(found, marks, strict=True):
        points = [point for speaker in dialogue.clients for point in speaker.turning_points]
        told += len(points)
        marked += len(mark.turns)
        left = list(mark.turns)
        for point in points:
            direction = "worse" if point.worse else "better"
            near = [t for t in left if t[1] == direction and abs(t[0] - point.position) <= LATE]
            if near:
                right += 1
                left.remove(near[0])
    return counts(right, told, marked)


def score_segments(segments: Sequence[str], marks: Sequence[Marks]) -> dict[str, Any]:
    """Count the clients that stand in the segment they were written for."""
    right = sum(a == mark.segment for a, mark in zip(segments, marks, strict=True))
    return {
        "right": right,
        "clients": len(marks),
        "accuracy": _share(right, len(marks)),
        "accuracy_95": _wilson(right, len(marks)),
    }


def settings_of(grid: dict[str, tuple[Any, ...]]) -> Iterable[dict[str, Any]]:
    """Give every combination of a grid that is allowed."""
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        if chosen.get("calm", 0) <= chosen.get("upset", 1):
            yield chosen


def measure(model: str, marked: dict[str, tuple[Dialogue, Marks]]) -> dict[str, Any]:
    """Fit on one half, and report the other: scores of the defaults and of what was fitted."""
    texts = dict.fromkeys(u.text for dialogue, _ in marked.values() for u in dialogue.utterances)
    classifier: Any = Remembered(model, list(texts))
    chooses, reports = halves(marked)

    def run(names: Sequence[str], settings: DialogueSettings) -> dict[str, Any]:
        analysis = analyse([marked[name][0] for name in names], classifier, settings)
        marks = [marked[name][1] for name in names]
        segments = {client.dialogues[0]: client.segment for client in analysis.clients}
        return {
            "handover": score_handover(analysis.dialogues, marks),
            "turning_points": score_turns(analysis.dialogues, marks),
            "segments": score_segments([segments[name] for name in names], marks),
        }

    defaults = DialogueSettings()
    answer: dict[str, Any] = {}
    at_defaults = run(reports, defaults)
    for question, grid in GRIDS.items():
        key = "accuracy" if question == "segments" else "f1"
        # The permutation test is the slow part, and matters to turning points alone.
        base = defaults if question == "turning_points" else replace(defaults, permutations=1)
        best, fitted = -1.0, {}
        for chosen in settings_of(grid):
            value = run(chooses, replace(base, **chosen))[question][key] or 0.0
            # Of equals, what is nearest to the defaults.
            if value > best + 1e-9 or (value > best - 1e-9 and _changed(chosen) < _changed(fitted)):
                best, fitted = value, chosen
        answer[question] = {
            "defaults": at_defaults[question],
            "fitted": run(reports, replace(base, **fitted))[question],
            "fitted_settings": fitted,
            "fitted_on_its_own_half": round(best, 4),
        }
    return answer


def _changed(chosen: dict[str, Any]) -> int:
    defaults = DialogueSettings()
    return sum(getattr(defaults, name) != value for name, value in chosen.items())


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    marked = read_marked(MARKED)
    chooses, reports = halves(marked)
    answer = {
        "command": shlex.join(["python", "-m", "benchmarks.dialogues", *sys.argv[1:]]),
        "split": f"benchmarks/dialogues/dialogues.csv: {len(chooses)} dialogues choose, "
        f"{len(reports)} are reported",
        "tolerance": {"handover": [-EARLY, LATE], "turning_points": LATE},
        "seed": SEED,
        **environment("openvino", "tokenizers", "numpy"),
        "models": {model: measure(model, marked) for model in args.models},
    }
    write_json(args.output, answer)
    print(json.dumps(answer["models"], indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
