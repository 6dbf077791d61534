"""A local Ray, two actors, and kills: of an actor, and of the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow", exc_type=ImportError)

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cluster.kills import command, interrupt, kill_an_actor, kill_driver, parts_done
from ov_emotions.cluster.output import SCRATCH_PREFIX, SUCCESS_NAME, take_output
from ov_emotions.cluster.plan import make_plan, resolve_settings
from ov_emotions.cluster.worker import PartWorker

MODEL = "emotions-ru-tiny"
ROWS, PART_ROWS = 2000, 60
WORDS = ("ура", "мне страшно", "как же я устал", "ненавижу", "сижу дома", "вот это да", "фу")
LIMIT = 120.0


def _text(number: int) -> str | None:
    first, second = WORDS[number % len(WORDS)], WORDS[number // len(WORDS) % len(WORDS)]
    return None if number % 97 == 5 else f"{first} {second} {number}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    texts = [_text(number) for number in range(ROWS)]
    pq.write_table(pa.table({"id": range(ROWS), "text": texts}), folder / "a.parquet")
    lines = [json.dumps({"id": ROWS + i, "text": text}) + "\n" for i, text in enumerate(texts)]
    (folder / "b.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes without Ray."""
    target = tmp_path_factory.mktemp("alone") / "out"
    plan = make_plan(source, resolve_settings(MODEL, part_rows=PART_ROWS))
    with pytest.MonkeyPatch.context() as patch:
        # An actor has a process of its own; this one has other tests to run.
        patch.setattr("ov_emotions.cluster.worker.pin_threads", lambda _threads: ())
        with take_output(target, source, restart=False) as output:
            worker = PartWorker(plan, output, threads=1)
            assert not [outcome.error for outcome in map(worker.do, plan.parts) if outcome.error]
    return _content(target)


@pytest.fixture
def ray_installed() -> None:
    pytest.importorskip("ray.data", reason="classify-many needs Ray Data", exc_type=ImportError)


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    before = set(Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*"))
    yield
    assert set(Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*")) <= before


def _content(target: Path) -> dict[str, bytes]:
    parts = [*target.glob("part-*"), *target.glob("_bad/*")]
    return {str(path.relative_to(target)): path.read_bytes() for path in parts}


def _words(source: Path, target: Path) -> list[str]:
    options = ("--model", MODEL, "--part-rows", PART_ROWS, "--actors", 2, "--json")
    return command(source, target, *options)


def _ids(target: Path) -> list[int]:
    parquet = [pq.read_table(path)["id"].to_pylist() for path in target.glob("part-*.parquet")]
    lines = [path.read_text("utf-8").splitlines() for path in target.glob("part-*.jsonl")]
    return sorted(
        [*(i for ids in parquet for i in ids), *(json.loads(row)["id"] for f in lines for row in f)]
    )


@pytest.mark.usefixtures("ray_installed")
def test_a_run_that_is_terminated_and_killed_goes_on_without_an_actor_and_ends_as_an_unbroken_one(
    source, expected, tmp_path
):
    target = tmp_path / "out"
    words = _words(source, target)
    terminated = interrupt(
        words, lambda: parts_done(target) >= 3, lambda pid: os.kill(pid, signal.SIGTERM), LIMIT
    )
    # Progress is told before it in a log.
    assert (terminated[0], terminated[1].splitlines()[-1]) == (143, "ov-emotions: terminated")
    assert not list(target.glob("_work.*"))
    before = parts_done(target)
    assert interrupt(words, lambda: parts_done(target) > before, kill_driver, LIMIT)[0] == -9
    assert list(target.glob("_work.*"))
    before = parts_done(target)
    assert before < len(expected)
    assert not (target / SUCCESS_NAME).exists()
    code, error = interrupt(words, lambda: parts_done(target) > before, kill_an_actor, LIMIT)
    # Rows were set aside, which is told in one line and by the exit code; Ray says nothing.
    *progress, last = error.splitlines()
    assert code == 1, error
    assert "rows were set aside" in last
    assert all(" of 4,000 rows, " in line for line in progress)  # a line every half minute
    summary = json.loads((target / SUCCESS_NAME).read_text("utf-8"))
    # The rest may be done before another actor stands in for the killed one.
    assert summary["processes"] in (2, 3)
    assert summary["parts_before"] >= before
    assert _content(target) == expected
    good = [n for n in range(2 * ROWS) if _text(n % ROWS) is not None]
    assert _ids(target) == good
    assert (summary["rows_out"], summary["rows_bad"]) == (len(good), 2 * ROWS - len(good))
    assert not list(target.glob("_work.*"))
    # Once more: nothing is left to do, and Ray is not started for it.
    again = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert json.loads(again.stdout)["rows_per_second"] is None
    assert _content(target) == expected


def test_without_ray_one_sentence_names_the_extra(source, tmp_path):
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "from ov_emotions.cli.main import main\n"
        "sys.exit(main(['classify-many', *sys.argv[1:]]))"
    )
    words = [sys.executable, "-c", program, str(source), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 1
    assert "pip install 'ov-emotions[cluster]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "out").iterdir())
