"""The plan of a bulk job: input files, options, and the parts that the rows are cut into."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from ov_emotions import __version__
from ov_emotions._arguments import check_count, merge_thresholds
from ov_emotions.bundle import DEFAULT_MODEL, MANIFEST_NAME, SHIPPED, Bundle
from ov_emotions.cluster.scan import Start, check_columns, file_format, find_files, scan
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file

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
