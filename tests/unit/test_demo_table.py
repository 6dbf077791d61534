from __future__ import annotations

import csv
import json
import string
from pathlib import Path

import pytest

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo import frame
from ov_emotions.demo.card import find_report
from ov_emotions.demo.compare import measure
from ov_emotions.demo.failures import guarded, guarded_steps, shielded
from ov_emotions.demo.markup import Words, count, decimal, escape, percent
from ov_emotions.demo.models import Models
from ov_emotions.demo.results import ResultStore
from ov_emotions.demo.rows import open_upload, pasted_rows
from ov_emotions.demo.sayings import bad_file, bad_row
from ov_emotions.demo.texts import TEXTS
from ov_emotions.demo.uploads import classify_pasted, classify_upload
from ov_emotions.errors import DataError, DeviceError, InputError
from ov_emotions.texts import BadRow, Row, open_table


@pytest.fixture
def store():
    kept = ResultStore()
    yield kept
    kept.close()


def saved(store: ResultStore, markup: str, name: str) -> Path:
    token = markup.split("/results/")[1].split("/")[0]
    path = store.find(token, name)
    assert path is not None
    return path


def test_steps_end_with_a_table_and_files_of_every_good_row(
    tiny_classifier: EmotionClassifier, store: ResultStore
):
    steps = list(classify_pasted(tiny_classifier, store, "/demo", "радость\n\n=злость,1"))
    assert 'aria-valuenow="0"' in steps[0]
    assert 'aria-valuenow="3"' in steps[-2]
    assert "Rows classified: 2" in steps[-1]
    assert "Row 2:" in steps[-1]
    with saved(store, steps[-1], "emotions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["row"], rows[0]["text"], rows[0]["labels"]) == ("1", "радость", "joy")
    assert rows[1]["text"] == "'=злость,1", "a spreadsheet would run it"
    lines = saved(store, steps[-1], "emotions.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["row"] for line in lines] == [1, 3]
    assert set(json.loads(lines[0])["scores"]) == set(tiny_classifier.labels)


def test_pasted_rows_keep_the_numbers_that_an_editor_shows():
    assert [type(row) for row in pasted_rows("раз\n \nдва\n")] == [Row, BadRow, Row]


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
    ],
)
def test_a_file_of_no_use_is_explained_without_its_place(
    tiny_classifier: EmotionClassifier,
    store: ResultStore,
    tmp_path: Path,
    name: str,
    content: bytes,
    russian: str,
):
    (tmp_path / name).write_bytes(content)
    (markup,) = classify_upload(tiny_classifier, store, "/demo", str(tmp_path / name), "")
    assert russian in markup
    assert str(tmp_path) not in markup
    assert 'role="alert"' in markup


def test_an_empty_file_and_no_file_say_that_there_is_nothing(
    tiny_classifier: EmotionClassifier, store: ResultStore, tmp_path: Path
):
    (tmp_path / "a.txt").write_bytes(b"")
    for file in (None, str(tmp_path / "a.txt")):
        assert (
            "There are no lines"
            in list(classify_upload(tiny_classifier, store, "/demo", file, ""))[-1]
        )


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
    for reason in reasons:
        assert any("а" <= letter <= "я" for letter in bad_row(reason).ru), reason
        assert bad_row(reason).en == reason


def test_an_unknown_complaint_stays_as_it_is():
    told = bad_file(DataError("/x/a.csv is odd"), Path("/x/a.csv"), "a.csv")
    assert told == Words("a.csv is odd", "a.csv is odd")


def test_both_languages_have_the_same_places_and_none_is_missing():
    for name, both in TEXTS.items():
        places = [
            {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
            for text in (both.ru, both.en)
        ]
        assert places[0] == places[1], name
        assert both.ru, name
        assert both.en, name


def test_numbers_are_written_as_each_language_does():
    assert decimal(1234.5) == Words("1\u202f234,5", "1,234.5")
    assert decimal(-0.25, 2, signed=True) == Words("−0,25", "−0.25")
    assert count(5427) == Words("5\u202f427", "5,427")
    assert percent(0.425) == Words("42\u202f%", "42%")


def test_markup_is_neither_html_nor_a_template_of_gradios():
    assert escape("<b>&\x00\ud800") == "&lt;b&gt;&amp;\ufffd\ufffd"
    assert shielded("{{x}} ${y} `") == "&#123;&#123;x&#125;&#125; &#36;&#123;y&#125; &#96;"


def test_whatever_fails_becomes_a_sentence(caplog: pytest.LogCaptureFixture):
    def fail(*_: object) -> str:
        raise DeviceError("no such device")

    assert "Модель не справилась" in guarded(fail)("text")
    assert "no such device" in guarded(fail)("text")

    def steps(*_: object):
        yield "first"
        raise RuntimeError("secret {text}")

    first, last = guarded_steps(steps)("text")
    assert first == "first"
    assert "RuntimeError" in last
    assert "secret" not in last
    assert len(caplog.records) == 3


def test_results_are_kept_for_a_while_under_names_that_cannot_be_guessed(store: ResultStore):
    tokens = []
    for _ in range(33):
        token, folder = store.new()
        (folder / "emotions.csv").write_text("x")
        (folder / "secret").write_text("x")
        tokens.append(token)
    assert store.find(tokens[0], "emotions.csv") is None
    assert store.find(tokens[-1], "emotions.csv") is not None
    for token, name in ((tokens[-1], "secret"), ("..", "emotions.csv"), (tokens[-1], "../x")):
        assert store.find(token, name) is None
    assert min(map(len, tokens)) >= 20


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


def test_timings_are_medians_within_their_range(tiny_classifier: EmotionClassifier):
    one, two = measure([tiny_classifier, tiny_classifier], "радость")
    assert 0 < one.low <= one.median <= one.high
    assert one.rounds == two.rounds >= 3


def test_the_report_is_the_one_asked_for_or_the_committed_one(tmp_path: Path):
    with pytest.raises(DataError, match="has no report"):
        find_report(tmp_path, "x")
    (tmp_path / "report.html").write_text("x")
    assert find_report(tmp_path, "x") == tmp_path
    assert find_report(None, "no-such-model") is None
    committed = find_report(None, "emotions-ru-small")
    assert committed is None or (committed / "report.html").is_file()


def test_the_page_asks_for_nothing_elsewhere_and_its_plots_follow_its_own_theme():
    head = frame.head()
    assert "http://" not in head.replace("http://www.w3.org", "")
    assert "https://" not in head
    assert "@media screen and (prefers-color-scheme" not in head
    assert ".plot .course" in head
