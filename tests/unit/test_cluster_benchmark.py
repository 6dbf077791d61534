"""The benchmark's proof notices a row that is lost or doubled."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow", exc_type=ImportError)

from benchmarks.cluster.__main__ import README, for_readme
from benchmarks.cluster.rows import check_rows, write_rows
from benchmarks.common import load
from ov_emotions.cluster.output import take_output
from ov_emotions.cluster.plan import make_plan, resolve_settings
from ov_emotions.cluster.worker import PartWorker
from ov_emotions.errors import DataError

ROWS = 60


@pytest.fixture
def target(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr("benchmarks.cluster.rows._EMPTY_EVERY", 7)
    monkeypatch.setattr("ov_emotions.cluster.worker.pin_threads", lambda _threads: ())
    source, target = tmp_path / "in", tmp_path / "out"
    assert write_rows(source, ["рад", "злость", 'слово, "слово"'], ROWS) == 9
    plan = make_plan(source, resolve_settings(str(tiny_bundle.folder), part_rows=8))
    with take_output(target, source, restart=False) as output:
        assert not any(outcome.error for outcome in map(PartWorker(plan, output, 1).do, plan.parts))
    return target


def test_rows_that_are_all_there_pass(target):
    assert check_rows(target, ROWS) == {"rows": 51, "lost": 0, "doubled": 0, "set_aside": 9}


@pytest.mark.parametrize("extension", ["parquet", "csv", "jsonl"])
def test_a_lost_and_a_doubled_part_are_noticed(target, extension):
    part = min(target.glob(f"part-*.{extension}"))
    twin = part.with_name(f"part-999999.{extension}")
    twin.write_bytes(part.read_bytes())
    with pytest.raises(DataError, match=r"'doubled': [1-9]"):
        check_rows(target, ROWS)
    twin.unlink()
    part.unlink()
    with pytest.raises(DataError, match=r"'lost': [1-9]"):
        check_rows(target, ROWS)


def test_a_row_that_was_set_aside_and_is_not_listed_is_noticed(target):
    min(target.glob("_bad/*")).unlink()
    with pytest.raises(DataError, match=r"'set_aside': [0-8]"):
        check_rows(target, ROWS)


def test_the_readme_holds_the_table_of_the_committed_figures():
    answer = load("cluster.json")
    assert for_readme(answer) in README.read_text(encoding="utf-8")
    for name, run in answer["runs"].items():
        if name != "classify":
            assert run["checked"]["lost"] == run["checked"]["doubled"] == 0
