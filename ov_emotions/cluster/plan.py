"""The plan of a bulk job: input files, options, and the parts that the rows are cut into."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from ov_emotions import __version__
from ov_emotions.bundle import DEFAULT_MODEL, MANIFEST_NAME, SHIPPED, Bundle
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.prediction import check_count, merge_thresholds
from ov_emotions.texts import (
    DELIMITERS,
    FORMATS,
    check_text_file,
    csv_records,
    jsonl_objects,
    open_csv,
    open_file,
    open_parquet,
    raw_lines,
    reading,
    text_format,
)

_READABLE = tuple(name for name in FORMATS if name != ".txt")
_SAMPLE = 100


@dataclass(frozen=True)
class Start:
    """Where a range of rows begins in a file.

    :param row: rows before it; lines of .jsonl, which rows are numbered by.
    :param offset: its first byte; 0 for .parquet.
    :param line: lines before it; 0 for .parquet.
    """

    row: int
    offset: int = 0
    line: int = 0


def find_files(source: Path) -> tuple[Path, list[Path]]:
    """List the files that can be read.

    :param source: a folder, which is searched through, or one file. Names that begin with a dot or
        an underscore are left out, as Ray, Spark and pyarrow do.
    :return: the folder, absolute, and the files in the order of their names.
    :raises DataError: if there are none.
    """
    with reading(source):
        if not source.is_dir():
            source.stat()
            file_format(source)
            return source.resolve().parent, [source.resolve()]
        root = source.resolve()
        found = []
        for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
            folders[:] = [name for name in folders if name[0] not in "._"]
            found += [Path(folder, name) for name in names if name[0] not in "._"]
    files = [path for path in found if _is_readable(path)]
    if not files:
        raise DataError(f"{source} holds no file whose name ends in {', '.join(_READABLE)}")
    return root, sorted(files, key=lambda path: path.relative_to(root).as_posix())


def _refuse(error: OSError) -> None:
    raise error


def _is_readable(path: Path) -> bool:
    try:
        return bool(file_format(path)) and path.is_file()
    except DataError:
        return False


def file_format(path: Path) -> str:
    """Tell a file's format by its name.

    :param path: the file.
    :return: its extension, that of a compression left out.
    :raises DataError: if it is none with columns.
    """
    extension = text_format(path)
    if extension not in _READABLE:
        raise DataError(
            f"{path} holds texts only; `ov-emotions classify` takes it. This takes "
            f"{', '.join(_READABLE)}"
        )
    return extension


def check_columns(path: Path, text_column: str, added: Sequence[str]) -> None:
    """Find out from the beginning of a file whether its rows can be answered beside their columns.

    :param path: the file.
    :param text_column: the one with the text.
    :param added: the columns that will be added.
    :raises DataError: if it cannot be read, lacks the text, or has a column twice or of that name.
    """
    check_text_file(path, text_column)
    extension = file_format(path)
    with reading(path):
        if extension == ".parquet":
            with open_parquet(path, text_column) as parquet:
                names = list(parquet.schema_arrow.names)
        else:
            with open_file(path) as file:
                if extension == ".jsonl":
                    sample = islice(jsonl_objects(file), _SAMPLE)
                    rows = (value for _, value in sample if isinstance(value, dict))
                    names = list(dict.fromkeys(name for value in rows for name in value))
                else:
                    names = open_csv(path, file, text_column, DELIMITERS[extension])[2]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {', '.join(map(repr, twice))}")
    if taken := [name for name in added if name in names]:
        raise DataError(
            f"{path} has a column {taken[0]!r} already; --prefix puts something before the names "
            f"of those that are added: {', '.join(added)}"
        )


def scan(path: Path, text_column: str, part_rows: int) -> Iterator[tuple[Start, int]]:
    """Cut a file into ranges.

    A compressed file can only be read from its beginning, so it is one range whatever its length.

    :param path: the file.
    :param text_column: the one with the text.
    :param part_rows: rows of a range at most.
    :return: yields where each begins and how many rows it has, at least one.
    :raises DataError: if the file cannot be read.
    """
    extension = file_format(path)
    with reading(path):
        if extension == ".parquet":
            with open_parquet(path, text_column) as parquet:
                rows = parquet.metadata.num_rows
            for first in range(0, rows, part_rows):
                yield Start(first), min(part_rows, rows - first)
            return
        whole = path.suffix.lower() == ".gz"
        cut = _scan_jsonl if extension == ".jsonl" else _scan_csv
        yield from cut(path, text_column, None if whole else part_rows)


def _scan_jsonl(path: Path, _: str, part_rows: int | None) -> Iterator[tuple[Start, int]]:
    start, rows = Start(0), 0
    with open_file(path) as file:
        for number, line in enumerate(raw_lines(file), start=1):
            rows += bool(line.strip())
            if rows == part_rows:
                yield start, rows
                start, rows = Start(number, file.tell(), number), 0
    if rows:
        yield start, rows


def _scan_csv(path: Path, text_column: str, part_rows: int | None) -> Iterator[tuple[Start, int]]:
    with open_file(path) as file:
        reader, _, _ = open_csv(path, file, text_column, DELIMITERS[file_format(path)])
        start, rows = Start(0, file.tell(), reader.line_num), 0
        for number, _cells in csv_records(reader):
            rows += 1
            if rows == part_rows:
                # The reader takes no line before it needs it, so the file stands behind the row.
                yield start, rows
                start, rows = Start(number, file.tell(), reader.line_num), 0
    if rows:
        yield start, rows


PLAN_VERSION = 1

ADDED = ("labels", "scores", "truncated")
"""The columns that are written beside those of the source; a prefix may stand before them."""


@dataclass(frozen=True)
class Settings:
    """What the answers depend on, all of which is the same in every run of a job.

    :param model: a shipped name, an absolute folder or a Hub id.
    :param model_sha256: of the bundle's manifest, which holds the hashes of its other files.
    :param thresholds: by label, those of the bundle with the caller's put in their place.
    :param text_column: the column or field with the text.
    :param prefix: before the names of the columns that are added.
    :param long_texts: as for `EmotionClassifier`.
    :param precision: as for `EmotionClassifier`; None is the bundle's.
    :param part_rows: rows of a part at most.
    :param versions: of the packages that compute.
    """

    model: str
    model_sha256: str
    thresholds: Mapping[str, float]
    text_column: str
    prefix: str
    long_texts: str
    precision: str | None
    part_rows: int
    versions: Mapping[str, str]

    @property
    def added(self) -> tuple[str, ...]:
        """The names of the columns that are added: labels, scores, truncated."""
        return tuple(self.prefix + name for name in ADDED)


def resolve_settings(
    model: str | None = None,
    *,
    thresholds: Mapping[str, float] | None = None,
    text_column: str = "text",
    prefix: str = "",
    long_texts: str = "window",
    precision: str | None = None,
    part_rows: int = 10_000,
) -> Settings:
    """Check the options and look the model up.

    :param model: a shipped name, a bundle's folder or a Hub id; None is the default model.
    :param thresholds: probability in (0, 1) by label; labels left out keep the bundle's.
    :return: the settings; the other parameters are its fields.
    :raises BundleError: if the model is missing or damaged.
    :raises InputError: if a threshold or a count is wrong.
    """
    source = DEFAULT_MODEL if model is None else model
    bundle = Bundle.load(source)
    ours = {label: bundle.manifest.thresholds[label] for label in bundle.manifest.labels}
    if source not in SHIPPED and Path(source).is_dir():
        source = str(Path(source).resolve())  # an actor has a working directory of its own
    return Settings(
        model=source,
        model_sha256=sha256_file(bundle.folder / MANIFEST_NAME),
        thresholds=merge_thresholds(ours, thresholds),
        text_column=text_column,
        prefix=prefix,
        long_texts=long_texts,
        precision=precision,
        part_rows=check_count("part_rows", part_rows),
        versions={"ov_emotions": __version__, "openvino": version("openvino")},
    )


@dataclass(frozen=True)
class InputFile:
    """An input file as it was when the plan was made.

    :param path: below the input folder, with slashes.
    :param size: bytes.
    :param modified: nanoseconds since the epoch.
    :param sha256: of the content.
    :param rows: of all its parts.
    """

    path: str
    size: int
    modified: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Part:
    """A range of rows of one file.

    :param number: of the part, from 0.
    :param path: of the file, below the input folder.
    :param start: where the range begins.
    :param rows: in it, usable or not.
    """

    number: int
    path: str
    start: Start
    rows: int

    @property
    def name(self) -> str:
        """The file that the part is written to; of the format of its source, not compressed."""
        return f"part-{self.number:06}{file_format(Path(self.path))}"

    @property
    def bad_name(self) -> str:
        """The file that lists the rows that were set aside."""
        return f"part-{self.number:06}.jsonl"


@dataclass(frozen=True)
class Plan:
    """All of a job.

    :param source: the input folder, absolute.
    :param settings: the options.
    :param files: in the order of their names.
    :param parts: in the order of the files and of the rows.
    """

    source: str
    settings: Settings
    files: tuple[InputFile, ...]
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def to_json(self) -> str:
        """Write the plan as JSON text."""
        return json.dumps({"version": PLAN_VERSION, **asdict(self)}, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str) -> Plan:
        """Parse what `to_json` wrote.

        :param text: the JSON.
        :param where: the file, for messages.
        :return: the plan.
        :raises DataError: if it is damaged or of another version of the library.
        """
        try:
            raw = json.loads(text)
            if raw["version"] != PLAN_VERSION:
                raise ValueError(f"its version is {raw['version']}, not {PLAN_VERSION}")
            return Plan(
                source=raw["source"],
                settings=Settings(**raw["settings"]),
                files=tuple(InputFile(**file) for file in raw["files"]),
                parts=tuple(
                    Part(**{**part, "start": Start(**part["start"])}) for part in raw["parts"]
                ),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where} is no plan that this version can go on with ({error}); "
                "--restart begins anew"
            ) from error


def make_plan(source: Path, settings: Settings) -> Plan:
    """Read the input once and cut it into parts.

    :param source: a folder, which is searched through, or one file.
    :param settings: the options.
    :return: the plan; the same input and settings give the same.
    :raises DataError: if there is no input, or a file cannot be read or lacks the column.
    """
    root, paths = find_files(source)
    for path in paths:
        check_columns(path, settings.text_column, settings.added)
    files: list[InputFile] = []
    parts: list[Part] = []
    for path in paths:
        name = path.relative_to(root).as_posix()
        before = path.stat()
        rows = 0
        for start, count in scan(path, settings.text_column, settings.part_rows):
            parts.append(Part(len(parts), name, start, count))
            rows += count
        files.append(InputFile(name, before.st_size, before.st_mtime_ns, sha256_file(path), rows))
    return Plan(str(root), settings, tuple(files), tuple(parts))


def differences(plan: Plan, source: Path, settings: Settings) -> Iterator[str]:
    """Say in what a job that is asked for differs from one that was begun.

    :param plan: of the job that was begun.
    :param source: the input that is named now.
    :param settings: the options that are given now.
    :return: yields a sentence's part for each difference.
    :raises DataError: if there is no input.
    """
    old, new = asdict(plan.settings), asdict(settings)
    if old["model_sha256"] != new["model_sha256"]:
        # Of the same name perhaps; its thresholds are others anyway.
        yield f"another model: {old['model']} then, {new['model']} now"
        old.update((name, new[name]) for name in ("model", "model_sha256", "thresholds"))
    for name, value in new.items():
        if old[name] != value:
            yield f"{name}: {old[name]!r} then, {value!r} now"
    root, paths = find_files(source)
    found = {path.relative_to(root).as_posix(): path for path in paths}
    known = {file.path: file for file in plan.files}
    for name in sorted(found.keys() | known.keys()):
        if name not in known:
            yield f"{name} is new"
        elif name not in found:
            yield f"{name} is gone"
        elif not _same(found[name], known[name]):
            yield f"{name} has changed"


def _same(path: Path, known: InputFile) -> bool:
    facts = path.stat()
    if facts.st_size != known.size:
        return False
    # A copy or a fresh checkout has another time; the content decides.
    return facts.st_mtime_ns == known.modified or sha256_file(path) == known.sha256
