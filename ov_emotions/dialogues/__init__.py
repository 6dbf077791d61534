"""Emotions in dialogues: who feels what, when it changes, and when somebody should step in."""

from ov_emotions.dialogues.analysis import analyse
from ov_emotions.dialogues.dialogue import Dialogue, LeftOut, Reading, Utterance, joined
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
    "complaints",
    "joined",
    "parse_transcript",
    "read_dialogues",
]
