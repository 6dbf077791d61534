"""The page's functions: what they give for one text, many texts, dialogues and two models."""

from __future__ import annotations

import ast
import csv
import os
import re
import string
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo import jobs, page
from ov_emotions.demo.app import find_report
from ov_emotions.demo.dialogues import Dialogues, download
from ov_emotions.demo.jobs import InTurns, Job, Line, ResultStore, StoppedError, guarded, shielded
from ov_emotions.demo.models import Models
from ov_emotions.demo.tables import Tables, open_upload, unreadable
from ov_emotions.demo.text import (
    MAX_CHARACTERS,
    analyse,
    attribute,
)
from ov_emotions.demo.words import (
    TEXTS,
    escape,
    in_russian,
    stamp,
)
from ov_emotions.errors import DataError, DeviceError, InputError
from ov_emotions.texts import BadRow, open_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store():
    kept = ResultStore()
    yield kept
    kept.close()


@pytest.fixture
def tables(tiny_classifier: EmotionClassifier, store: ResultStore) -> Tables:
    return Tables(tiny_classifier, store)


def job() -> Job:
    return Job(Line())


def saved(store: ResultStore, markup: str, language: str = "en") -> Path:
    address = markup.split(f'lang="{language}" download href="results/')[1].split('"')[0]
    token, name = address.split("/")
    kept = store.find(token)
    assert kept is not None
    assert name in kept.names
    return kept.folder / name


def test_lines_become_a_table_and_a_file_of_every_good_row_in_both_languages(
    tables: Tables, store: ResultStore
):
    told = job()
    markup = tables.pasted("радость\n\n=злость,1", told)
    assert (told.done, told.total) == (3, 3)
    assert "Rows classified: 2" in markup
    assert "Row 2:" in markup
    with saved(store, markup).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["text"], rows[0]["labels"]) == ("радость", "joy")
    assert rows[1]["text"] == "'=злость,1", "a spreadsheet would run it"
    russian = saved(store, markup, "ru").read_text("utf-8-sig").splitlines()
    assert russian[0].startswith("text,эмоции,")


def test_a_workbook_comes_back_with_columns_added_and_is_deleted(
    tables: Tables, store: ResultStore, tmp_path: Path
):
    folder = tmp_path / "uploads" / "abc"
    folder.mkdir(parents=True)
    book = openpyxl.Workbook()
    for row in (["Дата", "Текст"], ["1 мая", "радость"], ["тишина", ""], ["2 мая", "злость"]):
        book.active.append(row)
    book.save(folder / "звонки.xlsx")
    markup = tables.uploaded(str(folder / "звонки.xlsx"), "", job())
    assert not folder.exists()
    path = saved(store, markup, "ru")
    rows = list(openpyxl.load_workbook(path).active.values)
    assert rows[0][:3] == ("Дата", "Текст", "эмоции")
    assert [row[:2] for row in rows[1:]] == [
        ("1 мая", "радость"), ("тишина", None), ("2 мая", "злость")
    ]  # fmt: skip
    assert not any(rows[2][2:]), "a row without a text comes back, without an answer"
    assert "Rows without an answer: 1" in markup
    kept = store.find(path.parent.name)
    assert kept is not None
    assert kept.names["table.ru.xlsx"] == "звонки.эмоции.xlsx"
    assert "no longer here" in tables.uploaded(str(folder / "звонки.xlsx"), "", job())


def test_a_file_whose_column_nobody_knows_stays_until_it_is_chosen(tables: Tables, tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\nрадость,злость\n", "utf-8")
    assert 'data-column="b"' in tables.uploaded(str(path), "", job())
    assert path.exists()
    assert "Rows classified: 1" in tables.uploaded(str(path), "b", job())
    assert not path.exists()


def test_two_rows_wait_for_a_chunk_of_a_file_and_not_for_its_end():
    line, order = Line(), list[str]()

    def work(name: str, chunks: int) -> None:
        mine = Job(line)
        for _ in range(chunks):
            with mine.turn():
                time.sleep(0.02)
                order.append(name)

    long = threading.Thread(target=work, args=("file", 20))
    long.start()
    time.sleep(0.05)
    work("rows", 1)
    assert order.count("file") < 10
    long.join()
    assert order.count("file") == 20


def test_who_waits_is_told_the_place_and_may_leave():
    line = Line()
    waiting = Job(line)

    def enter() -> None:
        with pytest.raises(StoppedError), waiting.turn():
            raise AssertionError("it was another's turn")

    with Job(line).turn():
        thread = threading.Thread(target=enter)
        thread.start()
        while not waiting.ahead:
            time.sleep(0.01)
        assert "Before you in the queue: 1" in waiting.markup()
        waiting.stop()
        thread.join(5)
        assert not thread.is_alive()
    with Job(line).turn():
        pass


def test_work_that_nobody_waits_for_ends(tiny_classifier: EmotionClassifier):
    ended = threading.Event()

    def work(one: Job) -> str:
        model = InTurns(tiny_classifier, one)
        try:
            for i in range(100_000):
                model(["радость"])
                one.tell(i, 100_000)
        finally:
            ended.set()
        return "never"

    steps = jobs.steps(work, Line())
    assert "progress" in next(steps)
    steps.close()
    assert ended.wait(5)


def test_the_client_is_chosen_by_a_click(tiny_classifier: EmotionClassifier, store: ResultStore):
    dialogues = Dialogues(tiny_classifier, store)
    text = "Анна: радость\nПётр: злость\nАнна: слово\nПётр: злость\n"
    markup = dialogues.pasted(text, job())
    assert stamp(text) in markup
    choice = next(part for part in markup.split('data-role="')[1:] if "client Пётр" in part)
    markup = dialogues.again(choice.split('"')[0], job())
    assert "data-role" not in markup
    token = markup.split('data-token="')[1].split('"')[0]
    kept = store.find(token)
    assert kept is not None
    for name, holds in (
        ("dialogues.csv", "Пётр"),
        ("dialogues.json", "client"),
        ("dialogues.ru.html", "<html"),
        ("en-dialogue-1", "злость"),
    ):
        part = download(kept.value, name)
        assert part is not None
        assert holds in part[0]
    for name in ("secret", "ru-dialogue-2", "xx-dialogue-1"):
        assert download(kept.value, name) is None
    assert "no longer here" in dialogues.again("x client Пётр", job())


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", "id,text\n1,да\n", "text"),
        ("a.csv", "Дата;Текст\n1;да\n", "Текст"),
        ("a.tsv", "utterance\nда\n", "utterance"),
        ("a.csv", "\ufeffid,said\n1,да\n", ("id", "said")),
        ("a.jsonl", '{"a": "да"}\n{"b": "нет"}\n', ("a", "b")),
        ("a.txt", "да\n", "text"),
    ],
)
def test_the_column_with_the_text_is_found_or_left_to_choose(
    tmp_path: Path, name: str, content: str, found: str | tuple[str, ...]
):
    (tmp_path / name).write_text(content, "utf-8")
    table = open_upload(tmp_path / name)
    assert found == (table if isinstance(table, tuple) else table.text)


@pytest.mark.parametrize(
    ("name", "content", "russian"),
    [
        ("a.png", b"\x89PNG", "такой формат не читается"),
        ("a.txt", bytes(range(128, 256)) * 9, "не в UTF-8"),
        ("a.xlsx", b"PK", "не читается как .xlsx"),
        ("a.parquet", b"PAR1", "не читается как Parquet"),
        ("a.csv", b"text,text\n1,2\n", "несколько столбцов"),
        ("a.csv.gz", b"text\n", "не читается"),
        ("a.txt", b"", "Строк нет"),
    ],
)
def test_a_file_of_no_use_is_explained_without_its_place(
    tables: Tables, tmp_path: Path, name: str, content: bytes, russian: str
):
    (tmp_path / name).write_bytes(content)
    markup = tables.uploaded(str(tmp_path / name), "", job())
    assert russian in markup
    assert str(tmp_path) not in markup
    assert 'role="alert"' in markup


def test_no_lines_and_unknown_complaints_are_said_as_they_are(tables: Tables):
    assert "There are no lines" in tables.pasted(" \n", job())
    told = unreadable(DataError("/x/a.csv is odd"), Path("/x/a.csv"))
    assert told.count("a.csv is odd") == 2
    assert "/x" not in told.replace("</", "")


def test_every_reason_of_a_bad_row_has_a_russian_form(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"text": null}\n{"text": NaN}\n{"text": ""}\n{"text": 1}\n{"text": true}\n{"text": []}\n'
        b'{"text": {}}\n{"other": 1}\n{\n1\n\xff\n'
    )
    (tmp_path / "a.csv").write_bytes(b'id,text\n1\n2,nan\n3,\xff\n4,a,b\n5,"a"b\n')
    reasons = [
        row.reason
        for name in ("a.jsonl", "a.csv")
        for row in open_table(tmp_path / name).rows()
        if isinstance(row, BadRow)
    ]
    assert len(reasons) == 16
    in_source = _reasons_in_the_source()
    assert len(in_source) > 20
    for reason in (*reasons, *in_source):
        assert re.search("[а-я]", in_russian(reason).ru), reason
        assert in_russian(reason).en == reason


def _reasons_in_the_source() -> set[str]:
    """Every text that the readers give a `BadRow`, its places filled with 1."""
    found = set()
    for room in ("texts", "dialogues"):
        for path in (ROOT / "ov_emotions" / room).glob("*.py"):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "BadRow":
                    reason = call.args[1]
                    if isinstance(reason, ast.Constant):
                        found.add(str(reason.value))
                    elif isinstance(reason, ast.JoinedStr):
                        found.add("".join(_part(part) for part in reason.values))
    return found - {"1 (1)"}  # what the CSV reader says, which stands in a file above


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return "'1'" if part.conversion == ord("r") else "1"


def test_both_languages_have_the_same_places_and_none_is_missing():
    for name, both in TEXTS.items():
        places = [
            {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
            for text in (both.ru, both.en)
        ]
        assert places[0] == places[1], name
        assert both.ru, name
        assert both.en or name == "dialogues.transcript", name


def test_markup_is_neither_html_nor_a_template_of_gradios():
    assert escape("<b>&\x00\ud800") == "&lt;b&gt;&amp;\ufffd\ufffd"
    assert shielded("{{x}} ${y} `") == "&#123;&#123;x&#125;&#125; &#36;&#123;y&#125; &#96;"


def test_whatever_fails_becomes_a_sentence(caplog: pytest.LogCaptureFixture):
    def fail(*_: object) -> str:
        raise DeviceError("no such device")

    def fall_apart(_: Job) -> str:
        raise RuntimeError("secret {text}")

    told = guarded(fail)("text")
    assert "Модель не справилась" in told
    assert "no such device" in told
    told = list(jobs.steps(fall_apart, Line()))[-1]
    assert "RuntimeError" in told
    assert "secret" not in told
    assert len(caplog.records) == 2


def test_results_are_kept_for_a_while_under_names_that_cannot_be_guessed(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
):
    tokens = [store.new()[0] for _ in range(33)]
    assert store.find(tokens[0]) is None
    kept = store.find(tokens[-1])
    assert kept is not None
    assert min(map(len, tokens)) >= 20
    store.uploads.mkdir()
    (store.uploads / "broken").write_text("x")
    monkeypatch.setattr(jobs, "KEPT_SECONDS", -1)
    assert store.find(tokens[-1]) is None
    assert not kept.folder.exists()
    assert list(store.uploads.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="locks of folders are POSIX's")
def test_what_a_killed_server_left_goes_and_what_another_holds_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running = ResultStore()
    left = tmp_path / "ov-emotions-demo-left"
    left.mkdir()
    (left / "table.csv").write_text("x")
    for folder in tmp_path.iterdir():
        os.utime(folder, (0, 0))
    other = ResultStore()
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 2
    other.close()
    running.close()
    assert list(tmp_path.iterdir()) == []


def test_models_are_named_apart_and_a_folder_given_twice_is_one(
    tiny_classifier: EmotionClassifier, tmp_path: Path
):
    folder = tiny_classifier.bundle.folder
    other = tmp_path / "other"
    tiny_classifier.save_pretrained(other)
    models = Models(tiny_classifier, [str(folder), str(other)])
    assert models.names[:2] == ("tiny · FP32", "tiny · FP32 (2)")
    assert models.get("tiny · FP32") is tiny_classifier
    assert models.get("tiny · FP32 (2)") is models.get("tiny · FP32 (2)")
    with pytest.raises(InputError, match="there is no model 'x'"):
        models.get("x")


def test_the_report_is_the_one_asked_for_or_the_committed_one(tmp_path: Path):
    with pytest.raises(DataError, match="has no report"):
        find_report(tmp_path, "x")
    (tmp_path / "report.html").write_text("x")
    assert find_report(tmp_path, "x") == tmp_path
    assert find_report(None, "no-such-model") is None
    committed = find_report(None, "emotions-ru-small")
    assert committed is None or (committed / "report.html").is_file()


def test_the_page_asks_for_nothing_elsewhere_and_its_plots_follow_its_own_theme():
    head = page.head()
    assert "http://" not in head.replace("http://www.w3.org", "")
    assert "https://" not in head
    assert "export" not in head
    assert "@media screen and (prefers-color-scheme" not in head
    assert ':root:where([data-theme="dark"])' in head
    assert ".plot .course" in head


class Counting:
    """Logits by a formula, and how often they were asked for."""

    def __init__(self, score: Callable[[str], list[float]]) -> None:
        self.score = score
        self.calls: list[list[str]] = []

    def predict_logits(self, texts: list[str]) -> np.ndarray:
        self.calls.append(texts)
        return np.array([self.score(text) for text in texts], dtype=np.float32)


def test_every_word_is_left_out_once_and_all_of_it_is_one_call():
    model = Counting(lambda text: [2.0 * text.count("рад"), -1.0 * text.count("зол")])
    pieces, logits, effects = attribute(model, "я рад  и\nзол")
    assert model.calls == [["я рад  и\nзол", "рад и зол", "я и зол", "я рад зол", "я рад и"]]
    assert pieces == ["я", "рад", "и", "зол"]
    np.testing.assert_allclose(logits, [2.0, -1.0])
    np.testing.assert_allclose(effects, [[0, 0], [2, 0], [0, 0], [0, -1]])


def test_words_are_marked_by_sign_without_colour_too(tiny_classifier: EmotionClassifier):
    markup = analyse(tiny_classifier, "радость слово злость")
    start = markup.index('class="words" data-for="joy"')
    shown = markup[start : markup.index('data-for="neutral"', start)]
    assert 'class="word for level-3">радость<sup aria-hidden="true">+++</sup>' in shown
    assert 'class="word against level-3">злость<sup aria-hidden="true">−−−</sup>' in shown
    assert "«радость» +" in shown


def test_a_result_agrees_with_the_classifier(tiny_classifier: EmotionClassifier):
    markup = analyse(tiny_classifier, "радость")
    prediction = tiny_classifier("радость")
    assert prediction.labels == ("joy",)
    assert '<span class="tag" data-emotion="joy">' in markup
    assert f"{round(prediction.scores['joy'] * 100)}%" in markup
    assert "threshold 60%" in markup


def test_texts_that_cannot_be_analysed_say_why(tiny_classifier: EmotionClassifier):
    assert "nothing to read here" in analyse(tiny_classifier, "?!")
    assert "more than 20,000 characters" in analyse(tiny_classifier, "а" * (MAX_CHARACTERS + 1))
    assert "will appear here" in analyse(tiny_classifier, " \n")
    assert "<script>" not in analyse(tiny_classifier, "<script>радость")
