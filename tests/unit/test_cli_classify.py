from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
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
        return Prediction(
            labels=("joy",) if joy > 0.5 else (), scores=scores, truncated=len(text) > 500
        )

    def stream(self, texts: Iterable[str], *, chunk_size: int = 4) -> Iterator[Any]:
        self.chunks.append(chunk_size)
        iterator = iter(texts)
        while chunk := list(islice(iterator, chunk_size)):
            yield from map(self.predict, chunk)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClassifier:
    classifier = FakeClassifier()
    monkeypatch.setattr(classify, "load_classifier", lambda _args: classifier)
    return classifier


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_texts_as_arguments_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "ура)", "всё пропало"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["joy", "93%", "ура)"]
    assert second.startswith("— at most joy 12%")
    assert first.index("ура)") == second.index("всё пропало"), "texts stand in one column"


@pytest.mark.usefixtures("fake")
def test_labels_can_be_named_in_russian(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--russian", "ура)"]) == 0
    assert capsys.readouterr().out.split() == ["радость", "93%", "ура)"]


@pytest.mark.usefixtures("fake")
def test_json_has_a_line_a_text_with_exactly_four_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["classify", "--json", "ура)", "а" * 501]) == 0
    first, second = rows_of(capsys.readouterr().out)
    assert first == {
        "text": "ура)",
        "labels": ["joy"],
        "scores": {"joy": 0.93, "sadness": 0.465, "neutral": 0.31},
        "truncated": False,
    }
    assert list(first["scores"]) == ["joy", "sadness", "neutral"], "best first"
    assert (second["labels"], second["truncated"]) == ([], True)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("text", ["", "   ", "…"])
def test_a_text_with_nothing_to_read_is_said_to_be_one(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert main(["classify", text]) == 0
    assert capsys.readouterr().out.startswith("— nothing to read")


@pytest.mark.usefixtures("fake")
def test_a_text_cannot_break_the_line_or_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["classify", "раз\nдва\t\x1b[31mтри\x00)"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("раз два �[31mтри�)")


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_half_a_surrogate_pair_is_written_as_a_replacement(
    capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert main(["classify", *flags, "да \udcff)"]) == 0
    assert "да �)" in capsys.readouterr().out


@pytest.mark.usefixtures("fake")
def test_colours_are_for_terminals_only_and_not_with_no_color(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_standard_input_is_a_text_a_line(
    fake: FakeClassifier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"текст {i})" for i in range(11)]
    give_stdin(monkeypatch, ("\ufeff" + "\r\n".join(lines)).encode())
    assert main(["classify", "--json"]) == 0
    assert [row["text"] for row in rows_of(capsys.readouterr().out)] == lines
    assert fake.chunks == [4]


@pytest.mark.usefixtures("fake")
def test_empty_standard_input_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give_stdin(monkeypatch, b"")
    assert main(["classify"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no texts" in captured.err


@pytest.mark.usefixtures("fake")
def test_bad_rows_are_named_by_number_and_the_rest_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give_stdin(monkeypatch, "раз)\n\n".encode() + b"\xff\n" + "четыре)\n".encode())
    assert main(["classify", "--json"]) == 1
    captured = capsys.readouterr()
    assert [row["text"] for row in rows_of(captured.out)] == ["раз)", "четыре)"]
    assert captured.err.splitlines() == [
        "standard input: row 2: the text is empty",
        "standard input: row 3: the line is not UTF-8: byte 0xff at 1",
        "2 of 4 rows were left out",
    ]


@pytest.mark.usefixtures("fake")
def test_several_files_are_read_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("id,body\n1,раз)\n2,\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"body": "два"}\n{"body": null}\n', encoding="utf-8")
    (tmp_path / "c.txt").write_text("три\n", encoding="utf-8")
    files = [str(tmp_path / name) for name in ("a.csv", "b.jsonl", "c.txt")]
    code = main(["classify", "--json", "-i", *files[:2], "-i", files[2], "--text-column", "body"])
    captured = capsys.readouterr()
    assert code == 1
    assert [row["text"] for row in rows_of(captured.out)] == ["раз)", "два", "три"]
    assert f"{files[0]}: row 2: the text is empty" in captured.err
    assert f"{files[1]}: row 2: the text is missing" in captured.err


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "does not exist"),
        ("folder.txt", "folder", "is a folder"),
        ("a.csv", b"id,body\n1,x\n", "has no column 'text'"),
        ("a.docx", b"x", "no known format"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_before_any_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | str | None,
    message: str,
) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
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
def test_the_output_file_holds_what_standard_output_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "out.jsonl"
    assert main(["classify", "--json", "-o", str(output), "ура)"]) == 0
    assert capsys.readouterr().out == ""
    assert rows_of(output.read_text(encoding="utf-8"))[0]["text"] == "ура)"
    assert [p.name for p in output.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.usefixtures("fake")
def test_a_file_can_be_its_own_output_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("ура)\n", encoding="utf-8")
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    assert main(["classify", "--json", "-i", str(path), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert rows_of(path.read_text(encoding="utf-8"))[0]["text"] == "ура)"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
@pytest.mark.usefixtures("fake")
def test_a_device_is_written_to_and_not_replaced() -> None:
    assert main(["classify", "-o", "/dev/null", "ура)"]) == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.usefixtures("never_loaded")
def test_an_unwritable_output_is_one_sentence_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for output in (tmp_path, tmp_path / "file" / "out.txt", tmp_path / ("n" * 300)):
        assert main(["classify", "-o", str(output), "ура)"]) == 1
        message = capsys.readouterr().err
        assert message.startswith(f"ov-emotions: error: {output}")
        assert message.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("never_loaded")
def test_an_output_file_without_permission_to_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.txt"
    output.write_text("before", encoding="utf-8")
    # Root may write anywhere, so the question is answered for it.
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    assert main(["classify", "-o", str(output), "ура)"]) == 1
    assert "cannot be written: no permission" in capsys.readouterr().err
    assert output.read_text(encoding="utf-8") == "before"


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--threshold", "joy", "текст"],
        ["--threshold", "joy=many", "текст"],
        ["--threshold", "=0.5", "текст"],
        ["--threads", "0", "текст"],
        ["--chunk-size", "-1", "текст"],
        ["--precision", "int8", "текст"],
        ["--long-texts", "cut", "текст"],
        ["текст", "--input", "a.txt"],
        ["--no-such-flag", "текст"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["classify", *arguments])
    assert exit_info.value.code == 2
    assert "usage: ov-emotions" in capsys.readouterr().err


def test_the_flags_reach_the_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_model_that_does_not_exist_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "out.txt"
    code = main(["classify", "-m", str(tmp_path / "none"), "-o", str(output), "текст"])
    message = capsys.readouterr().err
    assert code == 1
    assert message.startswith("ov-emotions: error: ")
    assert (message.count("\n"), "Traceback" in message) == (1, False)
    assert not output.exists()


def test_an_error_on_the_way_leaves_the_old_output(
    fake: FakeClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_memory_is_bounded_by_the_chunk(
    fake: FakeClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = longest = 0
    rows, write = classify._Input.rows, classify.JsonWriter.write

    def read(self: Any, added: Any) -> Iterator[Any]:
        nonlocal waiting, longest
        for row in rows(self, added):
            waiting += 1
            longest = max(longest, waiting)
            yield row

    def count(self: Any, text: str, prediction: Any) -> None:
        nonlocal waiting
        waiting -= 1
        write(self, text, prediction)

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

    classify.load_classifier = lambda args: Slow()
    raise SystemExit(main(sys.argv[1:]))
    """
)


def slow_command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", SLOW, str(Path(__file__).parent), "classify", *arguments]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)]
)
def test_a_killed_run_leaves_no_half_output(tmp_path: Path, signal_name: str, code: int) -> None:
    source = tmp_path / "a.txt"
    source.write_text("ура)\n" * 1000, encoding="utf-8")
    output = tmp_path / "out.jsonl"
    command = slow_command("--json", "-i", str(source), "-o", str(output))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(getattr(signal, signal_name))
        rest = process.stderr.read()
        assert process.wait(20) == code
    assert not output.exists()
    assert "Traceback" not in rest
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"], "no temporary file is left either"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_reader_that_goes_away_is_no_error_message(tmp_path: Path) -> None:
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


def test_a_line_of_a_slow_pipe_is_answered_before_the_next_comes() -> None:
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
