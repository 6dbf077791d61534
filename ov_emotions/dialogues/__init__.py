"""Emotions in dialogues: who feels what, when it changes, and when somebody should step in."""

from ov_emotions.dialogues.analysis import analyse
from ov_emotions.dialogues.dialogue import Dialogue, LeftOut, Reading, Utterance, joined
from ov_emotions.dialogues.figures import clients_figure, emotions_figure, negativity_figure, styles
from ov_emotions.dialogues.output import to_csv, to_json
from ov_emotions.dialogues.page import page
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
