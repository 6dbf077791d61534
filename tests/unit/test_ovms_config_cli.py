from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ov_emotions.cli.main import main
from ov_emotions.system import CpuBudget

if TYPE_CHECKING:
    from ov_emotions.bundle import Bundle


def render(bundle: Bundle, folder: Path, *flags: str) -> int:
    arguments = ["ovms", "render", "--bundle", str(bundle.folder), "--output", str(folder)]
    return main([*arguments, *flags])


def test_render_writes_a_config_that_validate_takes(tiny_bundle, tmp_path, capsys):
    assert render(tiny_bundle, tmp_path, "--profile", "throughput", "--cores", "8") == 0
    told = capsys.readouterr().out
    assert "throughput, 8 core(s) (given)" in told
    assert f"wrote      {tmp_path / 'config.json'}" in told
    assert main(["ovms", "validate", str(tmp_path / "config.json"), "--strict"]) == 0
    told = capsys.readouterr().out
    assert "a start serves every model; a reload takes it; errors: 0, warnings: 0" in told
    assert "folders that it names were not looked at" in told


def test_render_finds_the_cores_where_none_are_given(tiny_bundle, tmp_path, capsys, monkeypatch):
    budget = CpuBudget(3, "a control group's quota of 3.5 CPUs")
    monkeypatch.setattr("ov_emotions.system.cpu_budget", lambda: budget)
    assert render(tiny_bundle, tmp_path, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["profile"]["cores"] == 3
    assert answer["profile"]["precision"] == tiny_bundle.manifest.inference_precision
    assert "a control group's quota of 3.5 CPUs" in (tmp_path / "config.md").read_text()


def test_every_flag_of_render_reaches_the_config(tiny_bundle, tmp_path):
    flags = ["--cores", "8", "--profile", "throughput", "--concurrency", "3", "--name", "moods"]
    flags += ["--max-batch", "40", "--token-model", "--versions", "specific:2,4", "--no-metrics"]
    flags += ["--exclusive-cores", "--cache"]
    assert render(tiny_bundle, tmp_path, *flags) == 0
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    model = config["model_config_list"][0]["config"]
    assert "monitoring" not in config
    assert model["name"] == "moods"
    assert model["base_path"] == "/models/moods"
    assert model["model_version_policy"] == {"specific": {"versions": [2, 4]}}
    assert model["batch_size"] == "1:40"
    assert config["model_config_list"][1]["config"]["base_path"] == "/models/moods-tokens"
    assert model["plugin_config"]["NUM_STREAMS"] == 3
    assert model["plugin_config"]["ENABLE_CPU_PINNING"] is True
    assert "--cache_dir=/opt/cache" in (tmp_path / "config.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "--output", "OUT", "--name", "a/b"], "it becomes a part of URLs"),
        (["render", "--output", "OUT", "--versions", "newest"], "'newest' is no version policy"),
        (["render", "--output", "OUT", "--base-path", "models"], "must be an absolute folder"),
        (
            ["render", "--output", "OUT", "--base-path", "/srv/m", "--deployment"],
            "name a folder below it",
        ),
        (["render", "--output", "OUT", "--cores", "99999"], "between 1 and 1024"),
        (["render", "--output", "OUT", "--bundle", "DIR"], "emotions.json is missing"),
        (["render", "--output", "FILE"], "file cannot be written"),
        (["validate", "DIR/none.json"], "none.json cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    places = {"OUT": f"{tmp_path}/out", "FILE": f"{tmp_path}/file", "DIR": str(tmp_path)}
    words = [re.sub("OUT|FILE|DIR", lambda found: places[found[0]], word) for word in arguments]
    assert main(["ovms", *words]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ov-emotions: error: ")
    assert message in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_deployment_files_do_not_replace_somebody_elses(tiny_bundle, tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    assert render(tiny_bundle, tmp_path, "--deployment", "--cores", "2") == 1
    assert "holds other files and no config.md" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    folder = tmp_path / "serving"
    assert render(tiny_bundle, folder, "--deployment", "--cores", "2") == 0
    assert render(tiny_bundle, folder, "--deployment", "--cores", "3") == 0
    assert 'cpuset: "0-2"' in (folder / "compose.yaml").read_text(encoding="utf-8")


@pytest.fixture
def warned(tmp_path):
    path = tmp_path / "config.json"
    config = {"model_config_list": [{"config": {"name": "m", "base_path": "/models/m"}}]}
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def test_warnings_pass_unless_they_must_not(warned, capsys):
    assert main(["ovms", "validate", str(warned)]) == 0
    told = capsys.readouterr().out
    assert "warning: model_config_list[0].config.plugin_config: INFERENCE_PRECISION_HINT" in told
    assert main(["ovms", "validate", str(warned), "--strict"]) == 1


def test_a_start_may_end_on_what_a_reload_takes(warned, capsys):
    metrics = {"enable": True, "metrics_list": ["ovms_nothing"]}
    config = {"model_config_list": [], "monitoring": {"metrics": metrics}}
    warned.write_text(json.dumps(config), encoding="utf-8")
    assert main(["ovms", "validate", str(warned)]) == 1
    assert "a start ends with an error; a reload takes it; errors: 1" in capsys.readouterr().out


def test_errors_fail_and_are_json_where_that_is_asked(warned, capsys):
    warned.write_text('{"model_config_list": {}}', encoding="utf-8")
    assert main(["ovms", "validate", str(warned), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "start": "exits",
        "reload_status": 412,
        "findings": [
            {
                "severity": "error",
                "rule": "value",
                "where": "model_config_list",
                "message": "it is {}; it must be a list",
                "status": 412,
                "start": "exits",
            }
        ],
    }


def test_a_mounted_folder_is_looked_into(warned, capsys, tmp_path):
    assert main(["ovms", "validate", str(warned), "--mount", f"/models={tmp_path}"]) == 1
    assert "there is no folder /models/m" in capsys.readouterr().out
    (tmp_path / "m").mkdir()
    assert main(["ovms", "validate", str(warned), "--mount", f"/models={tmp_path}"]) == 0
    assert "serves nothing; publish a model there" in capsys.readouterr().out
    assert main(["ovms", "validate", str(warned), "--check-paths"]) == 1
