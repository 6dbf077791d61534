"""Emotions in dialogues: who feels what, when it changes, and when somebody should step in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ov_emotions.dialogues.analysis import analyse
    from ov_emotions.dialogues.dialogue import Dialogue, LeftOut, Reading, Utterance, joined
    from ov_emotions.dialogues.output import to_csv, to_json
    from ov_emotions.dialogues.reading import Columns, complaints, parse_transcript, read_dialogues
    from ov_emotions.dialogues.results import Analysis, DialogueAnalysis
    from ov_emotions.dialogues.settings import DialogueSettings
    from ov_emotions.reports.dialogue_plots import emotions_figure, negativity_figure
    from ov_emotions.reports.dialogues import page, styles

__all__ = [
    "Analysis",
    "Columns",
    "Dialogue",
    "DialogueAnalysis",
    "DialogueSettings",
    "LeftOut",
    "Reading",
    "Utterance",
    "analyse",
    "complaints",
    "emotions_figure",
    "joined",
    "negativity_figure",
    "page",
    "parse_transcript",
    "read_dialogues",
    "styles",
    "to_csv",
    "to_json",
]

# Imported at first use: the settings alone, which the command line reads, need no numpy.
_ROOMS = {
    "dialogues.analysis": ("analyse",),
    "dialogues.dialogue": ("Dialogue", "LeftOut", "Reading", "Utterance", "joined"),
    "dialogues.output": ("to_csv", "to_json"),
    "dialogues.reading": ("Columns", "complaints", "parse_transcript", "read_dialogues"),
    "dialogues.results": ("Analysis", "DialogueAnalysis"),
    "dialogues.settings": ("DialogueSettings",),
    "reports.dialogue_plots": ("emotions_figure", "negativity_figure"),
    "reports.dialogues": ("page", "styles"),
}
_LAZY = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ov_emotions.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
