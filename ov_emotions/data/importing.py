"""Own labelled texts turned into a prepared folder with their own label set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.data.dataset import (
    UNKNOWN,
    FileFacts,
    LabelledTexts,
    Manifest,
    SourceFacts,
    write_prepared,
)
from ov_emotions.data.own_labels import (
    LabelColumns,
    find_columns,
    listed_labels,
    make_label_set,
    one_hot_cell,
    open_labelled,
    some,
)
from ov_emotions.data.prepare import (
    VALIDATION_PARTS,
    add_without_leaks,
    drop_leaks,
    stratified_parts,
)
from ov_emotions.data.settings import ImportConfig
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.labels import LabelSet
from ov_emotions.progress import Progress, Tell
from ov_emotions.texts import BadRow


@dataclass
class _Row:
    number: int
    text: str
    values: tuple[int, ...] | tuple[str, ...]  # one-hot cells, or the labels that are listed


@dataclass
class _File:
    split: str
    path: Path
    rows: list[_Row] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


def import_data(config: ImportConfig, tell: Tell = lambda _: None) -> Manifest:
    """Read own files and write a prepared folder.

    Splits without files of their own are dealt out of the training files by seed, stratified by
    label. Test files are kept as they are; for the rest, what a held-out text equals or nearly
    equals is dropped, as in `prepare`.

    :param tell: told the rows read, translated, and held against held-out texts.
    :return: the manifest, whose source says by file which rows were left out, and why.
    :raises DataError: if a file or a column cannot be used, or there are too few rows, of a label
        or at all.
    :raises InputError: if the names given do not fit the data.
    """
    columns = find_columns(config)
    if columns.one_hot:
        # Before the rows are read: a name that cannot be is no matter of rows.
        make_label_set(config, columns.one_hot)
    files = _read_files(config, columns, tell)
    translated = None if config.translate is None else _translate(config, files, tell)
    label_set = _label_set(config, columns, files)
    given = {
        split: _gather(config, label_set, columns, [f for f in files if f.split == split])
        for split in dict.fromkeys(file.split for file in files)
    }
    rng = np.random.default_rng(config.seed)
    dropped = _deal(config, given, rng)
    splits = {"test": given["test"]} if "test" in given else {}
    dropped |= add_without_leaks(
        splits, given["validation"], given["train"], config.near_threshold, tell
    )
    parts = stratified_parts(splits["validation"].targets, VALIDATION_PARTS, rng)
    _check_splits(splits, parts)
    names = [file.path.name for file in files]
    by_name = {f.path.name if names.count(f.path.name) == 1 else str(f.path): f for f in files}
    source = SourceFacts(
        name=config.set_name,
        licence=config.licence,
        url=config.url,
        attribution=config.attribution,
        annotates=label_set.labels,
        files={
            name: FileFacts(
                split=file.split,
                name=file.path.name,
                sha256=sha256_file(file.path),
                rows=len(file.rows),
            )
            for name, file in by_name.items()
        },
        bad_rows={name: tuple(file.bad) for name, file in by_name.items()},
        translated=translated,
    )
    facts = {
        "seed": config.seed,
        "near_threshold": config.near_threshold,
        "sources": (source,),
        "dropped": dropped,
        "validation_parts": parts,
    }
    return write_prepared(config.output, splits, facts)


def _read_files(config: ImportConfig, columns: LabelColumns, tell: Tell) -> list[_File]:
    files = [_File("train", path) for path in config.files]
    files += [_File("validation", path) for path in config.validation]
    files += [_File("test", path) for path in config.test]
    # All are opened before the first is read through.
    tables = [open_labelled(file.path, config.text_column, columns.names) for file in files]
    count = 0
    for file, table in zip(files, tables, strict=True):
        for record in table.rows(columns.names, strict=True):
            count += 1
            tell(Progress(count, note=f"reading {file.path.name}"))
            if isinstance(record, BadRow):
                file.bad.append(record)
                continue
            try:
                values = _values(config, columns, record.cells)
            except DataError as error:
                file.bad.append(BadRow(record.row, str(error)))
            else:
                file.rows.append(_Row(record.row, record.text, values))
        if not file.rows:
            first = f"; row {file.bad[0].row}: {file.bad[0].reason}" if file.bad else ""
            count_bad = f", of {len(file.bad)}" if file.bad else ""
            raise DataError(f"{file.path} has no usable rows{count_bad}{first}")
    return files


def _values(
    config: ImportConfig, columns: LabelColumns, cells: Mapping[str, Any]
) -> tuple[int, ...] | tuple[str, ...]:
    if columns.listed is None:
        values = tuple(one_hot_cell(name, cells[name]) for name in columns.one_hot)
        if all(value == UNKNOWN for value in values):
            raise DataError("every label is empty, so the row is not annotated")
        return values
    names = listed_labels(columns.listed, cells[columns.listed], config.delimiter)
    if config.labels and (unknown := [name for name in names if name not in config.labels]):
        raise DataError(f"label {', '.join(map(repr, unknown))} is not among {some(config.labels)}")
    return names


def _translate(config: ImportConfig, files: Sequence[_File], tell: Tell) -> dict[str, Any]:
    """Put translations in the place of the texts; say with what."""
    from ov_emotions.data.augment.translation import Translator, keep_in

    assert config.translate is not None
    kept = keep_in(config.translations, config.output)
    model = Translator(config.translate, config, kept, language=config.translate_to)
    texts = [row.text for file in files for row in file.rows]
    found = model.translate(texts, tell, "translating")
    for file in files:
        rows, file.rows = file.rows, []
        for row in rows:
            text = found.get(row.text)
            if text is None:
                reason = f"the text has more than {config.max_tokens} tokens, and is not translated"
                file.bad.append(BadRow(row.number, reason))
            elif not text.strip():
                file.bad.append(BadRow(row.number, "the translation is empty"))
            else:
                file.rows.append(_Row(row.number, text, row.values))
        if not file.rows:
            raise DataError(f"{file.path} has no rows that {config.translate} translates")
    return model.facts()


def _label_set(config: ImportConfig, columns: LabelColumns, files: Sequence[_File]) -> LabelSet:
    if columns.one_hot:
        return make_label_set(config, columns.one_hot)
    found = sorted({str(name) for file in files for row in file.rows for name in row.values})
    if not found:
        raise DataError(f"column {columns.listed!r} lists no label in any row")
    return make_label_set(config, config.labels or found)


def _gather(
    config: ImportConfig, label_set: LabelSet, columns: LabelColumns, files: Sequence[_File]
) -> LabelledTexts:
    """Join the rows of a split's files."""
    rows = [row for file in files for row in file.rows]
    if columns.one_hot:
        order = [columns.one_hot.index(label) for label in label_set.labels]
        targets = np.array([row.values for row in rows], dtype=np.int8)[:, order]
    else:
        targets = np.array(
            [[label in row.values for label in label_set.labels] for row in rows], dtype=np.int8
        )
    return LabelledTexts(
        label_set,
        tuple(row.text for row in rows),
        targets,
        (config.set_name,) * len(rows),
        np.array([row.number for row in rows], dtype=np.int64),
    )


def _deal(
    config: ImportConfig, given: dict[str, LabelledTexts], rng: np.random.Generator
) -> dict[str, dict[str, int]]:
    """Take the splits that have no files out of the training rows; say what was dropped first."""
    wanted = {"validation": config.validation_share, "test": config.test_share}
    shares = {name: share for name, share in wanted.items() if name not in given and share > 0}
    if not shares:
        return {}
    # A text that stands there twice must not fall into two splits.
    pool, reasons = drop_leaks(given["train"], (), config.near_threshold)
    if len(pool) < len(shares) + len(VALIDATION_PARTS):
        raise DataError(
            f"of {len(given['train'])} rows {len(pool)} differ, too few to split: give more rows, "
            "or files for validation and test"
        )
    shares["train"] = 1 - sum(shares.values())
    for split, rows in stratified_parts(pool.targets, shares, rng).items():
        given[split] = pool.select(rows)
    return {"before splitting": reasons}


def _check_splits(splits: Mapping[str, LabelledTexts], parts: Mapping[str, list[int]]) -> None:
    """Refuse what could not be trained, calibrated or judged with."""
    train, validation = splits["train"], splits["validation"]
    needed = {"training": train}
    needed |= {f"the {name} part of validation": validation.select(r) for name, r in parts.items()}
    empty = [name for name, data in needed.items() if not len(data)]
    empty += ["test"] if "test" in splits and not len(splits["test"]) else []
    if empty:
        raise DataError(
            f"no rows are left for {', '.join(empty)}: there are too few to split, or the others "
            "equal or nearly equal held-out texts"
        )
    problems = [
        f"{name} has no row with {some(lacking)}"
        for name, data in needed.items()
        if (lacking := _without(data, data.targets == 1))
    ]
    if problems:
        raise DataError(
            f"{'; '.join(problems)}: every label needs rows in training and in each of the "
            f"{len(parts)} parts of validation; give more rows, or leave the label out"
        )
    if lacking := _without(train, train.targets == 0):
        raise DataError(
            f"training has no row without {some(lacking)}; a model would learn to say it always "
            "(an empty cell says that the label was not annotated: write 0 where it is absent)"
        )


def _without(data: LabelledTexts, holds: NDArray[np.bool_]) -> list[str]:
    return [label for i, label in enumerate(data.label_set.labels) if not holds[:, i].any()]
