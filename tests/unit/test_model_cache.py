from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import openvino as ov
import pytest

from ov_emotions import EmotionClassifier, system
from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.runtime import cache as model_cache
from ov_emotions.runtime.cache import VARIABLE, compile_cached, user_cache_dir

KEY = ("1", "CPU", {"NUM_STREAMS": 1})


def fill(folder: str) -> str:
    (Path(folder) / "blob").write_text("x")
    return folder


def test_the_command_keeps_compiled_models_in_the_users_folder(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert user_cache_dir() == tmp_path / "ov-emotions"
    assert main(["classify", "слово", "--model", str(tiny_bundle.folder)]) == 0
    (entry,) = (tmp_path / "ov-emotions").iterdir()
    (blob,) = entry.iterdir()
    written = blob.stat().st_mtime_ns
    assert main(["classify", "слово", "--model", str(tiny_bundle.folder)]) == 0
    assert list(entry.iterdir()) == [blob]
    assert blob.stat().st_mtime_ns == written
    other = tmp_path / "other"
    monkeypatch.setenv(VARIABLE, str(other))
    EmotionClassifier(tiny_bundle, threads=1)
    assert list(other.glob("*/*")), "the library takes the environment's folder"
    monkeypatch.setenv(VARIABLE, "off")
    assert user_cache_dir() is None


def test_the_library_caches_nothing_unasked(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    EmotionClassifier(tiny_bundle, threads=1)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_is_whole_or_not_there(tiny_bundle: Bundle, tmp_path: Path) -> None:
    def killed(folder: str) -> str:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_cached(tmp_path, tiny_bundle.manifest, KEY, killed)
    assert list(tmp_path.iterdir()) == []
    compile_cached(tmp_path, tiny_bundle.manifest, KEY, fill)
    (entry,) = tmp_path.iterdir()
    assert compile_cached(tmp_path, tiny_bundle.manifest, KEY, str) == str(entry)
    compile_cached(tmp_path, tiny_bundle.manifest, ("2", *KEY[1:]), fill)
    assert len(list(tmp_path.iterdir())) == 2, "another OpenVINO has an entry of its own"


def test_the_users_folder_is_bounded_and_others_are_not(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "mine.txt").write_text("")
    made = []
    for number in range(model_cache.MAX_ENTRIES + 2):
        compile_cached(tmp_path, tiny_bundle.manifest, (str(number), *KEY[1:]), fill)
        (new,) = set(tmp_path.iterdir()) - {tmp_path / "mine.txt", *made}
        os.utime(new, (number, number))
        made.append(new)
        if number == 3:
            compile_cached(tmp_path, tiny_bundle.manifest, ("0", *KEY[1:]), fill)
    left = {path for path in made if path.exists()}
    assert len(left) == model_cache.MAX_ENTRIES
    assert made[0] in left, "it was used again"
    assert made[1] not in left
    assert (tmp_path / "mine.txt").exists()
    other = tmp_path / "other"
    for number in range(model_cache.MAX_ENTRIES + 2):
        compile_cached(other, tiny_bundle.manifest, (str(number), *KEY[1:]), fill)
    assert len(list(other.iterdir())) == model_cache.MAX_ENTRIES + 2


def test_a_damaged_entry_is_compiled_again(tiny_bundle: Bundle, tmp_path: Path) -> None:
    expected = EmotionClassifier(tiny_bundle, threads=1, cache_dir=tmp_path)("слово")
    (blob,) = tmp_path.glob("*/*")
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:100])
    assert EmotionClassifier(tiny_bundle, threads=1, cache_dir=tmp_path)("слово") == expected


def test_a_folder_that_cannot_be_used_costs_the_cache_and_one_warning(
    tiny_bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        classifier = EmotionClassifier(tiny_bundle, threads=1, cache_dir=tmp_path / "file")
        classifier.warm_up()
        assert classifier("радость").labels == ("joy",)
    (record,) = caplog.records
    assert "file cannot be used" in record.message
    assert "OV_EMOTIONS_CACHE=off" in record.message


CONVERTER = """
import ov_emotions, sys
from ov_emotions.system import import_openvino
ov = import_openvino()
assert "openvino.tools.ovc" not in sys.modules
from openvino import convert_model
assert callable(convert_model) and convert_model is ov.convert_model
assert ov.tools.ovc.convert_model is convert_model
try:
    ov.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise SystemExit("an unknown name was found")
"""


def test_openvinos_converter_comes_when_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", CONVERTER], check=True)
    assert ov.__version__


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
@pytest.mark.parametrize(
    ("sockets", "usable", "quota", "expected"),
    [
        ((0, 0, 0, 0), 4, None, (None, None)),  # left to OpenVINO
        ((0, 0, 1, 1), 4, None, (None, 2)),
        ((0, 0, 1, 1), 4, 8.0, (None, 2)),
        ((0, 0, 1, 1), 4, 1.5, (1, None)),
        ((0, 0, 1, 1), 2, None, (None, None)),  # pinned to one socket
        ((), 4, None, (None, None)),
    ],
)
def test_defaults_follow_quota_and_sockets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sockets: tuple[int, ...],
    usable: int,
    quota: float | None,
    expected: tuple[int | None, int | None],
) -> None:
    blocks = (
        f"processor\t: {i}\nphysical id\t: {socket}\ncore id\t: {i}"
        for i, socket in enumerate(sockets)
    )
    (tmp_path / "cpuinfo").write_text("\n\n".join(blocks))
    monkeypatch.setattr(system, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(system, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(usable)))
    assert system.inference_defaults() == expected


def test_a_classifier_under_a_quota_starts_no_more_threads_than_it_pays_for(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ov_emotions.classifier.inference_defaults", lambda: (1, None))
    for given, expected in ((None, 1), (2, 2)):
        made = EmotionClassifier(tiny_bundle, threads=given)
        assert made._models._plain._config["INFERENCE_NUM_THREADS"] == expected
