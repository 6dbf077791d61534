from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from ov_emotions.cli.main import main
from ov_emotions.system import read_machine


def test_a_file_is_classified_by_a_real_model(tiny_bundle, tmp_path, capsys):
    rows = ["радость", "злость", "🎉", "слово " * 100, "the end", "а" * 100_000]
    source = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": row}) for row in [*rows, None]]
    source.write_text("\n".join(lines), encoding="utf-8")
    output = tmp_path / "out.jsonl"
    model = ["--model", str(tiny_bundle.folder), "--threads", "1", "--chunk-size", "2"]
    flags = ["--json", "-i", str(source), "-o", str(output), "--long-texts", "truncate"]
    assert main(["classify", *model, *flags]) == 1, "a row was left out"
    assert "row 7: the text is missing" in capsys.readouterr().err
    results = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [result["text"] for result in results] == rows
    assert [result["labels"] for result in results][:3] == [["joy"], ["anger"], []]
    assert set(results[2]["scores"].values()) == {0.0}
    assert [result["truncated"] for result in results][:4] == [False, False, False, True]
    for result in results:
        assert set(result["scores"]) == set(tiny_bundle.manifest.labels)
        assert all(0 <= score <= 1 for score in result["scores"].values())


def test_a_threshold_of_the_caller_s_is_heeded_and_a_wrong_one_is_told(tiny_bundle, capsys):
    command = ["classify", "--json", "--model", str(tiny_bundle.folder), "радость"]
    assert main(command) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    above = min(scores["joy"] + 1e-7, 0.9999999)
    low = [f"--threshold={name}=0.000001" for name in ("anger", "neutral")]
    assert main([*command, *low]) == 0
    assert set(json.loads(capsys.readouterr().out)["labels"]) == {"joy", "anger", "neutral"}
    assert main([*command, f"--threshold=joy={above}"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == []
    for wrong in ("joy=2", "joy=nan", "bliss=0.5"):
        assert main([*command, "--threshold", wrong]) == 1
        message = capsys.readouterr().err
        assert message.startswith("ov-emotions: error: ")
        assert message.count("\n") == 1


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_classifying_imports_only_what_it_needs(tiny_bundle, flags):
    code = (
        "import sys\n"
        "from ov_emotions.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "heavy = {'torch', 'transformers', 'nncf', 'optimum', 'pyarrow', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    arguments = ["classify", *flags, "--model", str(tiny_bundle.folder), "радость"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    )
    assert "joy" in done.stdout
    assert done.stderr == "[]\n"


def test_a_locale_that_is_not_utf_8_does_not_matter(tiny_bundle, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [sys.executable, "-m", "ov_emotions", "classify", "--russian"]
    command += ["--model", str(tiny_bundle.folder), "радость", "ёж"]
    done = subprocess.run(command, capture_output=True, check=True)
    first, second = done.stdout.decode("utf-8").splitlines()
    assert first.split()[::2] == ["радость", "радость"]
    assert second.endswith("ёж")


def test_info_shows_the_card_s_facts_and_the_machine_s(tiny_bundle, capsys):
    assert main(["info", str(tiny_bundle.folder)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for expected in (
        "model tiny",
        "base model owner/base (MIT)",
        "precision weights fp32, inference f32",
        "max length 16 tokens a window",
        "joy радость 0.600",
        "set 3 MIT",
        "test fp32 3 0.500 0.250",
        f"folder {tiny_bundle.folder}",
        "precision hint f32, unless --precision says otherwise",
    ):
        assert expected in lines
    assert any(line.startswith("usable ") for line in lines)


@pytest.mark.parametrize(
    ("instructions", "told"),
    [
        (("avx2",), True),
        (("avx2", "avx_vnni"), False),
        (("avx512f", "amx_int8"), False),
        ((), False),
    ],
)
def test_info_says_where_int8_brings_no_time(monkeypatch, capsys, instructions, told):
    machine = replace(read_machine(), instructions=instructions)
    monkeypatch.setattr("ov_emotions.cli.models.read_machine", lambda: machine)
    assert main(["info"]) == 0
    assert ("INT8 saves memory on this CPU, and no time" in capsys.readouterr().out) is told


def test_info_answers_in_json(tiny_bundle, capsys):
    assert main(["info", "--json", str(tiny_bundle.folder)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["labels"] == list(tiny_bundle.manifest.labels)
    assert answer["model"]["thresholds"] == dict(tiny_bundle.manifest.thresholds)
    machine = answer["machine"]
    assert 1 <= machine["usable_logical_cores"] <= machine["logical_cores"]
    assert "CPU" in machine["devices"]


def test_a_model_that_is_damaged_or_not_there_is_one_sentence(tiny_bundle, tmp_path, capsys):
    damaged = tmp_path / "model"
    tiny_bundle.save(damaged)
    (damaged / "model.bin").write_bytes(b"short")
    for command, message in (
        (["classify", "-m", str(damaged), "радость"], "model.bin is truncated or altered"),
        (["classify", "-m", "no/such", "-o", str(tmp_path / "out.txt"), "радость"], "'no/such'"),
        (["info", str(tmp_path)], "emotions.json is missing"),
    ):
        assert main(command) == 1
        told = capsys.readouterr().err
        assert told.startswith("ov-emotions: error: ")
        assert message in told
        assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
