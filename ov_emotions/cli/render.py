"""How a prediction is written: a line for a person, or a line of JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from ov_emotions.normalize import replace_surrogates

if TYPE_CHECKING:
    from ov_emotions.prediction import Prediction
    from ov_emotions.texts import Row

_DIM, _RESET = "\x1b[2m", "\x1b[0m"
_COLOURS = {
    "anger": "\x1b[31m",
    "disgust": "\x1b[32m",
    "fear": "\x1b[35m",
    "joy": "\x1b[33m",
    "sadness": "\x1b[34m",
    "surprise": "\x1b[36m",
    "neutral": _DIM,
}


def coloured(out: TextIO) -> bool:
    """Tell whether colours are welcome: on a terminal that has them, and without NO_COLOR."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def one_line(text: str) -> str:
    """Make a text one line, with nothing that a terminal would obey, such as escape sequences."""
    words = " ".join(replace_surrogates(text).split())
    return "".join(character if character.isprintable() else "�" for character in words)


class JsonWriter:
    """Writes `{"text", "labels", "scores", "truncated"}`, a line each."""

    def __init__(self, out: TextIO, names: Mapping[str, str]) -> None:
        self.out = out
        self.names = names

    def write(self, row: Row, prediction: Prediction) -> None:
        """Write one prediction; halves of surrogate pairs in the text become U+FFFD."""
        value = {"text": replace_surrogates(row.text), **prediction.to_dict(rounded=True)}
        if self.names:
            value["labels"] = [self.names.get(label, label) for label in value["labels"]]
            value["scores"] = {self.names.get(k, k): v for k, v in value["scores"].items()}
        self.out.write(json.dumps(value, ensure_ascii=False) + "\n")


class HumanWriter:
    """Writes the emotions in a column, then the text, cut to the width of a terminal.

    `nothing` stands for a text that scores 0 everywhere.
    """

    def __init__(self, out: TextIO, names: Mapping[str, str], nothing: str) -> None:
        self.out = out
        self.names = names
        self.nothing = nothing
        self.coloured = coloured(out)
        self.columns = shutil.get_terminal_size().columns if out.isatty() else None
        # Room for the two longest names from the start; the column grows if a row needs more.
        longest = sorted(map(len, names.values()))[-2:]
        self.width = sum(longest) + len(" 99%, ") + len(" 99%")

    def write(self, row: Row, prediction: Prediction) -> None:
        """Write one prediction as one line."""
        parts = [(label, self._part(prediction, label)) for label in prediction.labels]
        if not parts:
            parts = [("neutral", self._nothing(prediction))]
        plain = ", ".join(part for _, part in parts)
        self.width = max(self.width, len(plain))
        shown = plain
        if self.coloured:
            shown = ", ".join(f"{_COLOURS.get(k, '')}{part}{_RESET}" for k, part in parts)
        padding = " " * (self.width - len(plain) + 2)
        text = one_line(row.text)
        mark = " (only its beginning was read)" if prediction.truncated else ""
        if self.columns is not None:
            room = max(self.columns - self.width - 2 - len(mark), 12)
            text = text if len(text) <= room else text[: room - 1] + "…"
        self.out.write(f"{shown}{padding}{text}{mark}\n")

    def _part(self, prediction: Prediction, label: str) -> str:
        return f"{self.names[label]} {prediction.scores[label]:.0%}"

    def _nothing(self, prediction: Prediction) -> str:
        best = max(prediction.scores, key=lambda label: prediction.scores[label])
        if prediction.scores[best] == 0:
            return f"— {self.nothing}"
        return f"— at most {self._part(prediction, best)}"
