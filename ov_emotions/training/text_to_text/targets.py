"""Labels as the text that a model writes, that text read back, and the manifest of such a model.

Read without torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from ov_emotions.errors import CheckpointError, TrainingError
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.schema import Count, read_json, to_builtins
from ov_emotions.training.checkpoint import TEXT2TEXT_NAME, RunFacts, not_here
from ov_emotions.training.settings import Names

SEPARATOR = ", "


@dataclass(frozen=True)
class ParsedTarget:
    """What could be read in an output.

    :param labels: those that are named in it, in the order of the format, each once.
    :param unknown: the pieces that are no label.
    :param parseable: whether anything could be read: a label, or the word for no emotion.
    """

    labels: tuple[str, ...]
    unknown: tuple[str, ...]
    parseable: bool


@dataclass(frozen=True)
class TargetFormat:
    """How labels are written: their names in a fixed order, a comma between them.

    :param labels: English identifiers, in the order of writing.
    :param no_emotion: what is written where no label is present; may be empty.
    :raises TrainingError: if two labels, or a label and `no_emotion`, would be written alike, or a
        name holds the separator.
    """

    labels: tuple[str, ...]
    russian: Mapping[str, str]
    names: Names = "russian"
    no_emotion: str = "нет"

    def __post_init__(self) -> None:
        written = [_key(self.name(label)) for label in self.labels]
        if len({*written, _key(self.no_emotion)}) <= len(written):
            raise TrainingError(
                f"no_emotion {self.no_emotion!r} and the names {', '.join(written)} cannot be told "
                "apart when read back; choose another word"
            )
        for name in (*written, self.no_emotion):
            if "," in name or (not name and name in written):
                raise TrainingError(f"{name!r} cannot be written between commas")

    def name(self, label: str) -> str:
        """Return what is written for a label."""
        return self.russian[label] if self.names == "russian" else label

    def write(self, present: Sequence[str]) -> str:
        """Write labels, in the fixed order whatever theirs is."""
        chosen = [self.name(label) for label in self.labels if label in present]
        return SEPARATOR.join(chosen) or self.no_emotion

    def all_targets(self) -> list[str]:
        """Write every set of labels that there is: 2 to the power of their number."""
        sizes = range(len(self.labels) + 1)
        return [self.write(chosen) for size in sizes for chosen in combinations(self.labels, size)]

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {_key(self.name(label)): label for label in self.labels}

    def parse(self, text: str) -> ParsedTarget:
        """Read an output: case, spaces, order, repetitions and a final full stop do not matter.

        Beside labels the word for no emotion contradicts them, and counts as an unknown piece.
        """
        pieces = [_key(piece) for piece in text.split(",")]
        found = {self._by_name[piece] for piece in pieces if piece in self._by_name}
        nothing = _key(self.no_emotion)
        unknown = [p for p in pieces if p and p not in self._by_name]
        said_nothing = nothing in pieces if nothing else not any(pieces)
        if not found:
            unknown = [p for p in unknown if p != nothing]
        return ParsedTarget(
            labels=tuple(label for label in self.labels if label in found),
            unknown=tuple(unknown),
            parseable=bool(found) or said_nothing,
        )


def _key(piece: str) -> str:
    return " ".join(piece.casefold().split()).strip(" .")


@dataclass(frozen=True)
class OutputCounts:
    """How many of a model's outputs could be read.

    :param unparseable: in which neither a label nor the word for no emotion was found; they count
        as no label.
    :param partly: in which something was found beside pieces that are no label, which are ignored.
    """

    outputs: int = 0
    unparseable: int = 0
    partly: int = 0

    @staticmethod
    def of(parsed: Sequence[ParsedTarget]) -> OutputCounts:
        """Count."""
        return OutputCounts(
            len(parsed),
            sum(not p.parseable for p in parsed),
            sum(p.parseable and bool(p.unknown) for p in parsed),
        )

    def __add__(self, other: OutputCounts) -> OutputCounts:
        return OutputCounts(
            self.outputs + other.outputs,
            self.unparseable + other.unparseable,
            self.partly + other.partly,
        )

    @property
    def unparseable_share(self) -> float:
        """Share of outputs in which nothing could be read; 0 where there were none."""
        return self.unparseable / self.outputs if self.outputs else 0.0

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return {
            "outputs": self.outputs,
            "unparseable": self.unparseable,
            "unparseable_share": round(self.unparseable_share, 6),
            "partly": self.partly,
        }


def is_text_to_text(source: str | os.PathLike[str] | None) -> bool:
    """Say whether a folder holds a model that writes labels."""
    return source is not None and (Path(source) / TEXT2TEXT_NAME).is_file()


class Text2TextManifest(RunFacts, frozen=True, kw_only=True):
    """What is known of a trained text-to-text model; `Text2TextConfig` says what the settings are.

    :param left_out: by set, rows not trained on because some label of theirs is unknown.
    :param outputs: how many of the outputs of the selection part could be read.
    """

    names: Names
    no_emotion: str
    prefix: str
    max_source_length: Count
    max_target_length: Count
    beams: Count
    constrained: bool
    left_out: dict[str, int]
    outputs: dict[str, Any]

    def target_format(self) -> TargetFormat:
        """Return how its outputs are read."""
        return TargetFormat(self.labels, self.label_names_ru, self.names, self.no_emotion)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = to_builtins(self)
        return values

    @staticmethod
    def read(folder: Path) -> Text2TextManifest:
        """Read and check a folder's manifest.

        :raises CheckpointError: if it is missing, malformed, of another schema, or its texts are
            normalised by rules that this library does not have.
        """
        path = folder / TEXT2TEXT_NAME
        if not path.is_file():
            raise not_here(folder, TEXT2TEXT_NAME, "`ov-emotions train --task text-to-text`")
        manifest = read_json(path, Text2TextManifest, CheckpointError)
        if set(manifest.labels) != set(manifest.label_names_ru):
            raise CheckpointError(f"{path}: labels and label_names_ru do not belong together")
        if manifest.normalizer != NORMALIZER_VERSION:
            raise CheckpointError(
                f"{path}: the model reads texts normalised by {manifest.normalizer}; this library "
                f"has {NORMALIZER_VERSION}"
            )
        try:
            manifest.target_format()
        except TrainingError as error:
            raise CheckpointError(f"{path}: {error}") from error
        return manifest
