from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ov_emotions import files
from ov_emotions.files import atomic_folder, atomic_path, write_text


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class CrashError(Exception):
    pass


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """`open_whole` with a path, as the others have."""
    with files.open_whole(target) as file:
        file.write(b"half")
        yield target


@contextmanager
def without_unnamed_files(target: Path) -> Iterator[Path]:
    """`open_whole` where the system has no files without a name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_unnamed", lambda _folder: None)
        with whole_file(target) as path:
            yield path


@contextmanager
def file_at_a_path(target: Path) -> Iterator[Path]:
    with atomic_path(target) as path:
        path.write_text("half", encoding="utf-8")
        yield path


@contextmanager
def folder(target: Path) -> Iterator[Path]:
    with atomic_folder(target) as path:
        write_text(path / "new.txt", "half")
        yield path


NAMES = ["file.txt", "n" * 255, "ы" * 127]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [whole_file, without_unnamed_files, file_at_a_path, folder])
def test_a_write_is_whole_or_absent_and_leaves_nothing_beside_it(tmp_path, way, name):
    target = tmp_path / "new" / name

    def content() -> str:
        return (target / "new.txt" if target.is_dir() else target).read_text(encoding="utf-8")

    with way(target):
        assert not target.exists()
    assert (content(), _names(target.parent)) == ("half", [name])
    inside = target / "new.txt" if target.is_dir() else target
    inside.write_text("old", encoding="utf-8")
    with pytest.raises(CrashError), way(target):
        raise CrashError
    assert (content(), _names(target.parent)) == ("old", [name])
    with way(target):
        assert content() == "old"
    assert (content(), _names(target.parent)) == ("half", [name])


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with atomic_folder(target) as folder:
        write_text(folder / "old.txt", "old")
    replace = Path.replace

    def fail_for_the_new_one(self: Path, to: Path) -> Path:
        if to == target and (self / "new.txt").exists():
            raise OSError("the disk is gone")
        return replace(self, to)

    with pytest.raises(OSError, match="the disk is gone"), atomic_folder(target) as folder:
        write_text(folder / "new.txt", "new")
        monkeypatch.setattr(Path, "replace", fail_for_the_new_one)
    assert _names(target) == ["old.txt"]
    assert _names(tmp_path) == ["folder"]


def test_a_file_in_the_place_of_the_folder_is_not_replaced(tmp_path):
    target = tmp_path / "folder"
    write_text(target, "a file")
    with pytest.raises(NotADirectoryError), atomic_folder(target):
        pytest.fail("the block must not begin")
    assert target.read_text(encoding="utf-8") == "a file"
    assert _names(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    with atomic_folder(link) as folder:
        write_text(folder / "new.txt", "new")
    assert link.is_symlink()
    assert _names(real) == ["new.txt"]
    assert _names(tmp_path) == ["link", "real"]


HALF = """
import sys, time
from pathlib import Path
from ov_emotions.files import atomic_folder, atomic_path
way = atomic_folder if sys.argv[2] == "folder" else atomic_path
with way(Path(sys.argv[1])) as path:
    (path / "half.txt" if path.is_dir() else path).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no such locks")
@pytest.mark.parametrize(("kind", "way"), [("folder", folder), ("file", file_at_a_path)])
def test_what_a_killed_writer_left_goes_with_the_next_write_and_not_before_it_is_dead(
    tmp_path, kind, way
):
    target, others = tmp_path / "a", [".a.tmp", ".a2.0123abcd.tmp", "x.tmp"]
    for name in others:
        (tmp_path / name).mkdir()
    command = [sys.executable, "-c", HALF, target, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            with way(target):
                pass
            (half,) = set(_names(tmp_path)) - {"a", *others}  # it still writes
        finally:
            writer.kill()
    with pytest.raises(CrashError), way(target):
        raise CrashError
    assert (tmp_path / half).exists()
    with way(target):
        pass
    assert _names(tmp_path) == sorted(["a", *others])


@pytest.mark.skipif(os.name == "nt", reason="there are no such locks")
def test_a_folder_that_was_cleared_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    lock, cleared = files._lock, []

    def late(folder: Path, *, wait: bool) -> int | None:
        if not cleared:
            cleared.append(folder)
            folder.rmdir()
        return lock(folder, wait=wait)

    monkeypatch.setattr(files, "_lock", late)
    with atomic_folder(tmp_path / "folder") as folder:
        write_text(folder / "a.txt", "whole")
    assert len(cleared) == 1
    assert _names(tmp_path / "folder") == ["a.txt"]
