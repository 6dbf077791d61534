from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.errors import BundleIntegrityError, InputError, RepositoryError
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.triton import build_repository, facts, render_config
from ov_emotions.serving.triton_model import TritonPythonModel
from ov_emotions.system import shared_core


def read_config(text: str) -> dict[str, Any]:
    """Parse config.pbtxt as Triton does."""
    model_config = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="the extra serving is not installed"
    )
    from google.protobuf import json_format, text_format

    parsed = text_format.Parse(text, model_config.ModelConfig())
    found: dict[str, Any] = json_format.MessageToDict(parsed, preserving_proto_field_name=True)
    return found


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_configuration_is_what_triton_parses(tiny_bundle):
    config = TritonConfig(instances=2, threads=3, separator=' "и"\\\n')
    found = read_config(render_config(tiny_bundle, config))
    assert found["name"] == "emotions"
    assert found["backend"] == "python"
    assert found.get("max_batch_size", 0) == 0
    assert found["input"] == [{"name": "text", "data_type": "TYPE_STRING", "dims": ["-1"]}]
    assert [(o["name"], o["data_type"], o["dims"]) for o in found["output"]] == [
        ("probabilities", "TYPE_FP32", ["-1", "3"]),
        ("labels", "TYPE_STRING", ["-1"]),
    ]
    assert found["instance_group"] == [{"count": 2, "kind": "KIND_CPU"}]
    parameters = {key: value["string_value"] for key, value in found["parameters"].items()}
    assert parameters == {**facts(tiny_bundle, config), "threads": "3"}
    assert json.loads(parameters["label_names_ru"])["anger"] == "гнев"


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (TritonConfig(token_in=True), {}),
        (
            TritonConfig(backend="openvino", threads=2),
            {"INFERENCE_NUM_THREADS": "2", "PERFORMANCE_HINT": "LATENCY"},
        ),
    ],
)
def test_a_token_model_is_described_as_one_with_its_own_settings(tiny_bundle, config, settings):
    found = read_config(render_config(tiny_bundle, config))
    assert found["backend"] == config.backend
    assert {i["name"]: (i["data_type"], i["dims"]) for i in found["input"]} == {
        "input_ids": ("TYPE_INT64", ["-1", "-1"]),
        "attention_mask": ("TYPE_INT64", ["-1", "-1"]),
    }
    assert [output["name"] for output in found["output"]] == ["probabilities"]
    told = {key: value["string_value"] for key, value in found["parameters"].items()}
    assert told.items() >= {"input": "tokens", **settings}.items()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"backend": "onnx"}, "backend: .* must be one of python, openvino"),
        ({"names": "de"}, "names: .* must be one of ru, en"),
        ({"long_texts": "cut"}, "long_texts: .* must be one of window, truncate"),
        ({"name": "../x"}, "cannot name a model"),
        ({"name": ""}, "cannot name a model"),
        ({"separator": ""}, "separator: expected str of length >= 1"),
        ({"instances": 0}, "instances: expected int >= 1"),
        ({"threads": True}, "threads: expected int"),
        ({"threads": 10**11}, "threads: expected int <= 1024"),
    ],
)
def test_settings_that_make_no_sense(options, problem):
    with pytest.raises(InputError, match=problem):
        TritonConfig(**options)


def test_a_separator_inside_a_name_is_refused_before_anything_is_written(tiny_bundle, tmp_path):
    with pytest.raises(InputError, match="stands in the name 'гнев'"):
        build_repository(tiny_bundle, tmp_path / "repository", TritonConfig(separator="н"))
    assert not (tmp_path / "repository").exists()


def test_the_same_bundle_once_more_changes_nothing(tiny_bundle, tmp_path):
    first = build_repository(tiny_bundle, tmp_path)
    assert (first.version, first.changed) == (1, True)
    before = listing(tmp_path)
    again = build_repository(tiny_bundle, tmp_path)
    assert (again.version, again.changed, again.folder) == (1, False, first.folder)
    assert listing(tmp_path) == before
    other = build_repository(tiny_bundle, tmp_path, TritonConfig(names="en"))
    assert (other.version, other.changed) == (2, True)
    assert sorted(path.name for path in (tmp_path / "emotions").iterdir()) == [
        "1",
        "2",
        "config.pbtxt",
    ]


def test_what_is_not_ours_is_refused_and_left_alone(tiny_bundle, tmp_path):
    folder = tmp_path / "emotions"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RepositoryError, match=r"holds 'notes.txt'"):
        build_repository(tiny_bundle, tmp_path)
    (folder / "notes.txt").unlink()
    (folder / "config.pbtxt").write_text('backend: "openvino"')
    with pytest.raises(RepositoryError, match="not of a model for the python backend"):
        build_repository(tiny_bundle, tmp_path)
    assert listing(tmp_path) == {"emotions/config.pbtxt": b'backend: "openvino"'}


def test_a_failure_leaves_the_repository_as_it_was(tiny_bundle, tmp_path, monkeypatch):
    build_repository(tiny_bundle, tmp_path)
    before = listing(tmp_path)

    def fail(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ov_emotions.serving.repository.write_text", fail)
    with pytest.raises(RepositoryError, match="No space left"):
        build_repository(tiny_bundle, tmp_path, TritonConfig(names="en"))
    assert listing(tmp_path) == before


def test_the_token_model_gives_the_probabilities_of_the_classifier(
    tiny_bundle, tiny_classifier, tmp_path
):
    published = build_repository(tiny_bundle, tmp_path, TritonConfig(backend="openvino"))
    model = shared_core().read_model(published.folder / "model.xml")
    assert model.get_rt_info(["model_info", "normalizer"]).value == "asr-1"
    tokenizer = tiny_bundle.tokenizer()
    ids = np.array([tokenizer.encode("какая радость").ids], dtype=np.int64)
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    scores = compiled({"input_ids": ids, "attention_mask": np.ones_like(ids)})["probabilities"]
    np.testing.assert_allclose(
        scores, tiny_classifier.predict_proba(["какая радость"]), rtol=0, atol=1e-6
    )
    assert isinstance(model, ov.Model)


class Tensor:
    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> Any:
        return self.array


class TritonError:
    INVALID_ARG, INTERNAL = "INVALID_ARG", "INTERNAL"

    def __init__(self, message: str, code: str) -> None:
        self.message, self.code = message, code


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor], error: TritonError | None = None) -> None:
        self.outputs = {tensor.name: tensor.array for tensor in output_tensors}
        self.error = error


@pytest.fixture
def backend_utils(monkeypatch):
    """What only Triton's process has."""
    module = types.ModuleType("triton_python_backend_utils")
    module.Tensor = Tensor
    module.TritonError = TritonError
    module.InferenceResponse = InferenceResponse
    module.get_input_tensor_by_name = lambda request, name: Tensor(name, request[name])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield


def load(bundle: Bundle, repository: Path, config: TritonConfig) -> TritonPythonModel:
    published = build_repository(bundle, repository, config)
    model = TritonPythonModel()
    text = (published.folder.parent / "config.pbtxt").read_text(encoding="utf-8")
    model.initialize(
        {
            "model_config": json.dumps(read_config(text)),
            "model_repository": str(published.folder.parent),
            "model_version": str(published.version),
        }
    )
    return model


def texts(*values: str | bytes) -> dict[str, Any]:
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    return {"text": np.array(raw, dtype=np.object_)}


@pytest.mark.usefixtures("backend_utils")
def test_the_python_model_answers_as_the_classifier_does(tiny_bundle, tiny_classifier, tmp_path):
    model = load(tiny_bundle, tmp_path, TritonConfig(threads=1))
    asked = ["какая радость", "злость", "", "слово " * 40 + "радость"]
    good, bad, empty = model.execute([texts(*asked), texts("слово", b"\xff"), texts()])
    np.testing.assert_array_equal(
        good.outputs["probabilities"], tiny_classifier.predict_proba(asked)
    )
    assert good.outputs["probabilities"].dtype == np.float32
    assert [label.decode() for label in good.outputs["labels"]][:3] == ["радость", "гнев", ""]
    assert (bad.error.code, bad.error.message) == (
        "INVALID_ARG",
        "the text at position 1 is not UTF-8",
    )
    assert empty.outputs["probabilities"].shape == (0, 3)
    assert empty.outputs["labels"].shape == (0,)
    model.finalize()
    (closed,) = model.execute([texts("слово")])
    assert closed.error.code == "INTERNAL"


@pytest.mark.usefixtures("backend_utils")
def test_the_python_model_obeys_its_parameters(tiny_bundle, tmp_path):
    config = TritonConfig(names="en", separator="|", long_texts="truncate", threads=1)
    model = load(tiny_bundle, tmp_path, config)
    (found,) = model.execute([texts("радость", "слово " * 40 + "радость " * 20)])
    assert found.outputs["labels"].tolist()[0] == b"joy"
    assert found.outputs["probabilities"][1][1] < 0.9, "only the beginning was read"


def tokens(ids: Any, mask: Any) -> dict[str, Any]:
    return {"input_ids": np.array(ids, np.int64), "attention_mask": np.array(mask, np.int64)}


@pytest.mark.usefixtures("backend_utils")
def test_the_python_model_takes_tokens_where_it_was_built_to(
    tiny_bundle, tiny_classifier, tmp_path
):
    model = load(tiny_bundle, tmp_path, TritonConfig(token_in=True, threads=1))
    encoded = tiny_bundle.tokenizer().encode("какая радость")
    ids, special = encoded.ids, [encoded.ids[0], encoded.ids[-1]]
    padded = special + [0] * (len(ids) - 2)
    found, empty = model.execute(
        [
            tokens([ids, padded], [[1] * len(ids), [1, 1] + [0] * (len(ids) - 2)]),
            tokens(np.empty((0, 3)), np.empty((0, 3))),
        ]
    )
    expected = tiny_classifier.predict_proba(["какая радость", ""])
    np.testing.assert_allclose(found.outputs["probabilities"], expected, rtol=0, atol=1e-6)
    assert found.outputs["probabilities"].dtype == np.float32
    assert list(found.outputs) == ["probabilities"]
    assert empty.outputs["probabilities"].shape == (0, 3)
    model.finalize()
    (closed,) = model.execute([tokens([ids], [[1] * len(ids)])])
    assert closed.error.code == "INTERNAL"


@pytest.mark.usefixtures("backend_utils")
def test_tokens_that_make_no_sense_are_refused_with_the_reason(tiny_bundle, tmp_path):
    model = load(tiny_bundle, tmp_path, TritonConfig(token_in=True, threads=1))
    long = [[2] * (tiny_bundle.manifest.max_length + 1)]
    for ids, mask, problem in [
        ([[2, 3]], [[1]], "must be [texts, tokens]"),
        ([2, 3], [1, 1], "must be [texts, tokens]"),
        ([[2, -1]], [[1, 1]], "input_ids must lie in 0 to"),
        ([[2, 10**9]], [[1, 1]], "input_ids must lie in 0 to"),
        ([[2, 3]], [[1, 7]], "only 0 and 1"),
        (long, np.ones_like(long), "and the model reads"),
    ]:
        (found,) = model.execute([tokens(ids, mask)])
        assert found.error.code == "INVALID_ARG"
        assert problem in found.error.message


def test_a_token_model_does_not_take_the_place_of_a_text_model(tiny_bundle, tmp_path):
    build_repository(tiny_bundle, tmp_path)
    before = listing(tmp_path)
    with pytest.raises(RepositoryError, match="a model that takes text, not tokens"):
        build_repository(tiny_bundle, tmp_path, TritonConfig(token_in=True))
    assert listing(tmp_path) == before
    command = ["triton", "build", str(tiny_bundle.folder), str(tmp_path), "--token-in"]
    assert main(command) == 0
    assert (tmp_path / "emotions-tokens" / "1" / "model.py").is_file()
    assert main([*command, "--name", ""]) == 1, "an empty name is not the default one"


@pytest.mark.usefixtures("backend_utils")
def test_a_configuration_of_another_bundle_is_refused(tiny_bundle, tmp_path):
    published = build_repository(tiny_bundle, tmp_path)
    path = published.folder.parent / "config.pbtxt"
    text = path.read_text(encoding="utf-8").replace('\\"joy\\": 0.6', '\\"joy\\": 0.5')
    args = {
        "model_config": json.dumps(read_config(text)),
        "model_repository": str(published.folder.parent),
        "model_version": "1",
    }
    with pytest.raises(BundleIntegrityError, match="facts of another bundle"):
        TritonPythonModel().initialize(args)


def test_the_command_builds_and_says_where(tiny_bundle, tmp_path, capsys):
    command = ["triton", "build", str(tiny_bundle.folder), str(tmp_path), "--name", "mood"]
    assert main(command) == 0
    assert "version 1" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(tmp_path / "mood" / "1"),
        "version": 1,
        "changed": False,
    }
    assert main(["triton", "build", str(tmp_path / "none"), str(tmp_path)]) == 1
    assert "there is no folder" in capsys.readouterr().err
