"""One part done: read, classified, written beside the columns of its source, moved into place."""

from __future__ import annotations

import csv
import json
import os
import platform
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from ov_emotions.bundle import MANIFEST_NAME, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cluster.output import Output
from ov_emotions.cluster.plan import Part, Plan, Settings, file_format
from ov_emotions.errors import ClusterError, DataError, OvEmotionsError
from ov_emotions.files import sha256_file
from ov_emotions.prediction import Prediction
from ov_emotions.system import processors_apart, require
from ov_emotions.texts import (
    DELIMITERS,
    BadRow,
    csv_flaw,
    csv_reader,
    csv_records,
    csv_text,
    jsonl_objects,
    jsonl_text,
    open_csv,
    open_file,
    open_parquet,
    parquet_text,
    reading,
)


def pin_threads(threads: int) -> tuple[int, ...]:
    """Keep all threads of this process, and those to come, to processors that no sibling has.

    Processes of this function on a machine share its processors out among themselves, without a
    file: each holds an abstract socket a share, which the kernel takes back when the process ends.

    :param threads: processors of a share.
    :return: the numbers of the processors; empty where all are taken or the system cannot pin.
    """
    if sys.platform != "linux":
        return ()
    usable = processors_apart()
    for share in range(len(usable) // threads):
        mine = tuple(sorted(usable[share * threads : (share + 1) * threads]))
        if _claim("-".join(map(str, mine))):
            _set_affinity(mine)
            return mine
    return ()


def _claim(share: str) -> bool:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0ov-emotions-processors-{share}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open as long as the process lives
    return True


def _set_affinity(processors: tuple[int, ...]) -> None:
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), processors)
        except ProcessLookupError:  # it has ended meanwhile
            continue


CHUNK_ROWS = 1024
"""Rows that are read and classified together; a part of what the answers depend on."""

_CHUNK_CHARACTERS = 1 << 20


@dataclass
class Chunk:
    """Some rows of a part, in their order.

    :param texts: of the usable rows.
    :param source: the usable rows: lists of cells, dictionaries, or one Arrow batch.
    :param bad: those that are set aside.
    """

    texts: list[str] = field(default_factory=list)
    source: Any = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows it holds, usable or not."""
        return len(self.texts) + len(self.bad)


def source_schema(path: Path, settings: Settings) -> Any:
    """Read what the columns of a file are.

    :param path: the file.
    :param settings: of the job.
    :return: the header of .csv and .tsv, the Arrow schema of .parquet, None of .jsonl.
    :raises DataError: if the file cannot be read.
    """
    extension = file_format(path)
    with reading(path):
        if extension == ".jsonl":
            return None
        if extension == ".parquet":
            with open_parquet(path, settings.text_column) as parquet:
                return parquet.schema_arrow
        with open_file(path) as file:
            return open_csv(path, file, settings.text_column, DELIMITERS[extension])[2]


def read_part(path: Path, part: Part, settings: Settings, schema: Any) -> Iterator[Chunk]:
    """Read a part.

    :param path: its file.
    :param part: its range.
    :param settings: of the job.
    :param schema: what `source_schema` gave.
    :return: yields its rows.
    :raises DataError: if the file is damaged, or holds fewer rows than it did.
    """
    extension = file_format(path)
    found = 0
    with reading(path):
        if extension == ".parquet":
            chunks = _parquet(path, part, settings.text_column)
        elif extension == ".jsonl":
            chunks = _together(_jsonl(path, part, settings))
        else:
            chunks = _together(_csv(path, part, settings.text_column, schema))
        for chunk in chunks:
            found += chunk.rows
            yield chunk
    if found != part.rows:
        raise DataError(
            f"{path} has changed since the plan was made: {found:,} rows where {part.rows:,} were"
        )


def _together(rows: Iterable[tuple[str, Any] | BadRow]) -> Iterator[Chunk]:
    """Gather rows into chunks."""
    chunk, characters = Chunk(), 0
    for row in rows:
        if isinstance(row, BadRow):
            chunk.bad.append(row)
        else:
            chunk.texts.append(row[0])
            chunk.source.append(row[1])
            characters += len(row[0])
        if chunk.rows >= CHUNK_ROWS or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = Chunk(), 0
    if chunk.rows:
        yield chunk


def _jsonl(path: Path, part: Part, settings: Settings) -> Iterator[tuple[str, Any] | BadRow]:
    with open_file(path) as file:
        file.seek(part.start.offset)
        for number, value in islice(jsonl_objects(file, part.start.line), part.rows):
            if isinstance(value, BadRow):
                yield value
                continue
            text = jsonl_text(number, value, settings.text_column)
            if isinstance(text, BadRow):
                yield text
            elif taken := [name for name in settings.added if name in value]:
                yield BadRow(number, f"there is a field {taken[0]!r} already; see --prefix")
            else:
                yield text, value


def _csv(
    path: Path, part: Part, text_column: str, header: list[str]
) -> Iterator[tuple[str, Any] | BadRow]:
    position = header.index(text_column)
    others = [name for name in header if name != text_column]
    with open_file(path) as file:
        file.seek(part.start.offset)
        reader = csv_reader(file, DELIMITERS[file_format(path)])
        records = csv_records(reader, part.start.row, part.start.line)
        for number, cells in islice(records, part.rows):
            if isinstance(cells, BadRow):
                yield cells
            elif flaw := csv_flaw(number, cells, header, others):
                yield flaw
            else:
                text = csv_text(number, cells, position)
                yield text if isinstance(text, BadRow) else (text, cells)


def _parquet(path: Path, part: Part, text_column: str) -> Iterator[Chunk]:
    pa = require("pyarrow", extra="cluster")
    number = part.start.row
    with open_parquet(path, text_column) as file:
        groups, skip = _row_groups(file, part)
        left = part.rows
        try:
            for batch in file.iter_batches(batch_size=CHUNK_ROWS, row_groups=groups):
                wanted = batch.slice(skip, left)
                skip = max(skip - batch.num_rows, 0)
                if not wanted.num_rows:
                    continue
                left -= wanted.num_rows
                yield _parquet_chunk(pa, wanted, wanted.column(text_column), number)
                number += wanted.num_rows
                if not left:
                    return
        except (pa.ArrowException, NotImplementedError) as error:
            raise DataError(f"{path} is damaged after row {number}: {error}") from error


def _row_groups(file: Any, part: Part) -> tuple[list[int], int]:
    """Find the row groups that hold a part, and the rows of the first that lie before it."""
    groups: list[int] = []
    skip = first = 0
    for group in range(file.metadata.num_row_groups):
        behind = first + file.metadata.row_group(group).num_rows
        if behind > part.start.row and first < part.start.row + part.rows:
            skip = skip if groups else part.start.row - first
            groups.append(group)
        first = behind
    return groups, max(skip, 0)


def _parquet_chunk(pa: Any, batch: Any, texts: Any, before: int) -> Chunk:
    chunk = Chunk()
    usable = []
    for number, scalar in enumerate(texts, start=before + 1):
        text = parquet_text(number, scalar)
        usable.append(isinstance(text, str))
        if isinstance(text, str):
            chunk.texts.append(text)
        else:
            chunk.bad.append(text)
    chunk.source = batch if all(usable) else batch.filter(pa.array(usable))
    return chunk


_FLUSH_BYTES = 64 * 2**20


class Sink(ABC):
    """Takes the usable rows of chunks with their predictions, in order."""

    @abstractmethod
    def write(self, chunk: Chunk, predictions: Sequence[Prediction]) -> None:
        """Write the rows of a chunk.

        :param chunk: its rows.
        :param predictions: one for each usable row.
        """


@contextmanager
def open_sink(
    path: Path, schema: Any, labels: Sequence[str], added: Sequence[str]
) -> Iterator[Sink]:
    """Open a file to write a part to; it is whole when the block ends.

    :param path: the file; its extension names the format.
    :param schema: what `source_schema` gave for the source.
    :param labels: of the model, in the order of its outputs.
    :param added: what to call labels, scores and truncated.
    :return: yields what takes the rows.
    """
    extension = file_format(path)
    if extension == ".parquet":
        arrow = _ArrowSchema(schema, labels, added)
        parquet = require("pyarrow.parquet", extra="cluster")
        with parquet.ParquetWriter(path, arrow.schema, compression="zstd") as writer:
            sink = _ParquetSink(writer, arrow)
            yield sink
            sink.flush()
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if extension == ".jsonl":
            yield _JsonlSink(file, added)
        else:
            yield _CsvSink(file, [*schema, *added], DELIMITERS[extension], labels)


class _JsonlSink(Sink):
    def __init__(self, file: TextIO, added: Sequence[str]) -> None:
        self.file = file
        self.added = added

    def write(self, chunk: Chunk, predictions: Sequence[Prediction]) -> None:
        for row, prediction in zip(chunk.source, predictions, strict=True):
            answers = prediction.to_dict(rounded=True).values()
            self.file.write(_json({**row, **dict(zip(self.added, answers, strict=True))}) + "\n")


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Half of a surrogate pair, which JSON can write as an escape and UTF-8 cannot.
    return text if text.isascii() or _is_utf8(text) else json.dumps(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _CsvSink(Sink):
    def __init__(
        self, file: TextIO, header: Sequence[str], delimiter: str, labels: Sequence[str]
    ) -> None:
        self.writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self.writer.writerow(header)
        # What `data import` reads: names with commas between them, or a JSON list.
        self.plain = not any("," in label for label in labels)

    def write(self, chunk: Chunk, predictions: Sequence[Prediction]) -> None:
        for cells, prediction in zip(chunk.source, predictions, strict=True):
            answer = prediction.to_dict(rounded=True)
            names = answer["labels"]
            self.writer.writerow(
                [
                    *cells,
                    ",".join(names) if self.plain else json.dumps(names, ensure_ascii=False),
                    json.dumps(answer["scores"], ensure_ascii=False),
                    json.dumps(answer["truncated"]),
                ]
            )


class _ArrowSchema:
    """The schema of a source with the columns that are added.

    :param schema: of the source.
    :param labels: of the model.
    :param added: names of the columns.
    """

    def __init__(self, schema: Any, labels: Sequence[str], added: Sequence[str]) -> None:
        self.pa = require("pyarrow", extra="cluster")
        pa = self.pa
        self.labels = labels
        types = (
            pa.list_(pa.string()),
            pa.struct([pa.field(label, pa.float32()) for label in labels]),
            pa.bool_(),
        )
        self.added = [pa.field(name, type_) for name, type_ in zip(added, types, strict=True)]
        self.schema = pa.schema([*schema, *self.added], metadata=schema.metadata)

    def answer(self, batch: Any, predictions: Sequence[Prediction]) -> Any:
        """Put the predictions beside the columns of a batch."""
        names, scores, truncated = (field.type for field in self.added)
        columns = [
            self.pa.array([list(p.labels) for p in predictions], names),
            self.pa.array([dict(p.scores) for p in predictions], scores),
            self.pa.array([p.truncated for p in predictions], truncated),
        ]
        return self.pa.record_batch([*batch.columns, *columns], schema=self.schema)


class _ParquetSink(Sink):
    """Gathers rows, so that a part is one row group unless its rows are very wide."""

    def __init__(self, writer: Any, schema: _ArrowSchema) -> None:
        self.writer = writer
        self.schema = schema
        self.batches: list[Any] = []
        self.size = 0

    def write(self, chunk: Chunk, predictions: Sequence[Prediction]) -> None:
        self.batches.append(self.schema.answer(chunk.source, predictions))
        self.size += self.batches[-1].nbytes
        if self.size >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self.batches:
            table = self.schema.pa.Table.from_batches(self.batches, self.schema.schema)
            self.writer.write_table(table)
        self.batches, self.size = [], 0


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    :param part: its number.
    :param rows: in it.
    :param bad: of them, set aside.
    :param seconds: it took.
    :param host: where.
    :param process: which.
    :param error: why it was not done; empty if it was.
    :param fatal: whether the other parts would fare no better.
    """

    part: int
    rows: int = 0
    bad: int = 0
    seconds: float = 0.0
    host: str = ""
    process: int = 0
    error: str = ""
    fatal: bool = False


class PartWorker:
    """Does parts with one classifier, which is loaded at the first.

    :param plan: of the job; its parts are not looked at.
    :param output: the run's.
    :param threads: of the classifier, each on a processor of its own as far as there are.
    """

    def __init__(self, plan: Plan, output: Output, threads: int) -> None:
        self.plan = plan
        self.output = output
        self.threads = threads
        self._classifier: EmotionClassifier | None = None

    def __call__(self, part: Part) -> Outcome:
        """Do a part, and tell of what prevented it rather than raise.

        :param part: which.
        :return: what became of it.
        """
        started = time.perf_counter()
        try:
            if not self.output.begin(part):
                raise DataError(f"the process that classified {_named(part)} died every time")
            # It stands already where the process died between its commit and its answer.
            done = self.output.is_done(part)
            bad = self.output.count_bad(part) if done else self._do(part)
        except DataError as error:
            return self._outcome(part, error=str(error))
        except (OvEmotionsError, OSError) as error:
            return self._outcome(part, error=str(error), fatal=True)
        return self._outcome(part, bad=bad, seconds=time.perf_counter() - started)

    def _outcome(self, part: Part, **facts: Any) -> Outcome:
        return Outcome(part.number, part.rows, host=platform.node(), process=os.getpid(), **facts)

    def _do(self, part: Part) -> int:
        classifier = self._loaded()
        settings = self.plan.settings
        path = Path(self.plan.source, part.path)
        schema = source_schema(path, settings)
        bad: list[BadRow] = []
        temporary = self.output.temporary(part)
        try:
            with open_sink(temporary, schema, classifier.labels, settings.added) as sink:
                for chunk in read_part(path, part, settings, schema):
                    predictions = list(classifier.stream(chunk.texts, chunk_size=CHUNK_ROWS))
                    sink.write(chunk, predictions)
                    bad += chunk.bad
            self.output.commit(part, temporary, bad)
        finally:
            temporary.unlink(missing_ok=True)
        return len(bad)

    def _loaded(self) -> EmotionClassifier:
        if self._classifier is None:
            # Before anything starts threads of its own.
            pin_threads(self.threads)
            settings = self.plan.settings
            bundle = Bundle.load(settings.model)
            if sha256_file(bundle.folder / MANIFEST_NAME) != settings.model_sha256:
                raise ClusterError(
                    f"{platform.node()} has another model under the name {settings.model}"
                )
            self._classifier = EmotionClassifier(
                bundle,
                threads=self.threads,
                precision=settings.precision,
                thresholds=settings.thresholds,
                long_texts="truncate" if settings.long_texts == "truncate" else "window",
            )
            # All its models at once, so that a row's digits depend on nothing that came before.
            self._classifier.warm_up()
        return self._classifier


def _named(part: Part) -> str:
    first = part.start.row + 1
    return f"rows {first} to {part.start.row + part.rows} of {part.path}"


class BatchWorker(PartWorker):
    """The same as Ray Data calls it: a table with one row in, a table with one row out."""

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:  # type: ignore[override]
        """Do the part of a batch.

        :param batch: `part`, an array with one number.
        :return: the fields of an `Outcome`.
        """
        (number,) = batch["part"].tolist()
        outcome = super().__call__(self.plan.parts[number])
        return {name: [value] for name, value in asdict(outcome).items()}
