"""Bytes of files, pipes and standard input, the lines in them, and what a row is.

A file is looked into at its beginning, which tells its encoding (UTF-8 with and without a byte
order mark, UTF-16, Windows-1251) and its line ends, and is then read from anywhere. A pipe is read
once, what was looked at included.
"""

from __future__ import annotations

import codecs
import gzip
import io
import queue
import re
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from ov_emotions.errors import DataError, InputError

_T = TypeVar("_T")

STANDARD = Path("-")
"""Names standard input, or standard output where something is written."""

MAX_LINE = 16 * 2**20
"""Characters; a longer line is a bad row, and is skipped without being held in memory."""

_HEAD = 1 << 16
_SEARCHED = 8 * 2**20
_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
# The letters that Russian has most of, as Windows-1251 writes them: half of any text and more.
_FREQUENT = frozenset("оеаинтсрвлОЕАИНТСРВЛ".encode("cp1251"))
_HIGH_WORD = re.compile(rb"[\x80-\xff]{2,}")
_CYRILLIC = frozenset(range(0xC0, 0x100)) | {0xA8, 0xB8}


class Row(msgspec.Struct, frozen=True):
    """A row with a usable text.

    :param row: its number, counted from 1 below the header; of lines, as an editor counts.
    :param cells: the other columns asked for, by name; None where the row lacks one. A cell that
        cannot be read is a `BadRow`.
    :param source: the file, where rows of several are put together.
    """

    row: int
    text: str
    cells: Mapping[str, Any] = {}
    source: str = ""


@dataclass(frozen=True)
class BadRow:
    """A row that was left out: its number, as of a `Row`, and why.

    :param kept: the row itself, where nothing but its text is missing.
    """

    row: int
    reason: str
    kept: Row | None = field(default=None, compare=False)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file that the block reads into a `DataError` that names it."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}") from error


class _Chained(io.RawIOBase):
    """A stream with what was already read of it put back."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self.head = memoryview(head)
        self.rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.head:
            taken = min(len(buffer), len(self.head))
            buffer[:taken] = self.head[:taken]
            self.head = self.head[taken:]
            return taken
        data = self.rest.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and self.rest is not getattr(sys.stdin, "buffer", None):
            self.rest.close()
        super().close()


def _buffered(stream: Any) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(stream, 1 << 17))


class Source:
    """A file, a pipe or standard input (`-`), looked into at its beginning.

    :raises DataError: if it does not exist, is a folder or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = "standard input" if path == STANDARD else str(path)
        self.head = b""
        self.ended = False
        """Whether `head` is all there is."""
        self._used = False
        with reading(path):
            if path.is_dir():
                raise DataError(f"{path} is a folder; name a file in it")
            self._file = self._open()
            self.regular = path != STANDARD and path.is_file()
            """Whether it can be read several times."""
            self.seekable = self.regular and path.suffix.lower() != ".gz"
            """Whether reading may begin anywhere."""
            self.waits = not self.regular and not self._file.seekable()
            """Whether more may come slowly: of a pipe, a terminal or a socket."""
            self.grow()
            if self.regular:
                while not self.ended and len(self.head) < _HEAD:
                    self.grow()

    def _open(self) -> BinaryIO:
        if self.path == STANDARD:
            try:
                # Not Python's own: a thread that waits for it would hold the interpreter's end up.
                return cast("BinaryIO", io.FileIO(sys.stdin.fileno(), closefd=False))
            except (OSError, AttributeError):
                return sys.stdin.buffer
        if self.path.suffix.lower() == ".gz":
            return cast("BinaryIO", gzip.open(self.path, "rb"))
        return self.path.open("rb", buffering=0)

    def grow(self) -> bool:
        """Look further into it; False if there is no more."""
        with reading(self.path):
            more = self._file.read(_HEAD)
        self.head += more
        self.ended = not more
        return bool(more)

    def open(self, offset: int = 0) -> BinaryIO:
        """Open it to be read from its beginning, or from an offset where it is `seekable`.

        :raises DataError: if it is a pipe that was opened before.
        """
        if self.regular:
            file = _buffered(self._open())
            if offset:
                file.seek(offset)
            return file
        if self._used:
            raise DataError(f"{self.name} is no plain file, and would have to be read twice")
        self._used = True
        rest: Any = self._file
        if not hasattr(rest, "read1"):
            rest = _buffered(rest)
        return _buffered(_Chained(self.head, rest))

    def close(self) -> None:
        """Let go of what was opened to look into a plain file."""
        if self.regular:
            self._file.close()

    def sample(self) -> bytes:
        """Return the bytes that tell an encoding: the first that are not ASCII are among them."""
        if not self.head.isascii() or self.ended or not self.regular:
            return self.head
        searched = len(self.head)
        # What is damaged further on is told when its rows are read.
        with suppress(OSError, EOFError, zlib.error), self.open() as file:
            file.read(searched)
            while chunk := file.read(1 << 20):
                if not chunk.isascii():
                    return chunk
                searched += len(chunk)
                if searched > _SEARCHED and not self.seekable:
                    break
        return self.head


@dataclass(frozen=True)
class Lines:
    """The lines of a source as text.

    :param mark: bytes of the byte order mark.
    :param end: of the lines: a line feed, or a carriage return where there is no line feed.
    """

    source: Source
    encoding: str
    mark: int
    end: str

    @property
    def head(self) -> str:
        """The beginning as text."""
        return _decoded(self.source.head[self.mark :], self.encoding)

    def read(self, offset: int = 0) -> Iterator[str]:
        """Read the lines, each with its end.

        :param offset: bytes before the first, the mark counted; 0 for the first of all.
        :return: a line of `MAX_LINE` characters is the beginning of a longer one; bytes of no
            meaning are lone surrogates.
        """
        with self.source.open(offset) as file:
            if not offset:
                file.read(self.mark)
            # Only a text with such bytes shall be a bad row. UTF-16 has no way to keep them.
            errors = "replace" if self.encoding.startswith("utf-16") else "surrogateescape"
            stream = io.TextIOWrapper(file, self.encoding, errors=errors, newline=self.end)
            take, limit = stream.readline, MAX_LINE
            while line := take(limit):
                rest = line
                while len(rest) == limit and not rest.endswith(self.end):
                    rest = take(limit)
                yield line

    def encode(self, line: str) -> bytes:
        return line.encode(self.encoding, "surrogateescape")


def open_lines(source: Source, encoding: str | None = None) -> Lines:
    """Find out how the lines of a source are written.

    :param encoding: in place of what they look like.
    :raises DataError: if they are in no encoding that is known.
    :raises InputError: if there is no encoding of that name.
    """
    mark = next((name for name, mark in _MARKS.items() if source.head.startswith(mark)), None)
    if encoding is None:
        found = mark or _find_encoding(source.sample(), source.name)
    else:
        found = check_encoding(encoding)
        if found in ("utf-8-sig", "utf-16"):
            found = mark or found.removesuffix("-sig").replace("utf-16", "utf-16-le")
    skipped = len(_MARKS[found]) if found == mark else 0
    head = _decoded(source.head[skipped:], found)
    return Lines(source, found, skipped, "\r" if "\r" in head and "\n" not in head else "\n")


def check_encoding(name: str) -> str:
    """Return the name that Python has for an encoding."""
    try:
        b"".decode(name)
        return codecs.lookup(name).name
    except LookupError:
        raise InputError(f"there is no encoding {name!r}; try utf-8, utf-16 or cp1251") from None


def _decoded(data: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(data)


def _find_encoding(sample: bytes, where: str) -> str:
    """Tell whether bytes without a mark are utf-8, utf-16-le, utf-16-be or cp1251."""
    # Every character of Russian text has a high byte of 0 or 4.
    for encoding, high in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if len(high) > 1 and sum(high.count(byte) for byte in (0, 4)) > 0.9 * len(high):
            return encoding
    lines = [line for line in sample.split(b"\n") if not line.isascii()]
    whole = sum(_is_utf8(line, cut=line is lines[-1]) for line in lines)
    if 2 * whole >= len(lines):
        return "utf-8"
    words = b"".join(_HIGH_WORD.findall(sample))
    high = bytes(byte for byte in b"".join(lines) if byte > 127)
    if 2 * len(words) < len(high) or not words:
        return "utf-8"  # with some bytes that are damaged: letters of Russian stand together
    letters = sum(byte in _CYRILLIC for byte in high)
    frequent = sum(byte in _FREQUENT for byte in high)
    if letters > 0.8 * len(high) and (letters < 20 or frequent > 0.4 * letters):
        return "cp1251"
    raise DataError(
        f"{where} is in none of the encodings UTF-8, UTF-16 and Windows-1251; name its own with "
        "--encoding, or save it as UTF-8"
    )


def _is_utf8(line: bytes, *, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def text_lines(lines: Iterable[str], before: int = 0) -> Iterator[tuple[int, str | BadRow]]:
    """Number lines, as `Lines.read` gives them, and take their ends off.

    :param before: how many lines of the file are before the first.
    """
    for number, line in enumerate(lines, start=before + 1):
        if len(line) >= MAX_LINE:
            yield number, BadRow(number, f"the line is longer than {MAX_LINE // 2**20} MiB")
            continue
        try:
            line.encode("utf-8")
        except UnicodeEncodeError as error:
            character = line[error.start]
            if "\udc80" <= character <= "\udcff":  # else it is half of a surrogate pair
                byte, place = ord(character) - 0xDC00, len(line[: error.start].encode()) + 1
                yield number, BadRow(number, f"the line is not UTF-8: byte 0x{byte:02x} at {place}")
                continue
        yield number, line.rstrip("\r\n")


def as_they_come(items: Iterable[_T], most: int, patience: float = 0.02) -> Iterator[list[_T]]:
    """Group items by when they come: no item waits for one that is not there yet.

    They are read in a thread of their own, so that some gather while a group is worked on.

    :param most: items of a group, which has one at the least.
    :param patience: seconds that a group is held open for the next item.
    """
    waiting: queue.Queue[Any] = queue.Queue(8 * most)
    end = object()

    def fill() -> None:
        try:
            for item in items:
                waiting.put((item, None))
            waiting.put((end, None))
        except BaseException as error:
            waiting.put((end, error))

    threading.Thread(target=fill, daemon=True).start()
    item, error = waiting.get()
    while item is not end:
        group = [item]
        with suppress(queue.Empty):
            while len(group) < most:
                item, error = waiting.get(timeout=patience)
                if item is end:
                    break
                group.append(item)
        yield group
        if item is not end:
            item, error = waiting.get()
    if error is not None:
        raise error
