from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ov_emotions.errors import DataError
from ov_emotions.serving.config_files import LocalFiles
from ov_emotions.serving.config_rules import AUTO_OPTIONS, READ_ONLY, WRITABLE, check_plugin
from ov_emotions.serving.validate import (
    ServerTraits,
    reload_status,
    start_verdict,
    validate,
    validate_file,
    validate_text,
)
from ov_emotions.system import shared_core

RECORDED = ServerTraits(mediapipe=False)
"""The server whose verdicts were recorded."""

DISAGREEMENTS = {
    "mediapipe_config_list (mp-off build)": "the published image is built with MediaPipe: it takes "
    "the key, and only the recorded build refuses it"
}
"""What the default traits judge otherwise than the record, and why."""

RULES: dict[str, set[str]] = {
    "no base_path": {"no-base-path"},
    "base_path missing dir": {"path-missing"},
    "base_path is file model.xml": {"path-file"},
    "empty list": {"no-model"},
    "no model_config_list": {"key-missing"},
    "mediapipe_config_list (mp-off build)": {"key-unknown"},
    "batch_size int": {"batch-size"},
    "batch_size str": {"batch-size"},
    "batch_size auto": {"batch-size"},
    "batch_size -1": {"batch-size"},
    "batch_size 0": {"batch-size"},
    "shape str 2 inputs": {"shape", "shape-inputs"},
    "shape dict": {"shape"},
    "shape dict dyn": {"shape"},
    "shape auto dict": {"shape"},
    "shape list (json array)": {"value"},
    "shape unknown input": {"shape", "shape-inputs"},
    "shape brackets": {"shape-ignored"},
    "layout bad": {"layout"},
    "plugin_config as string": {"value"},
    "plugin_config unknown key": {"plugin-unknown"},
    "plugin PERFORMANCE_HINT bad": {"plugin-value"},
    "plugin AFFINITY(legacy)": {"plugin-renamed"},
    "nireq -1": {"value"},
    "nireq str": {"value"},
    "nireq too big": {"nireq-too-high"},
    "target_device BATCH:CPU(4)": {"device-batch"},
    "target_device GPU(absent)": {"device-absent"},
    "policy specific missing": {"version-missing"},
    "policy str": {"value"},
    "policy two": {"value"},
    "stateful": {"key-unknown"},
    "low_latency": {"key-unknown"},
    "mean": {"key-unknown"},
    "precision": {"key-unknown"},
    "unknown key": {"key-unknown"},
    "extra top key": {"key-unknown"},
    "duplicate names": {"name-twice"},
    "monitoring bad metric": {"metric-unknown"},
    "name with slash": {"name-url"},
    "name empty": {"name-url"},
}
"""Rules by recorded case; the other cases have no finding but those of `UNSAID`."""

UNSAID = {"precision-unsaid", "batch-unbounded"}
"""What the recorded files leave out, which is not what they were made to show."""


class RecordedFiles:
    """What the recorded server had: a model of two inputs in version 1 of /models/cls."""

    def kind(self, path: str) -> Any:
        return {"/models/cls": "folder", "/models/cls/1/model.xml": "file"}.get(path, "missing")

    def versions(self, _path: str) -> list[int]:
        return [1]

    def models(self, _path: str, _version: int) -> list[str]:
        return ["model.bin", "model.xml"]

    def inputs(self, _path: str, _version: int) -> dict[str, int | None]:
        return {"input_ids": 2, "attention_mask": 2}


class StartedFiles:
    """What the recorded server had at its starts: the text model, and the token model beside it."""

    def kind(self, path: str) -> Any:
        models = {"models/emotions", "models/emotions-tokens", "models"}
        return "folder" if path.strip("/") in models else "missing"

    def versions(self, path: str) -> list[int]:
        return [] if path.strip("/") == "models" else [1]

    def models(self, _path: str, _version: int) -> list[str]:
        return ["model.bin", "model.xml"]

    def inputs(self, path: str, _version: int) -> dict[str, int | None]:
        return {"input_ids": 2, "attention_mask": 2} if "tokens" in path else {"text": 1}


def _cases(shared: Path, name: str) -> list[dict[str, Any]]:
    path = shared / "ovms" / name
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    cases: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return cases


@pytest.fixture(scope="module")
def oracle(shared):
    return _cases(shared, "config_oracle.json")


def test_every_recorded_start_is_foretold(shared):
    cases = _cases(shared, "config_oracle_start.json")
    assert len(cases) == 52
    starts = {"served": "serves", "server exits": "exits"}
    found = {
        case["case"]: start_verdict(
            validate_text(case["config_text"].encode(), files=StartedFiles())
        )
        for case in cases
    }
    assert found == {c["case"]: starts.get(c["verdict"], "unserved") for c in cases}


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + b'{"model_config_list": []}',
        b'{"model_config_list": [{"config": {"name": "m", "base_path": "/m", "batch_size": "0"}}]}',
        b'{"model_config_list": [], "monitoring": {"metrics": {"enable": true, "metrics_list": '
        b'["ovms_nothing"]}}}',
    ],
)
def test_what_only_ends_a_start_is_an_error_too(data):
    findings = validate_text(data)
    assert start_verdict(findings) == "exits"
    assert "error" in {finding.severity for finding in findings}


def test_every_recorded_verdict_is_the_validators_too(oracle):
    assert len(oracle) == 58
    found = {c["case"]: validate(c["config"], RECORDED, RecordedFiles()) for c in oracle}
    assert {name: reload_status(f) for name, f in found.items()} == {
        case["case"]: case["http"] for case in oracle
    }
    said = {name: {f.rule for f in fs} - UNSAID for name, fs in found.items()}
    assert said == {name: RULES.get(name, set()) for name in found}


def test_the_published_image_differs_from_the_record_where_it_is_said_to(oracle):
    differing = [
        case["case"]
        for case in oracle
        if reload_status(validate(case["config"], ServerTraits(), RecordedFiles())) != case["http"]
    ]
    for name in differing:
        reason = DISAGREEMENTS.get(name, "no reason is given")
        print(f"disagreement by choice: {name}: {reason}")  # noqa: T201
    assert differing == list(DISAGREEMENTS)


def test_no_case_that_serves_nothing_goes_by_in_silence(oracle):
    for case in oracle:
        if "AVAILABLE" not in case["states"]:
            findings = validate(case["config"], RECORDED, RecordedFiles())
            assert {f.rule for f in findings} - UNSAID, case["case"]


GOOD: dict[str, Any] = {
    "model_config_list": [
        {
            "config": {
                "name": "m",
                "base_path": "/models/m",
                "batch_size": "1:256",
                "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"},
            }
        }
    ]
}


def with_model(**values: Any) -> dict[str, Any]:
    config = copy.deepcopy(GOOD)
    config["model_config_list"][0]["config"] |= values
    return config


def with_plugin(**options: Any) -> dict[str, Any]:
    return with_model(plugin_config={"INFERENCE_PRECISION_HINT": "f32", **options})


def with_metrics(**values: Any) -> dict[str, Any]:
    return copy.deepcopy(GOOD) | {"monitoring": {"metrics": values}}


ERRORS = {"device-absent", "key-missing", "key-unknown", "layout", "metric-unknown"}
ERRORS |= {"plugin-read-only", "plugin-unknown", "plugin-value", "value"}
"""Rules whose findings are errors; those of the others are warnings."""


def test_a_plain_good_config_has_no_finding():
    assert validate(GOOD) == []
    assert validate(with_plugin(NUM_STREAMS="2", ENABLE_CPU_PINNING=False, PERF_COUNT="NO")) == []
    assert validate(with_metrics(enable=True, metrics_list=["ovms_graph_error"])) == []


@pytest.mark.parametrize(
    ("config", "rule", "words"),
    [
        ([], "value", "it is []; it must be an object"),
        (with_model(nireq=True), "value", "a whole number of at least 0"),
        (with_model(Nireq=1), "key-unknown", "did you mean nireq?"),
        (with_model(batch_size=10**30), "value", "whole number or a text"),
        (with_model(model_version_policy={}), "value", "exactly one of latest"),
        (
            with_model(model_version_policy={"specific": {"versions": []}}),
            "version-missing",
            "names no version",
        ),
        (with_model(custom_loader_options={}), "key-missing", '"loader_name" is missing'),
        (with_model(color_format="RGB"), "key-unknown", "only for the command line"),
        (with_model(batch_size="many"), "batch-size", "is no size"),
        (with_model(batch_size=2, shape="auto"), "batch-size", "ignored beside shape"),
        (with_model(layout="N:C:H"), "layout", "at most one colon"),
        (with_model(layout="{oops"), "layout", "is no layout"),
        (with_model(target_device="cpu"), "device-absent", "it has CPU"),
        (with_model(target_device="AUTO:GPU.1,CPU"), "device-absent", '"GPU"'),
        (with_model(name="a b"), "name-url", "does not fit into /v2/models/NAME"),
        (with_model(plugin_config={}), "precision-unsaid", "rounds the probabilities"),
        (with_model(nireq=1) | {"x": 1}, "key-unknown", "allowed are model_config_list"),
        (with_plugin(NUM_STREAM=1), "plugin-unknown", "did you mean NUM_STREAMS?"),
        (with_plugin(NUM_STREAMS="two"), "plugin-value", "AUTO or NUMA"),
        (with_plugin(FULL_DEVICE_NAME="x"), "plugin-read-only", "not set"),
        (with_plugin(NUM_STREAMS=2, PERFORMANCE_HINT="LATENCY"), "hint-and-streams", "contradict"),
        (
            with_plugin(NUM_STREAMS=8, INFERENCE_NUM_THREADS=4),
            "streams-above-threads",
            "8 streams share 4 threads",
        ),
        (with_plugin(ENABLE_CPU_RESERVATION=True), "plugin-reservation", "finds none"),
        (
            with_model(nireq=2, plugin_config={"NUM_STREAMS": 4}),
            "nireq-below-streams",
            "cannot feed 4 streams",
        ),
        (with_metrics(enable=True, metrics_list=[]), "metrics-off", "no metric"),
        (
            with_metrics(enable=True, metrics_list=["ovms_stream"]),
            "metric-unknown",
            "did you mean ovms_streams?",
        ),
        (
            with_metrics(enable=True, metrics_list=["ovms_streams", "ovms_streams"]),
            "metric-twice",
            "no further",
        ),
        (GOOD | {"pipeline_config_list": [{"name": "p"}]}, "key-missing", '"nodes" is missing'),
    ],
)
def test_each_wrong_config_is_one_clear_sentence(config, rule, words):
    found = [finding for finding in validate(config) if finding.rule == rule]
    assert found, [str(finding) for finding in validate(config)]
    assert (found[0].severity == "error") == (rule in ERRORS)
    assert words in found[0].message
    assert "\n" not in str(found[0])
    assert (found[0].status is None) == (rule not in ERRORS)


def test_what_a_file_calls_its_keys_cannot_break_the_line():
    [finding] = validate(GOOD | {"a\n\x1b[31mb": 1})
    assert str(finding).isprintable()


@pytest.mark.parametrize(
    ("data", "rule", "words"),
    [
        (b"", "not-json", "not valid JSON"),
        (b"{", "not-json", "line 1"),
        (b'{"model_config_list": [],}', "not-json", "not valid JSON"),
        (b'{"model_config_list": [NaN]}', "not-json", "NaN is no JSON number"),
        (b"\xff{}", "not-json", "not UTF-8 text: byte 0"),
        (b"[" * 100_000, "not-json", "nested too deeply"),
        (b"[" * 900 + b"]" * 900, "value", "it must be an object"),
        (b'{"model_config_list": ["\\ud800"]}', "not-json", "half of a surrogate pair"),
        (b'{"a": 1, "a": 2, "model_config_list": []}', "key-unknown", "no such key"),
    ],
)
def test_what_is_no_json_is_one_sentence(data, rule, words):
    first = validate_text(data)[0]
    assert (first.rule, first.severity, first.status) == (rule, "error", 412)
    assert words in first.message


def test_of_a_key_that_stands_twice_the_first_counts_as_in_the_server():
    model = '{"name": "m", "base_path": "/m", "nireq": 1, "nireq": "x"}'
    findings = validate_text(f'{{"model_config_list": [{{"config": {model}}}]}}'.encode())
    assert "key-twice" in {finding.rule for finding in findings}
    assert not [finding for finding in findings if finding.severity == "error"]


KEYS = "config name base_path shape layout nireq plugin_config metrics NUM_STREAMS batch_size"
POLICY_KEYS = "model_version_policy specific versions latest num_versions all"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(f"{KEYS} {POLICY_KEYS}".split()), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(JSON)
def test_no_value_anywhere_makes_the_validator_fail(value):
    for config in (
        value,
        {"model_config_list": value},
        {"model_config_list": [{"config": value}]},
        GOOD | {"monitoring": value},
        *(with_model(**{key: value}) for key in ("shape", "layout", "plugin_config", "name")),
        with_model(model_version_policy=value, batch_size=value, target_device=value),
    ):
        for finding in validate(config, files=RecordedFiles()):
            assert finding.severity in ("error", "warning")


@pytest.fixture
def repository(tmp_path, tiny_model):
    folder = tmp_path / "repository" / "m" / "2"
    folder.mkdir(parents=True)
    ov.save_model(tiny_model, folder / "model.xml")
    (folder.parent / ".3.tmp").mkdir()
    return tmp_path / "repository"


def check(config: Any, repository: Path) -> list[tuple[str, str]]:
    files = LocalFiles({"/models": repository})
    return [(finding.severity, finding.rule) for finding in validate(config, files=files)]


def test_the_folders_of_a_mounted_repository_are_looked_at(repository):
    assert check(GOOD, repository) == []
    assert check(with_model(base_path="/models/other"), repository) == [("error", "path-missing")]
    assert check(with_model(base_path="/models"), repository) == [("warning", "no-version")]
    assert check(with_model(base_path="/elsewhere/m"), repository) == []
    assert check(with_model(base_path="s3://bucket/m"), repository) == []
    policy = {"specific": {"versions": [1, 2]}}
    assert check(with_model(model_version_policy=policy), repository) == [
        ("warning", "version-missing")
    ]


def test_the_inputs_are_read_from_the_model(repository):
    wrong = with_model(shape={"input_ids": "(1,16)", "ids": "(1,16)"})
    assert ("error", "shape-inputs") in check(wrong, repository)
    right = with_model(shape={"input_ids": "(1,16)", "attention_mask": "(1,16)"})
    assert ("error", "shape-inputs") not in check(right, repository)


def test_a_version_folder_must_hold_one_whole_model(repository):
    folder = repository / "m" / "2"
    (folder / "tokenizer.xml").write_text("<net/>", encoding="utf-8")
    (folder / "tokenizer.bin").write_bytes(b"")
    assert check(GOOD, repository) == [("warning", "several-models")]
    (folder / "tokenizer.xml").unlink()
    (folder / "model.bin").unlink()
    assert check(GOOD, repository) == [("error", "no-weights")]
    (folder / "model.xml").unlink()
    assert check(GOOD, repository) == [("error", "no-model")]


def test_a_relative_path_starts_at_the_configs_folder(repository):
    files = LocalFiles(base=repository)
    assert validate(with_model(base_path="m"), files=files) == []
    assert validate(with_model(base_path="n"), files=files)[0].rule == "path-missing"


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"none\.json cannot be read: No such file"):
        validate_file(tmp_path / "none.json")


def test_the_known_options_are_those_of_the_installed_openvino():
    if not ov.get_version().startswith("2026.4"):
        pytest.skip(f"the options are those of OpenVINO 2026.4; this is {ov.get_version()}")
    found = shared_core().get_property("CPU", "SUPPORTED_PROPERTIES")
    read_only = {key for key, access in found.items() if access == "RO"}
    assert read_only == set(READ_ONLY)
    # The server adds ENABLE_MMAP of its own.
    assert set(found) - read_only == set(WRITABLE) - {"ENABLE_MMAP"}
    assert set(shared_core().get_property("AUTO", "SUPPORTED_PROPERTIES")) == set(AUTO_OPTIONS)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("CPU_DENORMALS_OPTIMIZATION", ("YES", "no", "true", "0", "on")),
        ("DEVICE_ID", ("", "0")),
        ("ENABLE_CPU_PINNING", ("YES", "false", "True", "1", "off", "", "maybe")),
        ("ENABLE_HYPER_THREADING", ("true", "2")),
        ("EXECUTION_MODE_HINT", ("PERFORMANCE", "ACCURACY", "FAST")),
        ("INFERENCE_NUM_THREADS", ("0", "1", "2.000000", "-1", "all")),
        ("INFERENCE_PRECISION_HINT", ("f32", "bf16", "f16", "FP32", "undefined", "i8", "F32")),
        ("NUM_STREAMS", ("AUTO", "NUMA", "1", "-1", "-2", "-5", "one")),
        ("PERFORMANCE_HINT", ("LATENCY", "THROUGHPUT", "latency", "UNDEFINED", "")),
        ("PERFORMANCE_HINT_NUM_REQUESTS", ("0", "4", "x")),
        ("PERF_COUNT", ("NO", "true", "x")),
        ("SCHEDULING_CORE_TYPE", ("ANY_CORE", "PCORE")),
    ],
)
def test_the_values_of_options_are_judged_as_openvino_judges_them(key, values, tiny_model):
    for value in values:
        findings = list(check_plugin({key: value}, "plugin_config"))
        refused = any(finding.rule == "plugin-value" for finding in findings)
        try:
            # In a thread that ends: the option for denormals changes how the one that compiles
            # computes from then on.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(shared_core().compile_model, tiny_model, "CPU", {key: value}).result()
        except RuntimeError:
            assert refused, f"{key}={value!r} does not compile"
        else:
            assert not refused, f"{key}={value!r} compiles"
