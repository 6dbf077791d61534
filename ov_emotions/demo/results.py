"""Files to download: kept for a while, in a folder that goes with the process."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

_CSV, _HTML = "text/csv; charset=utf-8", "text/html; charset=utf-8"
FILES = {
    "emotions.csv": _CSV,
    "emotions.jsonl": "application/jsonl",
    "dialogues.csv": _CSV,
    "dialogues.json": "application/json",
    "dialogues.ru.html": _HTML,
    "dialogues.en.html": _HTML,
}
"""What a result consists of, and the media types."""

_KEPT = 32


class ResultStore:
    """The newest results, each under a name that cannot be guessed."""

    def __init__(self) -> None:
        self._root = tempfile.TemporaryDirectory(prefix="ov-emotions-demo-")
        self._folders: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def new(self) -> tuple[str, Path]:
        """Make room for a result; the oldest goes.

        :return: its token, and the folder to fill.
        """
        token = secrets.token_urlsafe(16)
        folder = Path(self._root.name) / token
        folder.mkdir()
        with self._lock:
            self._folders[token] = folder
            old = self._folders.popitem(last=False)[1] if len(self._folders) > _KEPT else None
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
        return token, folder

    def find(self, token: str, name: str) -> Path | None:
        """Find a file of a result.

        :param token: what `new` gave.
        :param name: one of `FILES`.
        :return: the file; None where there is none.
        """
        with self._lock:
            folder = self._folders.get(token)
        if folder is None or name not in FILES or not (folder / name).is_file():
            return None
        return folder / name

    def close(self) -> None:
        """Delete everything."""
        self._root.cleanup()
