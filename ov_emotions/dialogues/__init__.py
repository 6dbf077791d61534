"""Emotions in dialogues: who feels what, when it changes, and when somebody should step in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ov_emotions.dialogues.analysis import analyse
    from ov_emotions.dialogues.dialogue import Dialogue, LeftOut, Reading, Utterance, joined
    from ov_emotions.dialogues.html_page import page
    from ov_emotions.dialogues.output import to_csv, to_json
    from ov_emotions.dialogues.plot_clients import clients_figure
    from ov_emotions.dialogues.plot_emotions import emotions_figure
    from ov_emotions.dialogues.plot_negativity import negativity_figure, styles
    from ov_emotions.dialogues.reading import Columns, complaints, read_dialogues
    from ov_emotions.dialogues.results import Analysis, DialogueAnalysis
    from ov_emotions.dialogues.settings import DialogueSettings
    from ov_emotions.dialogues.transcripts import parse_transcript

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
    "clients_figure",
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
    "analysis": ("analyse",),
    "dialogue": ("Dialogue", "LeftOut", "Reading", "Utterance", "joined"),
    "html_page": ("page",),
    "output": ("to_csv", "to_json"),
    "plot_clients": ("clients_figure",),
    "plot_emotions": ("emotions_figure",),
    "plot_negativity": ("negativity_figure", "styles"),
    "reading": ("Columns", "complaints", "read_dialogues"),
    "results": ("Analysis", "DialogueAnalysis"),
    "settings": ("DialogueSettings",),
    "transcripts": ("parse_transcript",),
}
_LAZY = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
