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

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import DataError
from ov_emotions.evaluation.checklist_schema import KIND, CheckListResult, Failure, Group
from ov_emotions.schema import Schema
from ov_emotions.texts import BadRow, open_table

_KINDS = ("must", "any_of", "may", "must_not")


class Line(Schema, frozen=True):
    """A line of a check list; see the module."""

    group: str
    text: str
    must: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


def read_checklist(path: Path, labels: Sequence[str]) -> list[Line]:
    """Read a check list.

    :param path: the table.
    :param labels: of the model.
    :return: its lines.
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
    """Classify the lines of a check list at the model's thresholds.

    :param path: the table.
    :param classifier: the model.
    :param model: what it is called.
    :return: groups with what passed, in the order of the file, and every failure.
    :raises DataError: if the table is no check list for the model's labels.
    """
    lines = read_checklist(path, classifier.labels)
    predictions = classifier([line.text for line in lines])
    failures = {
        i: failure
        for i, (line, prediction) in enumerate(zip(lines, predictions, strict=True))
        if (failure := _failure(line, prediction.labels))
    }
    return CheckListResult(
        kind=KIND,
        model=model,
        file=path.name,
        groups=tuple(_groups(lines, failures)),
        failures=tuple(failures.values()),
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


def _groups(lines: Sequence[Line], failures: Iterable[int]) -> Iterable[Group]:
    failed = {*failures}
    for name in dict.fromkeys(line.group for line in lines):
        members = [i for i, line in enumerate(lines) if line.group == name]
        passed = sum(i not in failed for i in members)
        yield Group(name=name, lines=len(members), passed=passed)
