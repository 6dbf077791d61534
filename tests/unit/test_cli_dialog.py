from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import pytest
from dialogue_examples import MADE_UP_CALL, WordClassifier

from ov_emotions.cli import dialog
from ov_emotions.cli.main import main


@pytest.fixture
def call(tmp_path):
    path = tmp_path / "call.txt"
    path.write_text(MADE_UP_CALL, encoding="utf-8")
    return path


@pytest.fixture
def words(monkeypatch):
    monkeypatch.setattr(dialog, "load_classifier", lambda _args: WordClassifier())


@pytest.fixture
def never_loaded(monkeypatch):
    monkeypatch.setattr(dialog, "load_classifier", lambda _args: pytest.fail("it was loaded"))


@pytest.mark.usefixtures("words")
def test_a_summary_has_a_line_a_speaker_and_says_what_to_do(call, capsys):
    assert main(["dialog", str(call)]) == 0
    out = capsys.readouterr().out
    title, operator, client, turn, handover = out.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert title == "call"
    assert operator.split()[:2] == ["Оператор", "▁▁▁▁▁"]
    assert client.split()[0] == "Клиент"
    assert "negative 50 % (22–78), 8 utterances, client" in client.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "Клиент: from utterance 9 (1:29) on the mood is much worse" in turn
    assert handover.strip().startswith("Hand over after utterance 10 (1:41). Клиент: “anger”")


@pytest.mark.usefixtures("words")
def test_the_summary_speaks_russian_when_asked(call, capsys):
    assert main(["dialog", str(call), "--language", "ru"]) == 0
    out = capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    assert "Передать другому оператору после реплики 10 (1:41). Клиент: эмоция «гнев»" in out


@pytest.mark.usefixtures("words")
def test_json_csv_and_page_are_written(call, tmp_path, capsys):
    table, document = tmp_path / "new" / "out.csv", tmp_path / "out.html"
    flags = ["--json", "--csv", str(table), "--html", str(document), "--language", "ru"]
    assert main(["dialog", str(call), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["dialogues"][0]["handover"]["position"] == 10
    assert len(table.read_text(encoding="utf-8").splitlines()) == 14
    assert "Передать другому оператору после" in document.read_text(encoding="utf-8")


@pytest.mark.usefixtures("words")
def test_rules_are_flags(call, capsys):
    flags = ["--handover-strength", "2", "--half-life", "1", "--negative", "anger", "--calm", "0.5"]
    flags += ["--client", "Оператор", "--operator", "Клиент", "--upset", "0.9", "--bandwidth", "3"]
    assert main(["dialog", "--json", *flags, str(call)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["negative_labels"] == ["anger"]
    assert found["settings"]["bandwidth"] == 3.0
    assert [s["role"] for s in found["dialogues"][0]["speakers"]] == ["client", "operator"]
    assert found["clients"][0]["segment"] == "calm"


WHISPERX = {
    "segments": [
        {"start": 7.0, "end": 9.0, "text": " я злюсь на вас", "speaker": "SPEAKER_01"},
        {"start": 1.0, "end": 2.0, "text": " добрый день", "speaker": "SPEAKER_00"},
    ]
}
SRT = """1
00:00:01,000 --> 00:00:02,000
[SPEAKER_00]: добрый день

2
00:00:07,000 --> 00:00:09,000
[SPEAKER_01]: я злюсь на вас
"""


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(WHISPERX)),
        ("a.csv", "Start;SPEAKER; Text\n1;SPEAKER_00;добрый день\n7;SPEAKER_01;я злюсь на вас\n"),
    ],
)
def test_transcripts_of_recognisers_have_times_and_roles(tmp_path, capsys, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    roles = ["--roles", "SPEAKER_00=operator,SPEAKER_01=client"]
    assert main(["dialog", str(path), *roles, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["dialogues"]
    assert [(s["name"], s["role"]) for s in found["speakers"]] == [
        ("SPEAKER_00", "operator"),
        ("SPEAKER_01", "client"),
    ]
    assert [(u["time"], u["text"]) for u in found["utterances"]] == [
        (1.0, "добрый день"),
        (7.0, "я злюсь на вас"),
    ]


@pytest.mark.usefixtures("words")
def test_a_transcript_without_speakers_is_one_speakers_and_says_so(tmp_path, capsys):
    path = tmp_path / "a.srt"
    path.write_text(SRT.replace("[SPEAKER_00]: ", "").replace("[SPEAKER_01]: ", ""), "utf-8")
    assert main(["dialog", str(path), "--json"]) == 0
    captured = capsys.readouterr()
    (found,) = json.loads(captured.out)["dialogues"]
    assert [s["name"] for s in found["speakers"]] == ["UNKNOWN"]
    assert "does not name every speaker" in captured.err


def test_a_model_without_the_label_of_the_hand_over_rule_says_so(call, monkeypatch, capsys):
    class Other(WordClassifier):
        def __init__(self):
            super().__init__()
            self._labels = ("joy", "a|b", "neutral")

        def predict_proba(self, texts):
            return np.tile(np.array([[0.9, 0.8, 0.1]], dtype=np.float32), (len(texts), 1))

    monkeypatch.setattr(dialog, "load_classifier", lambda _args: Other())
    table = call.parent / "a.csv"
    flags = ["--negative", "a|b", "--csv", str(table), "--language", "ru"]
    assert main(["dialog", str(call), *flags]) == 0
    assert "the model has no label 'anger', which one of the two rules" in capsys.readouterr().err
    with table.open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert json.loads(first["labels"]) == ["радость", "a|b"]
    assert "радость" in first


@pytest.mark.usefixtures("words")
def test_roles_that_there_are_not_are_wrong_usage(call, capsys):
    with pytest.raises(SystemExit) as error:
        main(["dialog", str(call), "--roles", "Клиент=boss"])
    assert (error.value.code, "'Клиент=boss'" in capsys.readouterr().err) == (2, True)


@pytest.mark.usefixtures("words")
def test_columns_are_named_by_flags_and_bad_rows_reported(tmp_path, capsys):
    path = tmp_path / "calls.csv"
    path.write_text("id,who,said\n1,А,раз\n1,,два\n2,А,три\n", encoding="utf-8")
    flags = ["--dialogue-column", "id", "--speaker-column", "who", "--text-column", "said"]
    assert main(["dialog", str(path), *flags, "--json"]) == 1
    captured = capsys.readouterr()
    assert [d["name"] for d in json.loads(captured.out)["dialogues"]] == ["1", "2"]
    assert captured.err.splitlines() == [
        f"{path}: row 2: the speaker is missing",
        "1 of 3 rows were left out",
    ]


@pytest.mark.usefixtures("words")
def test_where_the_client_is_not_known_the_summary_asks(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("Анна: добрый день\nИван: добрый\n", encoding="utf-8")
    assert main(["dialog", str(path)]) == 0
    assert "--client NAME" in capsys.readouterr().out
    assert main(["dialog", str(path), "--client", "Иван"]) == 0
    assert "--client NAME" not in capsys.readouterr().out


@pytest.mark.usefixtures("words")
def test_a_folder_of_many_dialogues_is_summed_up(tmp_path, capsys):
    for i in range(25):
        text = MADE_UP_CALL.replace("злюсь", "вижу") if i else MADE_UP_CALL
        (tmp_path / f"{i:02}.txt").write_text(text, encoding="utf-8")
    assert main(["dialog", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "the 20 most urgent of 25" in out
    assert "1 of 25 dialogues needed another operator" in out
    assert out.startswith("00\n")


@pytest.mark.usefixtures("words")
def test_colours_are_for_terminals_and_not_with_no_color(call, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = {}
    for name, kind in (("terminal", Terminal), ("file", io.StringIO), ("no colour", Terminal)):
        if name == "no colour":
            monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.stdout", kind())
        assert main(["dialog", str(call)]) == 0
        shown[name] = sys.stdout.getvalue()
    assert "\x1b[31mHand over" in shown["terminal"]
    assert "\x1b" not in shown["file"] + shown["no colour"]


@pytest.mark.usefixtures("words")
def test_a_name_cannot_command_the_terminal(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("# \x1b[2J\nКл\x1bиент: да\n", encoding="utf-8")
    assert main(["dialog", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "�[2J" in out


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", [], "is empty"),
        ("раз\n", [], "names no speaker"),
        ("А: раз\n", ["--calm", "2"], "calm must be a number between 0 and 1"),
        ("А: раз\n", ["--bandwidth", "nan"], "bandwidth must be a number"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_the_model_is_loaded(
    tmp_path, capsys, content, flags, message
):
    path = tmp_path / "a.txt"
    path.write_text(content, encoding="utf-8")
    output = tmp_path / "out.html"
    assert main(["dialog", str(path), "--html", str(output), *flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ov-emotions: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not output.exists()
