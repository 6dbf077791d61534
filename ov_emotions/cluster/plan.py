"""The plan of a bulk job: input files, options, and the parts that the rows are cut into."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from ov_emotions import __version__
from ov_emotions.bundle import SHIPPED, Bundle
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.manifest import MANIFEST_NAME
from ov_emotions.prediction import merge_thresholds
from ov_emotions.schema import DEFAULT_MODEL, Schema, check_count, read_json, to_builtins
from ov_emotions.texts import FORMATS, ReadSettings, Start, is_readable, open_table, text_format
from ov_emotions.texts.streams import reading
from ov_emotions.texts.writing import WRITTEN, Added, check_added

PLAN_VERSION = 2


class Settings(Schema, frozen=True):
    """What the answers depend on, all of which is the same in every run of a job.

    :param model: a shipped name, an absolute folder or a Hub id.
    :param model_sha256: of the bundle's manifest, which holds the hashes of its other files.
    :param thresholds: by label, those of the bundle with the caller's put in their place.
    :param reading: how files are read.
    :param prefix: before the names of the columns that are added.
    :param long_texts: as for `EmotionClassifier`.
    :param precision: as for `EmotionClassifier`; None is the bundle's.
    :param part_rows: rows of a part at most.
    :param versions: of the packages that compute.
    """

    model: str
    model_sha256: str
    thresholds: dict[str, float]
    reading: ReadSettings
    prefix: str
    long_texts: str
    precision: str | None
    part_rows: int
    versions: dict[str, str]

    def added(self) -> Added:
        """Return the columns that are added: source_file, labels, scores, truncated."""
        return Added(tuple(self.thresholds), prefix=self.prefix, source=True)


def resolve_settings(
    model: str | None = None,
    *,
    thresholds: Mapping[str, float] | None = None,
    reading: ReadSettings | None = None,
    prefix: str = "",
    long_texts: str = "window",
    precision: str | None = None,
    part_rows: int = 10_000,
) -> Settings:
    """Check the options and look the model up.

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
        reading=reading or ReadSettings(),
        prefix=prefix,
        long_texts=long_texts,
        precision=precision,
        part_rows=check_count("part_rows", part_rows),
        versions={"ov_emotions": __version__, "openvino": version("openvino")},
    )


class InputFile(Schema, frozen=True):
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


class Part(Schema, frozen=True):
    """A range of rows of one file.

    :param number: of the part, from 0.
    :param path: of the file, below the input folder.
    :param start: where the range begins.
    :param rows: in it, usable or not.
    :param format: it is written in: that of its source, or jsonl for texts without columns.
    """

    number: int
    path: str
    start: Start
    rows: int
    format: str

    @property
    def name(self) -> str:
        """The file that the part is written to, not compressed."""
        return f"part-{self.number:06}.{self.format}"

    @property
    def bad_name(self) -> str:
        """The file that lists the rows that were set aside."""
        return f"part-{self.number:06}.jsonl"


class Plan(Schema, frozen=True):
    """All of a job.

    :param source: the input folder, absolute.
    :param settings: the options.
    :param files: in the order of their names.
    :param parts: in the order of the files and of the rows.
    :param version: of this class.
    """

    source: str
    settings: Settings
    files: tuple[InputFile, ...]
    parts: tuple[Part, ...]
    version: int = PLAN_VERSION

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @staticmethod
    def read(path: Path) -> Plan:
        """Read a plan.

        :raises DataError: if it is damaged or of another version of the library.
        """
        try:
            if (found := read_json(path, _Version, DataError).version) != PLAN_VERSION:
                raise DataError(f"{path}: its version is {found}, not {PLAN_VERSION}")
            return read_json(path, Plan, DataError)
        except DataError as error:
            raise DataError(
                f"{path} is no plan that this version can go on with ({error}); --restart begins "
                "anew"
            ) from error


class _Version(Schema, frozen=True):
    version: int


def find_files(source: Path, settings: ReadSettings | None = None) -> tuple[Path, list[Path]]:
    """List the files that can be read, and the folder that they are in.

    Names that begin with a dot or an underscore are left out, as Ray, Spark and pyarrow do.

    :raises DataError: if there are none.
    """
    any_format = settings is not None and settings.format is not None
    with reading(source):
        if not source.is_dir():
            source.stat()
            if not any_format:
                text_format(source)
            return source.resolve().parent, [source.resolve()]
        root = source.resolve()
        found = []

        def refuse(error: OSError) -> None:
            raise error

        for folder, folders, names in os.walk(root, followlinks=True, onerror=refuse):
            folders[:] = [name for name in folders if name[0] not in "._"]
            found += [Path(folder, name) for name in names if name[0] not in "._"]
    files = [path for path in found if (any_format and path.is_file()) or is_readable(path)]
    if not files:
        raise DataError(f"{source} holds no file whose name ends in {', '.join(FORMATS)}")
    return root, sorted(files, key=lambda path: path.relative_to(root).as_posix())


def make_plan(source: Path, settings: Settings) -> Plan:
    """Read the input once and cut it into parts.

    :raises DataError: if there is no input, or a file cannot be read or lacks the column.
    """
    root, paths = find_files(source, settings.reading)
    formats = []
    for path in paths:
        table = open_table(path, settings.reading)
        formats.append(table.format if table.format in WRITTEN else "jsonl")
        check_added([table], settings.added(), formats[-1])
    files: list[InputFile] = []
    parts: list[Part] = []
    for path, format_ in zip(paths, formats, strict=True):
        name = path.relative_to(root).as_posix()
        before = path.stat()
        rows = 0
        for start, count in open_table(path, settings.reading).parts(settings.part_rows):
            number = len(parts)
            parts.append(Part(number=number, path=name, start=start, rows=count, format=format_))
            rows += count
        files.append(
            InputFile(
                path=name,
                size=before.st_size,
                modified=before.st_mtime_ns,
                sha256=sha256_file(path),
                rows=rows,
            )
        )
    return Plan(source=str(root), settings=settings, files=tuple(files), parts=tuple(parts))


def differences(plan: Plan, source: Path, settings: Settings) -> Iterator[str]:
    """Say in what a job that is asked for differs from one that was begun.

    :raises DataError: if there is no input.
    """
    old, new = _flat(plan.settings), _flat(settings)
    if old["model_sha256"] != new["model_sha256"]:
        # Of the same name perhaps; its thresholds are others anyway.
        yield f"another model: {old['model']} then, {new['model']} now"
        old.update((name, new[name]) for name in ("model", "model_sha256", "thresholds"))
    for name, value in new.items():
        if old[name] != value:
            yield f"{name}: {old[name]!r} then, {value!r} now"
    root, paths = find_files(source, settings.reading)
    found = {path.relative_to(root).as_posix(): path for path in paths}
    known = {file.path: file for file in plan.files}
    for name in sorted(found.keys() | known.keys()):
        if name not in known:
            yield f"{name} is new"
        elif name not in found:
            yield f"{name} is gone"
        elif not _same(found[name], known[name]):
            yield f"{name} has changed"


def _flat(settings: Settings) -> dict[str, object]:
    values = to_builtins(settings)
    return {**values.pop("reading"), **values}


def _same(path: Path, known: InputFile) -> bool:
    facts = path.stat()
    if facts.st_size != known.size:
        return False
    # A copy or a fresh checkout has another time; the content decides.
    return facts.st_mtime_ns == known.modified or sha256_file(path) == known.sha256
