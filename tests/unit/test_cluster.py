"""Plan, resume and sink of bulk classification, without Ray."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow", exc_type=ImportError)

import pyarrow as pa
import pyarrow.parquet as pq

from ov_emotions.cluster.output import PLAN_NAME, SUCCESS_NAME, Output, take_output
from ov_emotions.cluster.plan import Plan, Settings, differences, make_plan, resolve_settings
from ov_emotions.cluster.run import classify_many
from ov_emotions.cluster.worker import Outcome, PartWorker
from ov_emotions.errors import DataError, InputError
from ov_emotions.schema import write_json
from ov_emotions.texts import open_table


@pytest.fixture(autouse=True)
def not_pinned(monkeypatch):
    monkeypatch.setattr("ov_emotions.cluster.worker.pin_threads", lambda _threads: ())


@pytest.fixture
def settings(tiny_bundle):
    return resolve_settings(str(tiny_bundle.folder), part_rows=3)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def _do(source: Path, target: Path, settings: Settings) -> tuple[Plan, list[Outcome]]:
    plan = make_plan(source, settings)
    with take_output(target, source, restart=False) as output:
        worker = PartWorker(plan, output, threads=1)
        return plan, [worker.do(part) for part in plan.parts]


def _bad(target: Path) -> list[tuple[str, int]]:
    return [(row["file"], row["row"]) for row in _objects(target, "_bad/*")]


def _objects(target: Path, pattern: str) -> list[dict[str, Any]]:
    texts = [path.read_text("utf-8") for path in sorted(target.glob(pattern))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_csv_is_cut_between_rows_and_numbered_as_a_whole(source, tmp_path, settings):
    rows = ['1,"радость,\nдве строки"', "2,", "", "3,радость", "4", "5,злость", "6,рад", "7,NaN"]
    (source / "a.csv").write_bytes("\ufeffid,text\n".encode() + "\r\n".join(rows).encode())
    plan, outcomes = _do(source, tmp_path / "out", settings)
    assert [(part.start.row, part.rows) for part in plan.parts] == [(0, 3), (3, 3), (6, 1)]
    assert [outcome.bad for outcome in outcomes] == [1, 1, 1]
    found = []
    for path in sorted((tmp_path / "out").glob("part-*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    assert [row["id"] for row in found] == ["1", "3", "5", "6"]
    assert found[0]["text"] == "радость,\nдве строки"
    assert [row["labels"] for row in found[1:3]] == ["joy", "anger"]
    assert set(json.loads(found[1]["scores"])) == {"anger", "joy", "neutral"}
    assert found[1]["truncated"] == "false"
    assert _bad(tmp_path / "out") == [("a.csv", 2), ("a.csv", 4), ("a.csv", 7)]


def test_a_broken_row_of_csv_is_told_by_its_lines_in_the_whole_file(source, tmp_path, settings):
    lines = ["text", "рад", "рад", "рад", '"a"b', "рад"]
    (source / "a.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _do(source, tmp_path / "out", settings)
    (row,) = _objects(tmp_path / "out", "_bad/*")
    assert row["row"] == 4
    assert "(line 5)" in row["reason"]


def test_jsonl_keeps_every_field_and_halves_of_surrogate_pairs(
    source, tmp_path, settings, monkeypatch
):
    # A field of our name is refused where the beginning shows it, and set aside behind that.
    monkeypatch.setattr("ov_emotions.texts.lines.SAMPLE", 2)
    rows = [
        {"text": "радость", "deep": {"a": [1, None]}},
        {"text": "рад \ud83d", "n": 10**30},
        {"text": 5},
        {"text": "злость", "labels": "own"},
        {"text": "злость", "x": 1e-300},
    ]
    lines = [json.dumps(row) for row in rows]
    lines[1:1] = ["", "{"]
    (source / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _do(source, tmp_path / "out", replace(settings, part_rows=2))
    found = _objects(tmp_path / "out", "part-*")
    assert [{k: v for k, v in row.items() if k in {"text", "deep", "n", "x"}} for row in found] == [
        rows[0],
        rows[1],
        rows[4],
    ]
    assert found[0]["labels"] == ["joy"]
    # Rows of .jsonl are numbered by line.
    assert _bad(tmp_path / "out") == [("a.jsonl", 3), ("a.jsonl", 5), ("a.jsonl", 6)]


@pytest.mark.parametrize("group", [2, 5, 100])
def test_parquet_keeps_types_and_metadata_whatever_its_row_groups(
    source, tmp_path, settings, group
):
    texts = ["радость", None, "злость", " ", "рад", "рад", "злость", "радость"]
    schema = pa.schema(
        [("text", pa.string()), ("at", pa.timestamp("us", "UTC")), ("tags", pa.list_(pa.int8()))],
        metadata={"made": "by hand"},
    )
    table = pa.table([texts, list(range(8)), [[i] for i in range(8)]], schema=schema)
    pq.write_table(table, source / "a.parquet", row_group_size=group)
    plan, outcomes = _do(source, tmp_path / "out", settings)
    assert [outcome.error for outcome in outcomes] == ["", "", ""]
    parts = [pq.read_table(tmp_path / "out" / part.name) for part in plan.parts]
    found = pa.concat_tables(parts)
    usable = pa.array([text is not None and bool(text.strip()) for text in texts])
    # The original's metadata, and the columns as they were.
    read = pq.read_table(source / "a.parquet")
    assert found.select(schema.names).equals(read.filter(usable))
    assert found.schema.metadata[b"made"] == b"by hand"
    assert found["labels"].to_pylist()[:2] == [["joy"], ["anger"]]
    assert found["scores"].type.num_fields == 3
    assert _bad(tmp_path / "out") == [("a.parquet", 2), ("a.parquet", 4)]


def test_it_takes_what_classify_takes_and_names_the_file_of_each_row(source, tmp_path, settings):
    openpyxl = pytest.importorskip("openpyxl", reason="needs the excel extra")
    book = openpyxl.Workbook()
    for row in (["Текст", "n"], ["радость", 1], ["=злость", 2]):
        book.active.append(row)
    book.active["A3"].data_type = "s"
    book.save(source / "a.xlsx")
    (source / "b.csv").write_bytes("id;ТЕКСТ\r\n1;радость, злость\r\n-x;рад\r\n".encode("cp1251"))
    (source / "c.txt").write_text("радость\n\n", encoding="utf-16")
    (source / "deep").mkdir()
    srt = "1\n00:00:01,000 --> 00:00:02,000\nрадость\n"
    (source / "deep/d.srt").write_text(srt, encoding="utf-8")
    plan, outcomes = _do(source, tmp_path / "out", settings)
    assert [outcome.error for outcome in outcomes] == [""] * 4
    found = {}
    for part in plan.parts:
        rows = list(open_table(tmp_path / "out" / part.name).rows())
        found[part.path] = (part.name.rpartition(".")[2], [(r.text, dict(r.cells)) for r in rows])
    assert {path: kind for path, (kind, _) in found.items()} == {
        "a.xlsx": "xlsx",
        "b.csv": "csv",
        "c.txt": "jsonl",
        "deep/d.srt": "jsonl",
    }
    assert [text for text, _ in found["a.xlsx"][1]] == ["радость", "=злость"]
    assert [cells["id"] for _, cells in found["b.csv"][1]] == ["1", "'-x"]
    assert found["deep/d.srt"][1][0][1]["start"] == 1.0
    for path, (_, rows) in found.items():
        assert {cells["source_file"] for _, cells in rows} == {path}
    assert _bad(tmp_path / "out") == [("c.txt", 2)]


def test_a_compressed_file_is_one_part_and_written_plain(source, tmp_path, settings):
    with gzip.open(source / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": "радость"}) + "\n" for _ in range(8))
    plan, (outcome,) = _do(source, tmp_path / "out", settings)
    assert (outcome.rows, plan.parts[0].name) == (8, "part-000000.jsonl")
    assert len((tmp_path / "out/part-000000.jsonl").read_text("utf-8").splitlines()) == 8


def test_the_same_input_gives_the_same_plan_and_it_survives_json(source, tmp_path, settings):
    (source / "deep").mkdir()
    (source / "deep/b.csv").write_text("text\nрад\n", encoding="utf-8")
    (source / "a.jsonl").write_text('{"text": "рад"}\n' * 4, encoding="utf-8")
    (source / "_bad.jsonl").write_text("no input", encoding="utf-8")
    (source / "notes.md").write_text("no input", encoding="utf-8")
    plan = make_plan(source, settings)
    assert [file.path for file in plan.files] == ["a.jsonl", "deep/b.csv"]
    assert [part.rows for part in plan.parts] == [3, 1, 1]
    assert make_plan(source, settings) == plan
    path = tmp_path / "plan.json"
    write_json(path, plan)
    assert Plan.read(path) == plan
    for text in (path.read_text("utf-8")[:-20], '{"version": 1}', "{}"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="--restart"):
            Plan.read(path)


def test_a_plan_knows_what_has_changed(source, settings):
    for name in ("a.csv", "b.csv", "c.csv"):
        (source / name).write_text("text\nрад\n", encoding="utf-8")
    plan = make_plan(source, settings)
    # Touched and not changed: the content decides.
    os.utime(source / "a.csv", (1, 1))
    assert not list(differences(plan, source, settings))
    (source / "a.csv").write_text("text\nтак\n", encoding="utf-8")
    (source / "b.csv").unlink()
    (source / "d.csv").write_text("text\nрад\n", encoding="utf-8")
    changed = replace(settings, thresholds={**settings.thresholds, "joy": 0.1})
    found = list(differences(plan, source, changed))
    assert found[0].startswith("thresholds: ")
    assert found[1:] == ["a.csv has changed", "b.csv is gone", "d.csv is new"]


def _refuse_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ov_emotions.cluster.run.import_ray", lambda **_: None)
    monkeypatch.setattr("ov_emotions.cluster.run.ray_session", refuse)


def test_a_job_with_all_parts_done_needs_no_ray(source, tmp_path, settings, monkeypatch):
    (source / "a.csv").write_text("text\nрад\n\nNaN\nрад\nрад\n", encoding="utf-8")
    target = tmp_path / "out"
    plan, _ = _do(source, target, settings)
    write_json(target / PLAN_NAME, plan)
    _refuse_ray(monkeypatch)
    summary = classify_many(source, target, settings)
    assert (summary.rows_in, summary.rows_out, summary.rows_bad) == (4, 3, 1)
    assert summary.parts_before == summary.parts == 2
    assert json.loads((target / SUCCESS_NAME).read_text("utf-8"))["rows_out"] == 3


def test_other_options_are_refused_and_nothing_is_lost_unless_restart_is_asked_for(
    source, tmp_path, settings, monkeypatch
):
    (source / "a.csv").write_text("text\nрад\n", encoding="utf-8")
    target = tmp_path / "out"
    plan, _ = _do(source, target, settings)
    write_json(target / PLAN_NAME, plan)
    _refuse_ray(monkeypatch)
    other = replace(settings, long_texts="truncate")
    with pytest.raises(DataError, match=r"long_texts: 'window' then, 'truncate' now"):
        classify_many(source, target, other)
    assert (target / "part-000000.csv").is_file()
    with pytest.raises(AssertionError, match="Ray was started"):
        classify_many(source, target, other, restart=True)
    assert sorted(path.name for path in target.iterdir()) == [PLAN_NAME]


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("in/out", "lies in the input"),
        ("in", "lies in the input"),
        ("out", r"'letter\.txt' already"),
    ],
)
def test_output_among_other_files_is_refused_even_for_a_restart(source, tmp_path, where, reason):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/letter.txt").write_text("dear", encoding="utf-8")
    with (
        pytest.raises(DataError, match=reason),
        take_output(tmp_path / where, source, restart=True),
    ):
        pass
    assert (tmp_path / "out/letter.txt").is_file()


def test_two_runs_do_not_write_to_one_folder(source, tmp_path):
    program = (
        "import sys, pathlib\n"
        "from ov_emotions.cluster.output import take_output\n"
        "with take_output(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), restart=False):\n"
        "    print('mine', flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "out"), str(source)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with (
            pytest.raises(DataError, match="another classify-many"),
            take_output(tmp_path / "out", source, restart=False),
        ):
            pass
        other.kill()


def test_an_actor_that_outlived_its_run_commits_nothing(source, tmp_path, settings):
    (source / "a.csv").write_text("text\nрад\n", encoding="utf-8")
    target = tmp_path / "out"
    (part,) = make_plan(source, settings).parts
    orphan = Output(target, "0badcafe")
    orphan.work.mkdir(parents=True)
    written = orphan.temporary(part)
    written.write_text("text\nold\n", encoding="utf-8")
    with take_output(target, source, restart=False) as output:
        with pytest.raises(FileNotFoundError):
            orphan.commit(part, written, [])
        assert not output.is_done(part)
        assert not orphan.work.exists()


def test_a_part_that_kills_its_process_each_time_is_given_up(source, tmp_path, settings):
    (source / "a.csv").write_text("text\nрад\n", encoding="utf-8")
    plan = make_plan(source, settings)
    with take_output(tmp_path / "out", source, restart=False) as output:
        while output.begin(plan.parts[0]):
            pass
        outcome = PartWorker(plan, output, threads=1).do(plan.parts[0])
    assert outcome.error == "the process that classified rows 1 to 1 of a.csv died every time"
    assert not outcome.fatal


def test_a_part_done_by_a_process_that_died_before_its_answer_is_counted_once(
    source, tmp_path, settings
):
    (source / "a.csv").write_text("text,x\nрад,1\nNaN,2\n", encoding="utf-8")
    plan = make_plan(source, settings)
    with take_output(tmp_path / "out", source, restart=False) as output:
        worker = PartWorker(plan, output, threads=1)
        first, again = worker.do(plan.parts[0]), worker.do(plan.parts[0])
    assert (first.bad, again.bad) == (1, 1)


def test_a_file_that_shrank_after_the_plan_is_told_and_nothing_is_written(
    source, tmp_path, settings
):
    (source / "a.csv").write_text("text\nрад\nрад\n", encoding="utf-8")
    plan = make_plan(source, settings)
    (source / "a.csv").write_text("text\nрад\n", encoding="utf-8")
    with take_output(tmp_path / "out", source, restart=False) as output:
        outcome = PartWorker(plan, output, threads=1).do(plan.parts[0])
        assert "has changed since the plan was made" in outcome.error
        assert not output.is_done(plan.parts[0])
        assert not list(output.work.glob("*.csv"))


def test_another_model_under_the_same_name_stops_the_job(source, tmp_path, settings):
    (source / "a.csv").write_text("text\nрад\n", encoding="utf-8")
    _, (outcome,) = _do(source, tmp_path / "out", replace(settings, model_sha256="0" * 64))
    assert outcome.fatal
    assert "another model" in outcome.error


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "text,labels\nрад,joy\n", "'labels' already; --prefix"),
        ("a.csv", "words\nрад\n", "no column 'text'"),
        ("a.jsonl", '{"text": "рад", "scores": 1}\n', "'scores' already; --prefix"),
        ("a.parquet", "none", "not a readable Parquet file"),
        ("a.doc", "text", "holds no file"),
    ],
)
def test_input_that_cannot_be_answered_is_refused_before_any_work(
    source, settings, name, content, reason
):
    (source / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        make_plan(source, settings)


def test_a_prefix_makes_room_beside_columns_of_the_same_name(source, tmp_path, settings):
    (source / "a.jsonl").write_text('{"text": "радость", "labels": "own"}\n', encoding="utf-8")
    _do(source, tmp_path / "out", replace(settings, prefix="emotion_"))
    row = json.loads((tmp_path / "out/part-000000.jsonl").read_text("utf-8"))
    assert (row["labels"], row["emotion_labels"]) == ("own", ["joy"])


def test_wrong_options_are_input_errors(tiny_bundle):
    with pytest.raises(InputError, match="part_rows"):
        resolve_settings(str(tiny_bundle.folder), part_rows=0)
    with pytest.raises(InputError, match="thresholds name 'glee'"):
        resolve_settings(str(tiny_bundle.folder), thresholds={"glee": 0.5})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can pin threads")
def test_processes_share_the_processors_out_and_give_them_back():
    program = (
        "import os, sys\n"
        "from ov_emotions.cluster.worker import pin_threads\n"
        "print(*pin_threads(1), flush=True); sys.stdin.read()\n"
        "assert os.sched_getaffinity(0)"
    )
    start: Callable[[], subprocess.Popen[bytes]] = lambda: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    count = len(os.sched_getaffinity(0))
    shares = []
    processes = [start() for _ in range(count + 1)]
    for process in processes:
        assert process.stdout is not None
        shares.append(process.stdout.readline().split())
    taken = [share[0] for share in shares if share]
    # One process more than processors: no processor twice, and one process is not pinned.
    assert len(taken) == len(set(taken)) <= count
    assert [] in shares
    for process in processes:
        process.communicate(b"")
        assert process.returncode == 0
