"""A classifier in threads, forks, copies and at the end of a process: it never hangs, nor aborts.

Each script is a process of its own, under a time limit. Those of `_FORKS` and `_ENDS` hang,
abort or fail where nothing looks after native threads.
"""

from __future__ import annotations

import copy
import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import openvino as ov
import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.errors import MissingExtraError
from ov_emotions.system import core_for_others, require, shared_core

LIMIT = 120
MAKE = """
import sys, threading, time
from ov_emotions import EmotionClassifier
TEXTS = ["ура победа", "мне грустно"] * 20
c = EmotionClassifier("emotions-ru-tiny")

def use(text):
    return c(text).labels
"""
MAIN = """
if __name__ == "__main__":
"""


def runs(script: str, folder: Path, *out: str) -> None:
    """Check that a script ends by itself, says this and no more."""
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=folder,
        check=False,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, list(out), "")


FIRST_CALLS = """
import sys, threading
sys.setswitchinterval(1e-6)
from ov_emotions import EmotionClassifier
c = EmotionClassifier("emotions-ru-tiny")
barrier, done = threading.Barrier(8), []

def go():
    barrier.wait()
    done.append(len(c(["ура победа"] * 50)))

threads = [threading.Thread(target=go) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(done))
"""


@pytest.mark.slow
def test_first_calls_of_several_threads_never_block_each_other(tmp_path: Path) -> None:
    """About one process in thirty did."""
    for _ in range(int(os.environ.get("OV_EMOTIONS_STRESS", "10"))):
        runs(FIRST_CALLS, tmp_path, "400")


def test_element_types_are_known_before_the_first_call(tmp_path: Path) -> None:
    """To make one into a type of numpy at first is what blocked several threads."""
    script = """
import openvino, threading
main, asked = threading.current_thread(), []
own = openvino.Type.to_dtype
def to_dtype(self):
    asked.append((threading.current_thread() is main, self.get_type_name()))
    return own(self)
openvino.Type.to_dtype = to_dtype
from ov_emotions import EmotionClassifier
EmotionClassifier("emotions-ru-tiny")
print(*sorted({name for there, name in asked if there}))
"""
    runs(script, tmp_path, "boolean", "f16", "f32", "i32", "i64", "u8")


_FORKS = {
    "a bare fork": """
    import os
    c.warm_up(); c(TEXTS * 50)
    other = EmotionClassifier("emotions-ru-tiny"); other(TEXTS * 50); other.close()
    if (child := os.fork()) == 0:
        c.warm_up(); c(TEXTS * 50)
        print(*use("ура победа"), flush=True)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
""",
    "a fork while other threads classify": """
    import os
    threading.Thread(target=lambda: [use("да") for _ in iter(int, 1)], daemon=True).start()
    c(TEXTS)
    if (child := os.fork()) == 0:
        print(*use("ура победа"), flush=True)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
""",
    "a pool": """
    import multiprocessing
    with multiprocessing.get_context(METHOD).Pool(2) as pool:
        print(*set(sum(pool.map(use, ["ура победа"] * 4), ())))
""",
    "an executor": """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1, multiprocessing.get_context(METHOD)) as pool:
        print(*pool.submit(use, "ура победа").result())
""",
    "a DataLoader": """
    from torch.utils.data import DataLoader
    class Rows:
        def __len__(self): return 4
        def __getitem__(self, i): return use("ура победа")[0]
    print(*set(sum(DataLoader(Rows(), batch_size=2, num_workers=2), [])))
""",
    "joblib": """
    from joblib import Parallel, delayed
    print(*set(sum(Parallel(2)(delayed(c)(["ура победа"]) for _ in range(4)), [])[0].labels))
""",
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("a bare fork", "fork"),
        ("a fork while other threads classify", "fork"),
        ("a pool", "fork"),
        pytest.param("a pool", "spawn", marks=pytest.mark.slow),
        pytest.param("a pool", "forkserver", marks=pytest.mark.slow),
        pytest.param("an executor", "fork", marks=pytest.mark.slow),
        pytest.param("an executor", "spawn", marks=pytest.mark.slow),
        pytest.param("a DataLoader", "fork", marks=pytest.mark.slow),
        pytest.param("joblib", "loky", marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_was_forked_opens_the_model_again(
    tmp_path: Path, name: str, method: str
) -> None:
    for module in ("torch", "joblib"):
        if module in _FORKS[name]:
            pytest.importorskip(module)
    script = _FORKS[name].replace("METHOD", repr(method))
    runs(MAKE + MAIN + script, tmp_path, "joy")


SERVERS = {
    "gunicorn": (
        *("-m", "gunicorn", "app:wsgi", "--preload", "--workers", "2"),
        *("--bind", "127.0.0.1:{port}", "--log-level", "error"),
    ),
    "uvicorn": (
        *("-m", "uvicorn", "app:asgi", "--workers", "2"),
        *("--port", "{port}", "--log-level", "error"),
    ),
}
APP = (
    MAKE
    + """
c(TEXTS)

def wsgi(environ, start):
    start("200 OK", [])
    return [" ".join(use("ура победа")).encode()]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": " ".join(use("ура победа")).encode()})
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SERVERS)
def test_servers_with_several_workers_answer_and_end(tmp_path: Path, kind: str) -> None:
    import socket
    import urllib.request

    pytest.importorskip(kind)
    (tmp_path / "app.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *(part.format(port=port) for part in SERVERS[kind])]
    server = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        answers: list[bytes] = []
        end = time.monotonic() + LIMIT
        while len(answers) < 8 and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as reply:
                    answers.append(reply.read())
            except OSError:
                time.sleep(0.2)
        assert answers == [b"joy"] * 8
    finally:
        server.terminate()
        _, said = server.communicate(timeout=LIMIT)
    assert "Traceback" not in said


_ENDS = {
    "daemon threads": """
    for _ in range(3):
        threading.Thread(target=lambda: [c(TEXTS) for _ in iter(int, 1)], daemon=True).start()
    time.sleep(0.3)
""",
    "an executor with work left": """
    from concurrent.futures import ThreadPoolExecutor
    pool = ThreadPoolExecutor(2)
    [pool.submit(c, TEXTS) for _ in range(5)]
""",
    "a model that is still compiled": """
    c(TEXTS * 100)
    [c("да") for _ in range(40)]
""",
    "os._exit": """
    import os
    threading.Thread(target=lambda: [c(TEXTS) for _ in iter(int, 1)], daemon=True).start()
    time.sleep(0.2)
    os._exit(0)
""",
    "a stream that nobody reads on": """
    stream = c.stream(iter(TEXTS * 100), chunk_size=8)
    next(stream)
""",
}


@pytest.mark.parametrize("name", _ENDS)
def test_a_process_that_still_classifies_ends_quietly(tmp_path: Path, name: str) -> None:
    runs(MAKE + MAIN + _ENDS[name], tmp_path)


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_process_with_its_own_code(tmp_path: Path, signal_name: str) -> None:
    # A shell that runs the tests in the background has them ignore Ctrl-C.
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script = heed + MAKE + "\nprint(1, flush=True)\nwhile True: c(TEXTS)\n"
    (tmp_path / "s.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, "s.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        process.send_signal(signal.Signals[signal_name])
        _, said = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == -signal.Signals[signal_name]
    assert b"terminate called" not in said
    assert said.count(b"Traceback") == (signal_name == "SIGINT")


IN_TURN = """
import gc, os, signal
from ov_emotions import EmotionClassifier
first, second = (EmotionClassifier("emotions-ru-tiny") for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_signal_after_two_classifiers_went_in_turn_is_heard(tmp_path: Path) -> None:
    runs(IN_TURN, tmp_path, "heard")


def test_other_libraries_share_the_one_core_for_the_length_of_a_block(tiny_bundle: Bundle) -> None:
    own = ov.Core, ov.compile_model
    with core_for_others():
        assert ov.Core() is shared_core() is shared_core()
        compiled = ov.compile_model(str(tiny_bundle.model_path), "CPU", {"NUM_STREAMS": 1})
        assert compiled.get_property("NUM_STREAMS") == 1
        assert ov.compile_model(str(tiny_bundle.model_path), "CPU").outputs
    assert (ov.Core, ov.compile_model) == own


def test_a_copy_opens_its_own_model_of_what_the_first_was_made_of(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    first = EmotionClassifier(
        "model", threads=1, thresholds={"joy": 0.3}, long_texts="truncate", cache_dir="cache"
    )
    monkeypatch.chdir("/")
    first.warm_up()
    expected = first(["радость", "злость"] * 300)
    for again in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        assert again is not first
        assert again(["радость", "злость"] * 300) == expected
        assert again.thresholds == first.thresholds
        assert again.long_texts == "truncate"
    first.close()
    assert again("радость").labels == expected[0].labels
    assert (tmp_path / "cache").is_dir()


def test_a_bundle_of_a_shipped_model_is_found_on_another_machine(
    tmp_path: Path,
) -> None:
    bundle = Bundle.load("emotions-ru-tiny")
    there = Bundle(tmp_path / "site-packages", bundle.manifest, bundle.known_as)
    assert pickle.loads(pickle.dumps(there)).folder == bundle.folder


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ModuleNotFoundError(name='beside')", "needs beside, which is not installed: pip install"),
        (
            "ImportError('hub>=1,<2 is required, but found 3.\\nTry')",
            r"required, but found 3\): pip",
        ),
        ("ValueError('numpy.dtype size changed')", "does not work with .* size changed"),
    ],
)
def test_a_package_that_does_not_fit_is_a_sentence_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: str, said: str
) -> None:
    (tmp_path / "misfit.py").write_text(f"raise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=said) as caught:
        require("misfit", extra="train")
    assert "ov-emotions[train]" in str(caught.value)
    assert "\n" not in str(caught.value)


CLASSIFY = (sys.executable, "-m", "ov_emotions", "classify", "--model", "emotions-ru-tiny", "ура")
NO_HOME = {"HOME": "/proc/none", "XDG_CACHE_HOME": ""}


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (CLASSIFY, NO_HOME),
        (CLASSIFY, {"HOME": "", "XDG_CACHE_HOME": "/proc/none"}),
        (CLASSIFY, {"OV_EMOTIONS_CACHE": "/proc/none"}),
    ],
)
def test_a_verb_works_where_nothing_can_be_kept(
    command: tuple[str, ...], environment: dict[str, str]
) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        env=os.environ | {"OV_EMOTIONS_CACHE": ""} | environment,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stderr.decode()
    assert "Traceback" not in told
    assert told.count("are not kept") <= 1
    assert len(told.splitlines()) <= 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_a_verb_in_order(closed: str) -> None:
    command = ["/bin/sh", "-c", f"{shlex.join(CLASSIFY)} {closed}"]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode in (0, 1)
    assert b"Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("after", [0.05, 0.2])
def test_ctrl_c_of_the_first_moments_is_quiet(after: float) -> None:
    process = subprocess.Popen(CLASSIFY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT)
    # Before our first line it is the interpreter's own business.
    if b"__main__.py" in said or b"Traceback" not in said:
        assert b"Traceback" not in said
        assert process.returncode in (0, 130, -signal.SIGINT)
