"""Compiled models kept in a folder, so that the next process starts sooner.

Each entry is a folder of its own, named by all that it depends on: the model's files, the options
and OpenVINO's version. It is written whole or not at all, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ov_emotions.files import atomic_folder
from ov_emotions.manifest import MODEL_NAME, WEIGHTS_NAME, Manifest

_LOGGER = logging.getLogger(__name__)

VARIABLE = "OV_EMOTIONS_CACHE"
"""Names the folder where nothing else does; `off` switches the command's own one off."""

MAX_ENTRIES = 8
"""Entries that stay in the user's cache folder; the ones not used for longest go first."""

_OFF = ("off", "0", "no", "false")
_ENTRY = re.compile(r"[0-9a-f]{16}")
_T = TypeVar("_T")
_told: set[Path] = set()


def cache_dir_from_environment() -> Path | None:
    """Return the folder that the environment names, or None."""
    named = os.environ.get(VARIABLE, "")
    if not named or named.lower() in _OFF:
        return None
    with suppress(RuntimeError):  # "~" where there is no home
        return Path(named).expanduser().absolute()
    return Path(named).absolute()


def user_cache_dir() -> Path | None:
    """Return where the command keeps compiled models; None where that is switched off.

    The environment's folder, or else `ov-emotions` in the user's cache folder.
    """
    if os.environ.get(VARIABLE, "").lower() in _OFF:
        return None
    named = cache_dir_from_environment()
    if named is not None:
        return named
    with suppress(RuntimeError):  # there may be no home
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "ov-emotions"
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA")
            return Path(base) / "ov-emotions" / "Cache" if base else None
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ov-emotions"
    return None


def compile_cached(
    cache_dir: Path,
    manifest: Manifest,
    key: tuple[str, str, Mapping[str, Any]],
    compile_into: Callable[[str | None], _T],
) -> _T:
    """Compile a model through its entry of the cache.

    :param key: OpenVINO's version, the device and its options.
    :param compile_into: compiles with a CACHE_DIR, or with none.
    :return: what it returned. A folder that cannot be used costs its entry and one warning.
    """
    # OpenVINO tells models apart by path and time of change, which an upgrade can leave the same.
    files, (version, device, options) = manifest.files, key
    facts = [files[MODEL_NAME], files[WEIGHTS_NAME], version, device, sorted(options.items())]
    entry = cache_dir / hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:16]
    compiled = None
    try:
        cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if entry.is_dir():
            with suppress(OSError):  # another user's, or read-only
                os.utime(entry)
            return compile_into(str(entry))
        with atomic_folder(entry) as temporary:
            compiled = compile_into(str(temporary))
    except OSError as error:
        if cache_dir not in _told:
            _told.add(cache_dir)
            _LOGGER.warning(
                "compiled models are not kept: %s cannot be used (%s); name another folder with "
                "cache_dir or the variable %s, or switch it off with %s=off",
                cache_dir,
                error.strerror or error,
                VARIABLE,
                VARIABLE,
            )
        return compile_into(None) if compiled is None else compiled
    if cache_dir == user_cache_dir():
        _drop_oldest(cache_dir)
    return compiled


def _drop_oldest(folder: Path) -> None:
    found = []
    for path in folder.iterdir():
        if _ENTRY.fullmatch(path.name):
            with suppress(OSError):  # another process drops them too
                found.append((path.stat().st_mtime, path))
    for _, path in sorted(found, reverse=True)[MAX_ENTRIES:]:
        _LOGGER.debug("dropping the compiled model %s", path)
        shutil.rmtree(path, ignore_errors=True)
