from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ov_emotions.cli.main import main
from ov_emotions.data import dataset
from ov_emotions.data import prepare as preparing
from ov_emotions.data.dataset import Manifest, SourceFacts, SplitFacts
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.labels import EKMAN
from ov_emotions.texts import BadRow
from ov_emotions.training import prune
from ov_emotions.training.settings import PruneConfig

COUNTS = {"present": 2, "absent": 1, "unknown": 0}
MANIFEST = Manifest(
    schema=1,
    library="1",
    normalizer="asr-1",
    seed=7,
    near_threshold=0.8,
    labels=("joy", "fear"),
    sources=(
        SourceFacts(
            name="cedr",
            licence="MIT",
            url="",
            attribution="",
            annotates=(),
            files={},
            bad_rows={"train": (BadRow(3, "x"),), "test": ()},
        ),
    ),
    dropped={"train": {"duplicates": 5, "equal_to_held_out": 6}, "english": {"same_id": 1}},
    splits={
        "train": SplitFacts(
            rows=1234,
            sha256="",
            rows_by_origin={},
            labels={"joy": COUNTS, "fear": COUNTS},
            labels_by_origin={},
        )
    },
    validation_parts={"selection": []},
)


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    """The configurations that `prepare` is called with."""
    configs = []
    monkeypatch.chdir(tmp_path.parent)  # where no file of the repository is read

    def prepare(config, _tell):
        configs.append(config)
        return MANIFEST

    monkeypatch.setattr(preparing, "prepare", prepare)
    return configs


def test_prepare_prints_counts_and_drops(prepared, tmp_path, capsys):
    output = tmp_path / "out"
    flags = ["--raw", str(tmp_path), "--output", str(output), "--seed", "7"]
    assert main(["data", "prepare", *flags]) == 0
    assert prepared == [PrepareConfig(tmp_path, output, seed=7)]
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == ["train", "rows 1,234", "joy 2", "fear 2"]
    assert "train: equal to held out 6" in lines
    assert "cedr train: unusable rows 1" in lines
    assert "english: same id 1" in lines
    assert main(["data", "prepare", "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(MANIFEST.to_json())


def test_another_label_set_is_asked_for_by_name(prepared, tmp_path, capsys):
    flags = ["data", "prepare", "--raw", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main([*flags, "--labels", "goemotions-28"]) == 0
    assert prepared == [PrepareConfig(tmp_path, tmp_path / "out", "goemotions-28")]
    capsys.readouterr()
    assert main([*flags, "--labels", "plutchik-8"]) == 1
    message = capsys.readouterr().err
    assert "labels must be ekman-7 or goemotions-28, not 'plutchik-8'" in message
    assert "data import" in message


@pytest.mark.parametrize(
    ("variable", "raw"), [("/else/where", "/else/where/data"), ("", "../shared/data")]
)
def test_the_raw_sets_are_found_through_the_environment(
    prepared, tmp_path, monkeypatch, variable, raw
):
    monkeypatch.setenv("OV_EMOTIONS_SHARED", variable)
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", "--output", "out"]) == 0
    assert prepared == [PrepareConfig(Path(raw), Path("out"))]


def test_the_desk_of_the_repository_is_read_where_it_is(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    desk = Path("quantize/data/support-desk.csv")
    desk.parent.mkdir(parents=True)
    desk.touch()
    flags = ["data", "prepare", "--output", "out"]
    more = ([], ["--without", "support_desk"], ["--labels", "goemotions-28"], ["--desk", "my.csv"])
    for given in more:
        assert main([*flags, *given]) == 0
    assert [config.desk for config in prepared] == [desk, None, None, Path("my.csv")]


def test_a_folder_with_other_files_is_not_replaced(prepared, tmp_path, capsys):
    (tmp_path / "thesis.txt").touch()
    assert main(["data", "prepare", "--output", str(tmp_path)]) == 1
    assert "holds other files" in capsys.readouterr().err
    (tmp_path / "prepared.json").touch()
    assert main(["data", "prepare", "--output", str(tmp_path)]) == 0
    assert len(prepared) == 1, "an older prepared folder is replaced"


def test_an_output_that_cannot_be_a_folder_is_refused_before_any_work(prepared, tmp_path, capsys):
    path = tmp_path / "file"
    path.touch()
    for output, message in ((path, "is a file"), (path / "sub", "cannot be written")):
        assert main(["data", "prepare", "--output", str(output)]) == 1
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert prepared == []
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def pruned(monkeypatch):
    """The configurations and texts that a base is pruned with."""
    calls = []

    def prune_base(config, texts):
        calls.append((config, list(texts)))
        return {"before": 3000, "after": 1000}

    monkeypatch.setattr(prune, "prune_base", prune_base)
    return calls


def test_prune_joins_text_files_plain_and_compressed(pruned, tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes("раз\n\n".encode() + b"\xff\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("два\nтри\n".encode()))
    texts = ["--text", str(tmp_path / "a.txt"), str(tmp_path / "b.txt.gz")]
    assert main(["prune", "base", str(tmp_path / "out"), *texts]) == 0
    captured = capsys.readouterr()
    config = PruneConfig(base=Path("base"), output=tmp_path / "out")
    assert pruned == [(config, ["раз", "два", "три"])]
    assert "3,000 -> 1,000" in captured.out
    assert "a.txt: 2 lines without a usable text were left out" in captured.err


def test_prune_refuses_a_missing_corpus_before_any_work(pruned, tmp_path, capsys):
    flags = ["prune", "base", str(tmp_path / "out")]
    assert main([*flags, "--text", str(tmp_path / "none.txt")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main([*flags, "--data", str(tmp_path / "none")]) == 1
    assert "is not a prepared folder" in capsys.readouterr().err
    assert pruned == []


@pytest.mark.parametrize("verb", ["evaluate", "report"])
def test_a_split_that_is_not_there_is_refused_before_a_model_is_opened(
    verb, tmp_path, monkeypatch, capsys
):
    train = MANIFEST.splits["train"]
    manifest = MANIFEST.replace(splits={"train": train, "test": train})
    prepared = dataset.PreparedData(tmp_path, manifest, EKMAN)
    monkeypatch.setattr(dataset.PreparedData, "open", staticmethod(lambda _folder: prepared))
    flags = {"evaluate": ["--split", "tset"], "report": [str(tmp_path), "--final-split", "tset"]}
    assert main([verb, str(tmp_path / "none"), *flags[verb], "--data", "d"]) == 1
    assert capsys.readouterr().err.endswith(
        "has no split 'tset'; did you mean test? it has train, test, validation:selection\n"
    )


@pytest.mark.parametrize("verb", ["thresholds {} --data d", "quantize {} o --data d"])
def test_a_run_s_folder_points_to_its_best(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dataset.PreparedData, "open", staticmethod(lambda _folder: None))
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    assert main(verb.format(best.parent).split()) == 1
    assert f"did you mean {best}?" in capsys.readouterr().err
