from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

from ov_emotions.errors import InputError, RepositoryError
from ov_emotions.files import folder_lock
from ov_emotions.serving import repository as room
from ov_emotions.serving.repository import publish


def _model(bias: float = 0.0, name: str = "x") -> ov.Model:
    x = ops.parameter([-1], np.float32, name=name)
    x.output(0).set_names({name})
    y = ops.add(x, ops.constant(np.float32(bias)))
    y.output(0).set_names({"y"})
    model = ov.Model([ops.result(y)], [x], "m")
    # Automatic names count on from model to model.
    for i, node in enumerate(model.get_ordered_ops()):
        node.set_friendly_name(f"node{i}")
    return model


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _version(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("x", encoding="utf-8")


def test_the_first_version_is_one_pair_under_the_number_one(tmp_path):
    published = publish(_model(), tmp_path / "a" / "repo")
    assert (published.version, published.changed, published.pruned) == (1, True, ())
    assert published.folder == tmp_path / "a" / "repo" / "emotions" / "1"
    assert sorted(_tree(tmp_path / "a")) == [
        "repo",
        "repo/emotions",
        "repo/emotions/1",
        "repo/emotions/1/model.bin",
        "repo/emotions/1/model.xml",
    ]


def test_the_same_model_again_changes_nothing(tmp_path):
    publish(_model(1), tmp_path)
    publish(_model(2), tmp_path)
    before = _tree(tmp_path)
    again = publish(_model(2), tmp_path, keep=1)
    assert (again.version, again.changed, again.pruned) == (2, False, ())
    assert _tree(tmp_path) == before


def test_the_oldest_versions_beyond_the_limit_go_and_the_newest_stays(tmp_path):
    for bias in (1, 2, 3):
        publish(_model(bias), tmp_path)
    published = publish(_model(4), tmp_path, keep=2)
    assert published.pruned == (1, 2)
    assert _names(tmp_path / "emotions") == ["3", "4"]
    assert publish(_model(5), tmp_path, keep=1).pruned == (3, 4)
    assert _names(tmp_path / "emotions") == ["5"]


def test_the_server_may_read_what_is_published(tmp_path):
    before = os.umask(0o022)
    try:
        folder = publish(_model(), tmp_path).folder
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_other_models_and_hidden_files_are_left_alone(tmp_path):
    _version(tmp_path / "other" / "1", "model.onnx")
    _version(tmp_path / "emotions", ".keep")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert publish(_model(), tmp_path).version == 1
    assert (tmp_path / "emotions" / ".keep").is_file()
    assert (tmp_path / "other" / "1" / "model.onnx").is_file()


@pytest.mark.parametrize("file", ["repo", "repo/emotions"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path, file):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("x", encoding="utf-8")
    with pytest.raises(RepositoryError, match=r"cannot publish to .*emotions: "):
        publish(_model(), tmp_path / "repo")
    assert path.read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("3/model.xml", "3/model.bin", "3/tokenizer.xml"), "holds 2 models"),
        (("3/model.bin",), "holds no .xml"),
        (("3/model.xml", "3/other.bin"), "is not one pair"),
        (("3/model.xml", "3/model.bin", "3/other.bin"), "is not one pair"),
        (("3/",), "holds no .xml"),
        *(
            ((name,), f"holds '{name.strip('/')}'.* no version folder")
            for name in ("notes.txt", "latest/", "0/", "01/", "1.5/", "-1/", "٣/")
        ),
    ],
)
def test_a_folder_that_holds_more_than_versions_of_one_pair_is_refused(tmp_path, made, message):
    for name in made:
        path = tmp_path / "emotions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("x", encoding="utf-8")
    before = _tree(tmp_path)
    with pytest.raises(RepositoryError, match=message):
        publish(_model(), tmp_path)
    assert _tree(tmp_path) == before


def test_a_model_with_another_signature_is_refused(tmp_path):
    publish(_model(), tmp_path)
    before = _tree(tmp_path)
    with pytest.raises(RepositoryError, match=r"takes x \(f32\).* takes text \(f32\).*clients"):
        publish(_model(name="text"), tmp_path)
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("left", ["<net", "<xml", ""])
def test_a_damaged_newest_version_does_not_stand_in_the_way(tmp_path, capfd, left):
    publish(_model(), tmp_path)
    (tmp_path / "emotions" / "1" / "model.xml").write_text(left, encoding="utf-8")
    assert publish(_model(), tmp_path).version == 2
    assert capfd.readouterr().err == "", "OpenVINO keeps quiet about it"


@pytest.mark.parametrize("place", ["file", "file/deeper", "loop"])
def test_what_is_no_folder_is_named(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    before = _names(tmp_path)
    with pytest.raises(RepositoryError, match=r"(file|loop) is there and is no folder"):
        publish(_model(), tmp_path / place)
    assert _names(tmp_path) == before


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".hidden", "имя", "a b", "a" * 101])
def test_a_name_that_is_no_folder_of_the_repository_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot name a model"):
        publish(_model(), tmp_path, name)
    assert not _names(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    publish(_model(), tmp_path)
    before = _tree(tmp_path)

    def refuse(*_args: object, **_options: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(RepositoryError, match=r"cannot publish to .*: Permission denied"):
        publish(_model(2), tmp_path)
    monkeypatch.undo()
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("versions", [0, 1])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_the_repository_as_it_was(
    tmp_path, monkeypatch, versions, error
):
    for _ in range(versions):
        publish(_model(1), tmp_path / "repo")
    before = _tree(tmp_path)

    def fail(_path: Path) -> None:
        raise error

    monkeypatch.setattr(room, "_sync", fail)
    with pytest.raises((RepositoryError, KeyboardInterrupt)):
        publish(_model(2), tmp_path / "repo")
    assert _tree(tmp_path) == before


def test_a_second_publisher_is_sent_away_and_may_come_back(tmp_path):
    publish(_model(1), tmp_path)
    before = _tree(tmp_path)
    with folder_lock(tmp_path / "emotions"), pytest.raises(RepositoryError, match="another proc"):
        publish(_model(2), tmp_path)
    assert _tree(tmp_path) == before
    assert publish(_model(2), tmp_path).version == 2


SCRIPT = """
    import os, resource, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_ovms_repository import _model
    from ov_emotions.errors import RepositoryError
    from ov_emotions.serving import repository as room
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent)) + code)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_publisher_leaves_no_version_and_the_next_clears_up(tmp_path):
    publish(_model(1), tmp_path)
    done = _run(f"""
    room._sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    room.publish(_model(2), {str(tmp_path)!r})
    """)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = set(_names(tmp_path / "emotions")) - {"1"}
    assert left
    (tmp_path / "emotions" / ".1.0123abcd.tmp").mkdir()
    assert all(name.startswith(".") for name in left)  # the server passes over these
    assert publish(_model(3), tmp_path).version == 2
    assert _names(tmp_path / "emotions") == ["1", "2"]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit of file sizes")
def test_weights_that_do_not_fit_the_disk_are_not_published(tmp_path):
    publish(_model(1), tmp_path)
    before = _tree(tmp_path)
    done = _run(f"""
    import numpy as np, openvino as ov, openvino.opset13 as ops
    x = ops.parameter([-1, 1000], np.float32, name="x")
    x.output(0).set_names({{"x"}})
    y = ops.matmul(x, ops.constant(np.ones((1000, 1000), dtype=np.float32)), False, False)
    y.output(0).set_names({{"y"}})
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        room.publish(ov.Model([ops.result(y)], [x], "m"), {str(tmp_path)!r})
    except RepositoryError as error:
        print(error)
    """)
    assert "could not be written whole" in done.stdout, done.stderr
    assert _tree(tmp_path) == before
