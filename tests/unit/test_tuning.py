from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.errors import InputError
from ov_emotions.runtime.models import default_batch_tokens
from ov_emotions.tuning.profile import (
    Settings,
    TuningProfile,
    fingerprint,
    model_sha256,
)
from ov_emotions.tuning.search import (
    Effort,
    Trial,
    choose,
    default_settings,
    layouts,
    sample_texts,
    search,
)

SETTINGS = Settings(threads=1, streams=1, batch_tokens=777, chunk_size=33)


@pytest.fixture
def profile(tiny_bundle: Bundle) -> TuningProfile:
    return TuningProfile(
        model="tiny",
        model_sha256=model_sha256(tiny_bundle.manifest),
        goal="throughput",
        fingerprint=fingerprint(),
        cores=2,
        settings=SETTINGS,
    )


def test_a_classifier_uses_the_settings_that_the_caller_leaves_open(
    tiny_bundle: Bundle, profile: TuningProfile, tmp_path: Path
) -> None:
    path = tmp_path / "tuned.json"
    profile.write(path)
    tuned = EmotionClassifier(tiny_bundle, profile=path)
    assert (tuned._models._batch_tokens, tuned._chunk_size) == (777, 33)
    assert tuned._models._plain._config["NUM_STREAMS"] == 1  # type: ignore[attr-defined]
    assert tuned._models._plain._config["INFERENCE_NUM_THREADS"] == 1  # type: ignore[attr-defined]
    own = EmotionClassifier(tiny_bundle, profile=profile, threads=2, batch_tokens=50)
    assert own._models._batch_tokens == 50
    assert own._models._plain._config["INFERENCE_NUM_THREADS"] == 2  # type: ignore[attr-defined]
    assert "NUM_STREAMS" not in own._models._plain._config, "streams belong to their threads"  # type: ignore[attr-defined]
    assert tuned(["радость"] * 5) == EmotionClassifier(tiny_bundle, threads=1)(["радость"] * 5)


def test_a_profile_of_another_model_is_refused(tiny_bundle: Bundle, profile: TuningProfile) -> None:
    other = dataclasses.replace(profile, model="small", model_sha256="0" * 64)
    with pytest.raises(InputError, match="measured for small, and tiny is another model"):
        EmotionClassifier(tiny_bundle, profile=other)


def test_a_profile_of_another_machine_is_left_unused_with_a_warning(
    tiny_bundle: Bundle, profile: TuningProfile
) -> None:
    there = dataclasses.replace(profile.fingerprint, logical_cores=64, cpu_quota=1.5)
    other = dataclasses.replace(profile, fingerprint=there)
    with pytest.warns(UserWarning, match="64 instead of .*CPU quota 1.5 instead of none") as caught:
        classifier = EmotionClassifier(tiny_bundle, profile=other, threads=1)
    assert classifier._models._batch_tokens == default_batch_tokens(1)
    assert "\n" not in str(caught[0].message)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 9}, "schema_version 9"),
        ({"settings": {"threads": 0, "streams": 1, "batch_tokens": 1, "chunk_size": 1}}, "threads"),
        ({"settings": {"threads": 1}}, "missing"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"model": 3}, "model: expected str"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(
    profile: TuningProfile, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "tuned.json"
    profile.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=problem):
        TuningProfile.read(path)
    for content in ("[1]", "{", ""):
        path.write_text(content)
        with pytest.raises(InputError, match=r"tuned\.json"):
            TuningProfile.read(path)
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read"):
        TuningProfile.read(tmp_path / "nowhere.json")


def trial(threads: int, p50: tuple[float, ...], rate: tuple[float, ...]) -> Trial:
    return Trial(Settings(threads, 1, 1, 1), p50, rate)


def test_the_default_stays_unless_another_clearly_beats_it_round_by_round() -> None:
    default = trial(1, (1.0,) * 4, (100.0,) * 4)
    noisy = trial(2, (1.0,) * 4, (300.0, 99.0, 98.0, 97.0))
    slight = trial(3, (1.0,) * 4, (101.0,) * 4)
    clear = trial(4, (1.0,) * 4, (120.0, 118.0, 121.0, 99.0))
    assert choose([default, noisy, slight], "throughput") == default.settings
    assert choose([default, noisy, slight, clear], "throughput") == clear.settings


def test_the_goal_says_what_counts() -> None:
    default = trial(1, (2.0,) * 3, (100.0,) * 3)
    quick = trial(2, (1.0,) * 3, (60.0,) * 3)
    many = trial(3, (4.0,) * 3, (200.0,) * 3)
    both = trial(4, (2.1,) * 3, (150.0,) * 3)
    assert choose([default, quick, many, both], "latency") == quick.settings
    assert choose([default, quick, many, both], "throughput") == many.settings
    assert choose([default, many, both], "balanced") == both.settings


def test_a_search_measures_every_kind_and_gives_settings_that_run(tiny_bundle: Bundle) -> None:
    told: list[str] = []
    found = search(tiny_bundle, sample_texts(70), effort=Effort(1, 2), cores=2, tell=told.append)
    assert list(found.stages) == ["threads and streams", "batch_tokens", "chunk_size"]
    assert found.stages["threads and streams"][0].settings == default_settings(2)
    for trials in found.stages.values():
        assert all(len(t.texts_per_second) == 1 and t.texts_per_second[0] > 0 for t in trials)
    assert told
    json.dumps(found.to_dict())
    only = search(tiny_bundle, sample_texts(10), goal="latency", effort=Effort(1, 2), cores=1)
    assert list(only.stages) == ["threads and streams"]


def test_what_batches_hold_is_varied_without_compiling_anew(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[EmotionClassifier] = []

    def make(*args: object, **options: object) -> EmotionClassifier:
        made.append(EmotionClassifier(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("ov_emotions.tuning.search.EmotionClassifier", make)
    search(tiny_bundle, sample_texts(70), goal="throughput", effort=Effort(1, 2), cores=2)
    assert len(made) == len(layouts(2))
    given = EmotionClassifier(tiny_bundle, threads=2, batch_tokens=50)
    limited = EmotionClassifier(tiny_bundle, threads=2)
    limited._models.limit_batches(50)
    texts = sample_texts(40)
    groups = [c._models.plan(c._encoder.encode(texts)).groups for c in (given, limited)]
    assert list(map(len, groups[0])) == list(map(len, groups[1]))
    assert len(groups[0]) > 1


def test_bench_prints_and_writes_a_profile_that_the_other_verbs_take(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.jsonl"
    rows = ["слово", "я рад", "", "злость и радость"]
    texts.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    tuned = tmp_path / "tuned.json"
    flags = ["bench", str(tiny_bundle.folder), "--quick", "--cores", "1"]
    assert main([*flags, "--texts", str(texts), "--output", str(tuned), "--json"]) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert answer["texts"] == 3
    assert "row" in printed.err, "the empty row is named"
    assert answer["tuning_profile"] == {
        key: value for key, value in json.loads(tuned.read_text()).items() if key != "measured"
    }
    model = ["--model", str(tiny_bundle.folder)]
    assert main(["classify", "слово", *model, "--profile", str(tuned)]) == 0
    out = tmp_path / "served"
    render = ["ovms", "render", "--output", str(out), "--bundle", str(tiny_bundle.folder)]
    assert main([*render, "--tuning-profile", str(tuned)]) == 0
    config = json.loads((out / "config.json").read_text())["model_config_list"][0]["config"]
    assert config["plugin_config"]["INFERENCE_NUM_THREADS"] == 1
    capsys.readouterr()
    assert main([*render, "--tuning-profile", str(tuned), "--cores", "4"]) == 1
    assert "was measured on 1 core(s), not on 4" in capsys.readouterr().err
    assert main(["ovms", "render", "--output", str(out), "--tuning-profile", str(tuned)]) == 1
    assert "another model" in capsys.readouterr().err


def test_bench_shows_tables(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny_bundle.folder), "--quick", "--no-search"]) == 0
    printed = capsys.readouterr().out
    for words in ("300 texts:", "one text:", "tokenize", "layers by type"):
        assert words in printed
