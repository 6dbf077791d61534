"""Translations kept in a file that survives a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ov_emotions.errors import DataError


class Translations:
    """What one model has translated with one set of options.

    The file has a JSON object a line and is only ever appended to. A kill may leave an unfinished
    last line, which is cut off when the file is opened again.

    :param path: the file; made if need be.
    :raises DataError: if it cannot be read, or holds what was not written here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[str, str] = {}
        """The translation of each text."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as error:
            raise DataError(f"{path} cannot be used for translations: {error.strerror}") from error

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("r+b") as file:
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = json.loads(line)
                text, translation = entry["text"], entry["translation"]
                if not isinstance(text, str) or not isinstance(translation, str):
                    raise TypeError
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self._path} line {number} is no translation; delete the file to start anew"
                ) from error
            self.known[text] = translation

    def add(self, translations: Mapping[str, str]) -> None:
        """Keep more of them, on the disk as well.

        :param translations: the translation of each text.
        :raises DataError: if they cannot be written; what was written before is kept.
        """
        lines = "".join(
            json.dumps({"text": text, "translation": translation}, ensure_ascii=False) + "\n"
            for text, translation in translations.items()
        )
        try:
            with self._path.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be written: {error.strerror}; what was translated before is "
                "kept, and the same command goes on from there"
            ) from error
        self.known.update(translations)
