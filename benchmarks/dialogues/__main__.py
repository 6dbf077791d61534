"""Precision and recall of what an analysis of dialogues says, on scripted ones that are marked.

    python -m benchmarks.dialogues emotions-ru-small emotions-ru-tiny \
        --output benchmarks/results/dialogues.json
    python -m benchmarks.dialogues --write

Half of the dialogues, dealt by seed so that both halves have as many hand-overs, chooses settings
from a small grid; the other half, which the choice did not see, is what is reported, for the
defaults as well. The dialogues were written for this purpose and are few: read the intervals.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, command, load, record, rendered, renew
from ov_emotions import EmotionClassifier, Prediction
from ov_emotions.bundle import SHIPPED
from ov_emotions.cli.output import print_json
from ov_emotions.dialogues import Dialogue, DialogueAnalysis, DialogueSettings, Utterance, analyse
from ov_emotions.dialogues.curves import wilson

SEED = 20261130
MARKED = Path(__file__).with_name("dialogues.csv")
PAGE = Path(__file__).with_name("README.md")
OUTPUT = RESULTS / "dialogues.json"
NAMES = {"handover": "hand-over", "turning_points": "turning points"}
EARLY, LATE = 2, 4
"""How many utterances of the dialogue a hand-over may come before and after its mark; of a
turning point, `LATE` on either side."""

DEFAULTS = DialogueSettings()
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
class Marked:
    """A dialogue, and what its writer says of it; positions count from 0."""

    dialogue: Dialogue
    handover: int | None
    turns: tuple[tuple[int, str], ...]
    segment: str


Pairs = Sequence[tuple[DialogueAnalysis, Marked]]


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


def read_marked(path: Path) -> list[Marked]:
    """Read dialogues: dialogue, speaker, text, and the marks handover, turn, segment."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["dialogue"]].append(row)
    return [
        Marked(
            Dialogue(name, tuple(Utterance(row["speaker"], row["text"]) for row in said)),
            next((i for i, row in enumerate(said) if row["handover"]), None),
            tuple((i, row["turn"]) for i, row in enumerate(said) if row["turn"]),
            said[0]["segment"],
        )
        for name, said in rows.items()
    ]


def halves(marked: Sequence[Marked]) -> tuple[list[Marked], list[Marked]]:
    """Deal into two halves, alike in hand-overs and segments: what chooses, what is reported."""
    rng = np.random.default_rng(SEED)
    groups: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for i, one in enumerate(marked):
        groups[one.handover is not None, one.segment].append(i)
    dealt = [marked[i] for key in sorted(groups) for i in rng.permutation(groups[key])]
    return dealt[::2], dealt[1::2]


def _share(right: int, of: int, name: str) -> dict[str, Any]:
    """Give a share with Wilson's 95 % interval; None where there is nothing to divide by."""
    if not of:
        return {name: None, f"{name}_95": None}
    ends = wilson(np.array(right / of), np.array(of), 0.95)
    return {name: round(right / of, 4), f"{name}_95": [round(float(end), 3) for end in ends]}


def _counts(right: int, told: int, marked: int) -> dict[str, Any]:
    """Turn three counts into precision, recall and F1."""
    return {
        "right": right,
        "told": told,
        "marked": marked,
        **_share(right, told, "precision"),
        **_share(right, marked, "recall"),
        "f1": round(2 * right / (told + marked), 4) if told + marked else None,
    }


def score_handover(pairs: Pairs) -> dict[str, Any]:
    """Count the hand-overs that come near their marks."""
    found = [(d.handover.position if d.handover else None, mark.handover) for d, mark in pairs]
    right = sum(
        -EARLY <= place - mark <= LATE
        for place, mark in found
        if place is not None and mark is not None
    )
    told, marked = (sum(one is not None for one in column) for column in zip(*found, strict=True))
    return _counts(right, told, marked)


def score_turns(pairs: Pairs) -> dict[str, Any]:
    """Count the clients' turning points that have a mark of their direction near."""
    right = told = 0
    for dialogue, mark in pairs:
        left = list(mark.turns)
        for point in (point for speaker in dialogue.clients for point in speaker.turning_points):
            told += 1
            direction = "worse" if point.worse else "better"
            near = [t for t in left if t[1] == direction and abs(t[0] - point.position) <= LATE]
            if near:
                right += 1
                left.remove(near[0])
    return _counts(right, told, sum(len(mark.turns) for _, mark in pairs))


def run(
    marked: Sequence[Marked], classifier: Any, settings: DialogueSettings
) -> dict[str, dict[str, Any]]:
    """Score an analysis: hand-overs, turning points, and the clients' segments."""
    analysis = analyse([one.dialogue for one in marked], classifier, settings)
    pairs = list(zip(analysis.dialogues, marked, strict=True))
    segments = {client.dialogues[0]: client.segment for client in analysis.clients}
    right = sum(segments[one.dialogue.name] == one.segment for one in marked)
    return {
        "handover": score_handover(pairs),
        "turning_points": score_turns(pairs),
        "segments": {
            "right": right,
            "clients": len(marked),
            **_share(right, len(marked), "accuracy"),
        },
    }


def _grid(question: str) -> Iterable[dict[str, Any]]:
    """Give every combination that is allowed, those nearest to the defaults first."""
    grid = GRIDS[question]
    found = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    allowed = [chosen for chosen in found if chosen.get("calm", 0) <= chosen.get("upset", 1)]
    return sorted(allowed, key=lambda c: sum(getattr(DEFAULTS, k) != v for k, v in c.items()))


def measure(model: str, marked: Sequence[Marked]) -> dict[str, Any]:
    """Fit on one half, and report the other: scores of the defaults and of what was fitted."""
    texts = dict.fromkeys(u.text for one in marked for u in one.dialogue.utterances)
    classifier = Remembered(model, list(texts))
    chooses, reports = halves(marked)
    at_defaults = run(reports, classifier, DEFAULTS)
    answer: dict[str, Any] = {}
    for question in GRIDS:
        key = "accuracy" if question == "segments" else "f1"
        # The permutation test is the slow part, and matters to turning points alone.
        slow = question == "turning_points"
        base = DEFAULTS if slow else replace(DEFAULTS, permutations=1)
        scores = [
            (run(chooses, classifier, replace(base, **chosen))[question][key] or 0.0, chosen)
            for chosen in _grid(question)
        ]
        best, fitted = max(scores, key=lambda pair: pair[0])
        answer[question] = {
            "defaults": at_defaults[question],
            "fitted": run(reports, classifier, replace(base, **fitted))[question],
            "fitted_settings": fitted,
            "fitted_on_its_own_half": round(best, 4),
        }
    return answer


def render() -> str:
    """Render the page's section from the committed figures."""
    return rendered("dialogues.md", found=load(OUTPUT.name), names=NAMES)


def dialogues(
    models: tuple[str, ...] = SHIPPED, *, output: Path = OUTPUT, write: bool = False
) -> None:
    """Measure and write the figures, or write the page.

    :param models: bundles, or the names of shipped ones.
    """
    if write:
        renew(PAGE, render())
        return
    marked = read_marked(MARKED)
    chooses, reports = map(len, halves(marked))
    answer = record(
        output,
        "openvino tokenizers numpy",
        split=f"benchmarks/dialogues/dialogues.csv: {chooses} dialogues choose, "
        f"{reports} are reported",
        tolerance={"handover": [-EARLY, LATE], "turning_points": LATE},
        seed=SEED,
        models={model: measure(model, marked) for model in models},
    )
    print_json(answer["models"])


if __name__ == "__main__":
    sys.exit(command("benchmarks.dialogues", dialogues))
