from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ov_emotions.cli import classify
from ov_emotions.cli.main import main
from ov_emotions.errors import BundleNotFoundError
from ov_emotions.labels import EKMAN
from ov_emotions.prediction import Prediction
from ov_emotions.texts import ReadSettings, Row, open_table
from ov_emotions.texts.writing import WRITTEN

LABELS = ("joy", "sadness", "neutral")


class FakeClassifier:
    """Finds joy where a text has a closing bracket, and nothing elsewhere."""

    def __init__(self) -> None:
        self.labels = LABELS
        self.label_names_ru = {label: EKMAN.russian[label] for label in LABELS}
        self.chunks: list[int] = []

    def predict(self, text: str) -> Prediction:
        joy = 0.93 if ")" in text else 0.0 if not text.strip(" …") else 0.12
        scores = {"joy": joy, "sadness": joy / 2, "neutral": joy / 3}
        labels = ("joy",) if joy > 0.5 else ()
        return Prediction(labels=labels, scores=scores, truncated=len(text) > 500)

    def stream(self, texts: Iterable[str], *, chunk_size: int = 4) -> Iterator[Any]:
        self.chunks.append(chunk_size)
        iterator = iter(texts)
        while chunk := list(islice(iterator, chunk_size)):
            yield from map(self.predict, chunk)


@pytest.fixture
def fake(monkeypatch):
    classifier = FakeClassifier()
    monkeypatch.setattr(classify, "load_classifier", lambda _args: classifier)
    return classifier


@pytest.fixture
def never_loaded(monkeypatch):
    def load(_args: object) -> None:
        pytest.fail("the model was loaded before the arguments were checked")

    monkeypatch.setattr(classify, "load_classifier", load)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("fake")
def test_texts_as_arguments_are_a_line_each(capsys):
    assert main(["classify", "ура)", "всё пропало", "", "раз\nдва\t\x1b[31mтри\x00)"]) == 0
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["joy", "93%", "ура)"]
    assert second.startswith("— at most joy 12%")
    assert first.index("ура)") == second.index("всё пропало"), "texts stand in one column"
    assert third.startswith("— nothing to read")
    assert last.endswith("раз два �[31mтри�)"), "a text cannot command the terminal"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--russian"], "радость 93%"),
        (["--language", "ru"], "радость 93%"),
        (["--russian", "--json"], '"labels": ["joy"]'),
        (["--language", "ru", "--json"], '"labels": ["радость"], "scores": {"радость": 0.93'),
    ],
)
def test_labels_can_be_named_in_russian(capsys, flags, expected):
    assert main(["classify", *flags, "ура)"]) == 0
    assert expected in capsys.readouterr().out


@pytest.mark.usefixtures("fake")
def test_json_has_a_line_a_text_with_exactly_four_fields(capsys):
    assert main(["classify", "--json", "ура)", "а" * 501, "да \udcff)"]) == 0
    first, second, third = rows_of(capsys.readouterr().out)
    assert first == {
        "text": "ура)",
        "labels": ["joy"],
        "scores": {"joy": 0.93, "sadness": 0.465, "neutral": 0.31},
        "truncated": False,
    }
    assert list(first["scores"]) == ["joy", "sadness", "neutral"], "best first"
    assert (second["labels"], second["truncated"]) == ([], True)
    assert third["text"] == "да �)"


@pytest.mark.usefixtures("fake")
def test_colours_are_for_terminals_only_and_not_with_no_color(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown: dict[str, str] = {}
    for name, kind in (("terminal", Terminal), ("file", io.StringIO), ("no colour", Terminal)):
        if name == "no colour":
            monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.stdout", kind())
        assert main(["classify", "ура) " * 40]) == 0
        shown[name] = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[33mjoy 93%\x1b[0m" in shown["terminal"]
    assert "\x1b" not in shown["file"] + shown["no colour"]
    assert len(shown["no colour"].rstrip("\n")) == 60, "a terminal's line is cut to its width"
    assert shown["file"].count("ура)") == 40, "elsewhere the text is whole"


@pytest.mark.parametrize("flags", [[], ["-i", "-"]])
def test_standard_input_is_a_text_a_line(fake, monkeypatch, capsys, flags):
    lines = [f"текст {i})" for i in range(11)]
    give_stdin(monkeypatch, ("\ufeff" + "\r\n".join(lines)).encode())
    assert main(["classify", "--json", *flags]) == 0
    assert [row["text"] for row in rows_of(capsys.readouterr().out)] == lines
    assert fake.chunks == [4]
    give_stdin(monkeypatch, b"")
    assert main(["classify", *flags]) == 0
    captured = capsys.readouterr()
    assert (captured.out, "no texts" in captured.err) == ("", True)


@pytest.mark.usefixtures("fake")
def test_bad_rows_are_named_by_file_and_number_and_the_rest_is_done(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text("id,body\n1,раз)\n2,\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"body": "два"}\n{"body": null}\n', encoding="utf-8")
    files = [str(tmp_path / name) for name in ("a.csv", "b.jsonl")]
    give_stdin(monkeypatch, "три\n\n".encode() + b"\xff\n")
    flags = ["--json", "-i", *files, "-i", "-", "--text-column", "BODY"]
    assert main(["classify", *flags]) == 1
    captured = capsys.readouterr()
    assert [row["text"] for row in rows_of(captured.out)] == ["раз)", "два", "три"]
    assert captured.err.splitlines() == [
        f"{files[0]}: row 2: the text is empty",
        f"{files[1]}: row 2: the text is missing",
        "standard input: row 2: the text is empty",
        "standard input: row 3: the line is not UTF-8: byte 0xff at 1",
        "4 of 7 rows were left out",
    ]


OFFICE = "Номер;Текст \r\n-1;ура)\r\n2;=1+1\r\n+7;+7 912)\r\n".encode("cp1251")
TABLE = {
    "Номер": ["-1", "2", "+7"],
    "Текст ": ["ура)", "=1+1", "+7 912)"],
    "labels": ["joy", "", "joy"],
    "joy": [0.93, 0.12, 0.93],
    "truncated": ["false"] * 3,
}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("kind", "piped"),
    [*((kind, False) for kind in WRITTEN), ("csv", True), ("xlsx", True)],
)
def test_a_table_has_all_columns_of_the_input_and_ours(tmp_path, capfd, kind, piped):
    source, output = tmp_path / "a.csv", tmp_path / f"b.{kind}"
    source.write_bytes(OFFICE)
    if piped:
        command = fake_command("-i", "-", "--format", "csv", "-o", "-", "--output-format", kind)
        done = subprocess.run(command, input=OFFICE, capture_output=True, check=True)
        output.write_bytes(done.stdout)
        told = done.stderr.decode()
    else:
        assert main(["classify", "-i", str(source), "-o", str(output)]) == 0
        told = capfd.readouterr().err
    assert "Windows-1251" in told
    found = {name: [row.cells.get(name) for row in table(output)] for name in TABLE}
    found["Текст "] = [row.text for row in table(output)]
    expected: dict[str, list[Any]] = dict(TABLE)
    if kind in ("csv", "tsv"):
        expected |= {"joy": ["0.93", "0.12", "0.93"], "Текст ": ["ура)", "'=1+1", "'+7 912)"]}
    elif kind in ("jsonl", "parquet"):
        found["joy"] = [round(row.cells["scores"]["joy"], 6) for row in table(output)]
        expected |= {"labels": [["joy"], [], ["joy"]], "truncated": [False] * 3}
    else:
        expected["labels"] = ["joy", None, "joy"]
    assert found == expected
    if kind == "csv":
        assert output.read_bytes().startswith("\ufeffНомер;Текст ;labels;joy".encode())


def table(path: Path) -> list[Row]:
    rows = open_table(path, ReadSettings("Текст")).rows()
    return [row for row in rows if isinstance(row, Row)]


@pytest.mark.usefixtures("fake")
def test_columns_of_several_files_stand_side_by_side_in_russian(tmp_path):
    (tmp_path / "a.csv").write_text("text,a\nура),1\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"b": [2], "Text": "увы"}\n', encoding="utf-8")
    (tmp_path / "c.txt").write_text("да)\n", encoding="utf-8")
    files = [str(tmp_path / name) for name in ("a.csv", "b.jsonl", "c.txt")]
    output = tmp_path / "out.csv"
    assert main(["classify", "-i", *files, "-o", str(output), "--language", "ru"]) == 0
    assert output.read_text(encoding="utf-8").splitlines() == [
        "text,a,b,source_file,labels,радость,грусть,нейтрально,truncated",
        f"ура),1,,{files[0]},радость,0.93,0.465,0.31,false",
        f"увы,,[2],{files[1]},,0.12,0.06,0.04,false",
        f"да),,,{files[2]},радость,0.93,0.465,0.31,false",
    ]


@pytest.mark.usefixtures("fake")
def test_a_column_of_ours_that_is_taken_asks_for_a_prefix(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("text,labels\nура),x\n", encoding="utf-8")
    flags = ["classify", "-i", str(tmp_path / "a.csv"), "-o", str(tmp_path / "b.csv")]
    assert main(flags) == 1
    assert "has a column 'labels' already; --prefix" in capsys.readouterr().err
    assert main([*flags, "--prefix", "our_"]) == 0
    assert "text,labels,our_labels,our_joy" in (tmp_path / "b.csv").read_text(encoding="utf-8")


@pytest.mark.usefixtures("fake")
def test_the_name_of_a_file_as_a_text_is_hinted_at(capsys):
    assert main(["classify", "calls.csv", "ура)"]) == 0
    assert capsys.readouterr().err == (
        "'calls.csv' is classified as a text; `-i calls.csv` reads the file\n"
    )


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "does not exist"),
        ("a.csv", b"id,body\n1,x\n", "has no column 'text'"),
        ("a.docx", b"x", "no known format"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_before_any_work(
    tmp_path, capsys, name, content, message
):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "good.txt").write_text("раз\n", encoding="utf-8")
    output = tmp_path / "out.jsonl"
    files = [str(tmp_path / "good.txt"), str(path)]
    assert main(["classify", "--json", "-o", str(output), "-i", *files]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"ov-emotions: error: {path}")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not output.exists()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("name", ["out.jsonl", "n" * 249 + ".jsonl", "ы" * 124 + ".jsonl"])
def test_the_output_file_holds_what_standard_output_would(tmp_path, capsys, name):
    output = tmp_path / "new" / name
    assert main(["classify", "--json", "-o", str(output), "ура)"]) == 0
    assert capsys.readouterr().out == ""
    assert rows_of(output.read_text(encoding="utf-8"))[0]["text"] == "ура)"
    assert [p.name for p in output.parent.iterdir()] == [name]


@pytest.mark.usefixtures("fake")
def test_a_file_can_be_its_own_output_and_a_link_stays_a_link(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text\nура)\n", encoding="utf-8")
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    assert main(["classify", "-i", str(path), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8").startswith("text,labels,joy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("name", ["pipe", "pipe.csv", "pipe.xlsx", "pipe.parquet"])
def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path, name):
    assert main(["classify", "-o", "/dev/null", "ура)"]) == 0
    assert Path("/dev/null").is_char_device()
    path, found = tmp_path / name, []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    reader.start()
    assert main(["classify", "-o", str(path), "ура)"]) == 0
    reader.join(10)
    assert path.is_fifo()
    beginning = {"pipe": b"joy", "pipe.csv": b"text,", "pipe.xlsx": b"PK"}.get(name, b"PAR1")
    assert found[0].startswith(beginning)


@pytest.mark.usefixtures("never_loaded")
def test_an_unwritable_output_is_one_sentence_before_any_work(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for output in (tmp_path, tmp_path / "file" / "out.txt", tmp_path / ("n" * 300)):
        assert main(["classify", "-o", str(output), "ура)"]) == 1
        message = capsys.readouterr().err
        assert message.startswith(f"ov-emotions: error: {output}")
        assert message.count("\n") == 1
    # Root may write anywhere, so the question is answered for it.
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    assert main(["classify", "-o", str(tmp_path / "file"), "ура)"]) == 1
    assert "cannot be written: no permission" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_flags_reach_the_classifier(monkeypatch):
    module = pytest.importorskip("ov_emotions.classifier")
    given: dict[str, Any] = {}

    def build(model: object, **options: object) -> FakeClassifier:
        given.update(options, model=model)
        return FakeClassifier()

    monkeypatch.setattr(module, "EmotionClassifier", build)
    flags = "--model m --threads 3 --precision bf16 --device AUTO --long-texts truncate"
    thresholds = "--threshold joy=0.4 --threshold sadness=0.2"
    assert main(["classify", *flags.split(), *thresholds.split(), "текст"]) == 0
    assert given == {
        "model": "m",
        "threads": 3,
        "precision": "bf16",
        "device": "AUTO",
        "long_texts": "truncate",
        "thresholds": {"joy": 0.4, "sadness": 0.2},
        "profile": None,
        "cache_dir": None,
    }


def test_an_error_on_the_way_leaves_the_old_output(fake, tmp_path, monkeypatch):
    def break_off(_texts: object) -> Iterator[Any]:
        yield fake.predict("ура)")
        raise BundleNotFoundError("gone")

    def stream(texts: Iterable[str], **_: object) -> Iterator[Any]:
        next(iter(texts))
        return break_off(texts)

    monkeypatch.setattr(fake, "stream", stream)
    output = tmp_path / "out.txt"
    output.write_text("before", encoding="utf-8")
    assert main(["classify", "-o", str(output), "ура)", "два"]) == 1
    assert output.read_text(encoding="utf-8") == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_memory_is_bounded_by_the_chunk(fake, tmp_path, monkeypatch):
    waiting = longest = 0
    rows, write = classify._Input.rows, classify.JsonWriter.write

    def read(*args: Any) -> Iterator[Any]:
        nonlocal waiting, longest
        for row in rows(*args):
            waiting += 1
            longest = max(longest, waiting)
            yield row

    def count(*args: Any) -> None:
        nonlocal waiting
        waiting -= 1
        write(*args)

    monkeypatch.setattr(classify._Input, "rows", read)
    monkeypatch.setattr(classify.JsonWriter, "write", count)
    path = tmp_path / "a.txt"
    path.write_text("ура)\n" * 5000, encoding="utf-8")
    flags = ["--json", "--chunk-size", "16", "-i", str(path), "-o", str(tmp_path / "out")]
    assert main(["classify", *flags]) == 0
    assert (fake.chunks, longest) == ([16], 16)


SLOW = textwrap.dedent(
    """
    import signal, sys, time
    # A process started in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, sys.argv.pop(1))
    from test_cli_classify import FakeClassifier
    from ov_emotions.cli import classify
    from ov_emotions.cli.main import main

    class Slow(FakeClassifier):
        def predict(self, text):
            print("begun", file=sys.stderr, flush=True)
            time.sleep(0.05)
            return super().predict(text)

    kind = FakeClassifier if "--quick" in sys.argv else Slow
    classify.load_classifier = lambda args: kind()
    sys.argv = [argument for argument in sys.argv if argument != "--quick"]
    raise SystemExit(main(sys.argv[1:]))
    """
)


def slow_command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", SLOW, str(Path(__file__).parent), "classify", *arguments]


def fake_command(*arguments: str) -> list[str]:
    return slow_command("--quick", *arguments)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("signal_name", "code", "name"),
    [
        ("SIGINT", 130, "out.jsonl"),
        ("SIGTERM", 143, "out.xlsx"),
        ("SIGKILL", -9, "out.csv"),
        ("SIGKILL", -9, "out.xlsx"),
    ],
)
def test_a_killed_run_leaves_no_half_output(tmp_path, signal_name, code, name):
    source = tmp_path / "a.txt"
    source.write_text("ура)\n" * 1000, encoding="utf-8")
    output = tmp_path / name
    command = slow_command("-i", str(source), "-o", str(output))
    (tmp_path / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(getattr(signal, signal_name))
        rest = process.stderr.read()
        assert process.wait(20) == code
    assert not output.exists()
    assert "Traceback" not in rest
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == ["a.txt"], "no temporary file is left either"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_reader_that_goes_away_is_no_error_message(tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("ура)\n" * 1000, encoding="utf-8")
    command = slow_command("--chunk-size", "1", "-i", str(source))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("joy"), "a result comes out before the end"
        process.stdout.close()
        assert set(process.stderr.read().split()) == {"begun"}
        assert process.wait(20) == 141


def test_a_line_of_a_slow_pipe_is_answered_before_the_next_comes():
    with subprocess.Popen(
        slow_command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("раз)", "два)"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(f"{text}\n")
        process.stdin.close()
        assert process.wait(20) == 0
