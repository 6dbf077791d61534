"""Check lists: lines in groups, a capability each, and whether a model handles them.

A check list is a table that people keep in a spreadsheet (CSV, XLSX, JSONL ...):

    group        text                         must     any_of           may      must_not
    отрицание    я совсем не злюсь            ,        ,                neutral  anger
    радость      ура мы выиграли              joy      ,                ,        sadness, anger

A line passes if every label of `must` is found, one at least of `any_of`, and none of `must_not`.
`may` says which others are as good as none; labels that are named nowhere do not count. Ribeiro et
al., "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList" (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions.errors import DataError
from ov_emotions.metrics import Count
from ov_emotions.schema import Schema
from ov_emotions.texts import BadRow, open_table

if TYPE_CHECKING:
    from ov_emotions.classifier import EmotionClassifier

KIND = "ov-emotions check list"
_KINDS = ("must", "any_of", "may", "must_not")


class Group(Schema, frozen=True):
    """One capability: how many of its lines passed."""

    name: str
    lines: Count
    passed: Count


class Failure(Schema, frozen=True):
    """A line that failed.

    `found` are the labels that the model gave; `missing` those that must have been found, of which
    one would do where `any_of`; `forbidden` those that it gave and must not have.
    """

    group: str
    text: str
    found: tuple[str, ...]
    missing: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    any_of: bool = False


class CheckListResult(Schema, frozen=True):
    """One model on one check list."""

    kind: str
    model: str
    file: str
    groups: tuple[Group, ...]
    failures: tuple[Failure, ...]
    label_names_ru: dict[str, str] | None = None

    @property
    def lines(self) -> int:
        return sum(group.lines for group in self.groups)

    @property
    def passed(self) -> int:
        return sum(group.passed for group in self.groups)


class Line(Schema, frozen=True):
    """A line of a check list; see the module."""

    group: str
    text: str
    must: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


def read_checklist(path: Path, labels: Sequence[str]) -> list[Line]:
    """Read a check list for a model that has these labels.

    :raises DataError: if a column is missing, a line names a label that the model lacks, asks for
        what it forbids, or asks for nothing.
    """
    table = open_table(path)
    kinds = [kind for kind in _KINDS if table.find(kind)]
    group = table.find("group")
    if group is None or not kinds:
        raise DataError(
            f"{path} is no check list: it needs the columns group, text and at least one of "
            f"{', '.join(_KINDS)}, and has {', '.join(table.columns)}"
        )
    columns = {"group": group} | {kind: str(table.find(kind)) for kind in kinds}
    lines = []
    for row in table.rows(tuple(columns.values())):
        if isinstance(row, BadRow):
            raise DataError(f"{path}, row {row.row}: {row.reason}")
        cells = {name: row.cells.get(column) for name, column in columns.items()}
        found: dict[str, Any] = {kind: _names(cells[kind]) for kind in kinds}
        line = Line(group=str(cells["group"] or "").strip(), text=row.text, **found)
        if flaw := _flaw(line, labels):
            raise DataError(f"{path}, row {row.row}: {flaw}")
        lines.append(line)
    if not lines:
        raise DataError(f"{path} has no lines")
    return lines


def _names(cell: Any) -> tuple[str, ...]:
    values = cell if isinstance(cell, list) else str(cell or "").split(",")
    return tuple(name for value in values if (name := str(value).strip()))


def _flaw(line: Line, labels: Sequence[str]) -> str | None:
    wanted = {*line.must, *line.any_of}
    if unknown := [n for n in (*wanted, *line.may, *line.must_not) if n not in labels]:
        return f"the model has no label {unknown[0]!r}; it has {', '.join(labels)}"
    if not line.group:
        return "the line is in no group"
    if both := sorted(wanted & set(line.must_not)):
        return f"{both[0]} must and must not be found"
    return None if wanted or line.must_not else "nothing must or must not be found"


def run_checklist(path: Path, classifier: EmotionClassifier, model: str) -> CheckListResult:
    """Classify the lines of a check list at the thresholds of a model that is called `model`."""
    lines = read_checklist(path, classifier.labels)
    predictions = classifier([line.text for line in lines])
    failures = []
    groups: dict[str, list[bool]] = {}
    for line, prediction in zip(lines, predictions, strict=True):
        failure = _failure(line, prediction.labels)
        groups.setdefault(line.group, []).append(failure is None)
        if failure is not None:
            failures.append(failure)
    return CheckListResult(
        kind=KIND,
        model=model,
        file=path.name,
        groups=tuple(
            Group(name=name, lines=len(passed), passed=sum(passed))
            for name, passed in groups.items()
        ),
        failures=tuple(failures),
        label_names_ru=classifier.label_names_ru or None,
    )


def _failure(line: Line, found: Sequence[str]) -> Failure | None:
    missing = tuple(name for name in line.must if name not in found)
    any_of = not missing and bool(line.any_of) and not set(line.any_of) & set(found)
    forbidden = tuple(name for name in found if name in line.must_not)
    if not (missing or any_of or forbidden):
        return None
    return Failure(
        group=line.group,
        text=line.text,
        found=tuple(found),
        missing=line.any_of if any_of else missing,
        forbidden=forbidden,
        any_of=any_of,
    )
