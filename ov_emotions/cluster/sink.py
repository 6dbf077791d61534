"""A part's answers, written beside the columns of its source in the source's format."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ov_emotions._extras import require
from ov_emotions.cluster.rows import Chunk
from ov_emotions.cluster.scan import file_format
from ov_emotions.prediction import Prediction
from ov_emotions.textfiles import DELIMITERS

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
