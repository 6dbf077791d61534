from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import openvino as ov
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from tokenizers import Tokenizer, normalizers

from ov_emotions import bundle as module
from ov_emotions.bundle import SHIPPED, Bundle, resolve, shipped, write_bundle
from ov_emotions.errors import (
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
    InputError,
)
from ov_emotions.files import sha256_file
from ov_emotions.manifest import (
    CARD_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    Manifest,
)


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    tiny_bundle.save(tmp_path / "copy")
    return tmp_path / "copy"


def edit(folder: Path, change: Callable[[dict[str, Any]], object], *, rehash: bool = True) -> None:
    """Change the manifest as a forger would, its own hash made right."""
    path = folder / MANIFEST_NAME
    raw = json.loads(path.read_text(encoding="utf-8"))
    change(raw)
    if rehash:
        facts = {key: value for key, value in raw.items() if key != "manifest_sha256"}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        raw["manifest_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(raw), encoding="utf-8")


def test_what_is_written_is_what_is_loaded(tiny_bundle: Bundle, tiny_manifest: Manifest) -> None:
    loaded = Bundle.load(tiny_bundle.folder)
    assert loaded == tiny_bundle
    assert loaded.manifest.replace(files={}) == tiny_manifest
    assert set(loaded.manifest.files) == {MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME, CARD_NAME}
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_the_facts_are_stamped_into_the_model_as_texts(tiny_bundle: Bundle) -> None:
    info = ov.Core().read_model(tiny_bundle.model_path).get_rt_info(["model_info"]).value
    manifest = tiny_bundle.manifest
    assert info.pop("model_type") == "emotions"
    for key in ("labels", "label_names_ru", "thresholds"):
        assert json.loads(info.pop(key)) == json.loads(json.dumps(getattr(manifest, key)))
    assert info == {
        "name": "tiny",
        "normalizer": "asr-1",
        "max_length": "16",
        "precision": "fp32",
        "inference_precision": "f32",
        "base_model": "owner/base",
        "licence": "MIT",
        "schema_version": "1",
    }


def test_the_card_is_made_from_the_manifest(tiny_bundle: Bundle) -> None:
    card = (tiny_bundle.folder / CARD_NAME).read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: ru\nlicense: mit\n")
    assert "| joy | радость | 0.600 |" in card
    assert "| test | fp32 | 3 | 0.500 | 0.250 |" in card
    assert "| test | fp32 | 0.750 |  |  |" in card
    assert "| [set](https://example.org) | 3 | MIT | its authors |" in card
    assert '"seed": 1' in card


def test_saving_copies_every_file_and_nothing_else(tiny_bundle: Bundle, copy: Path) -> None:
    names = {path.name for path in tiny_bundle.folder.iterdir()}
    assert {path.name for path in copy.iterdir()} == names
    assert all(sha256_file(copy / n) == sha256_file(tiny_bundle.folder / n) for n in names)
    loaded = Bundle.load(copy)
    loaded.save(copy)
    assert Bundle.load(copy) == loaded, "over itself"


def test_saving_never_replaces_other_things(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for target, problem in (
        (tmp_path, r"thesis\.txt"),
        (tmp_path / "thesis.txt", "is a file"),
        (tmp_path / "thesis.txt" / "below", "cannot write the bundle to"),
    ):
        with pytest.raises(BundleError, match=problem):
            tiny_bundle.save(target)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", [MODEL_NAME, WEIGHTS_NAME, TOKENIZER_NAME, CARD_NAME])
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: whole[:-1], "is truncated or altered"),
        (lambda whole: bytes([whole[0] ^ 1]) + whole[1:], "is truncated or altered"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (None, "is missing"),
    ],
)
def test_a_damaged_file_is_refused_by_name(
    copy: Path, name: str, damage: Callable[[bytes], bytes] | None, problem: str
) -> None:
    path = copy / name
    whole = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(whole))
    with pytest.raises(BundleIntegrityError, match=rf"{re.escape(name)} .*{problem}"):
        Bundle.load(copy)


def test_an_altered_manifest_is_refused(copy: Path) -> None:
    edit(copy, lambda raw: raw["thresholds"].update(joy=0.61), rehash=False)
    with pytest.raises(BundleIntegrityError, match=r"emotions\.json does not match its own"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"name": "tiny", ', r"emotions\.json is not valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"[1]", "expected object"),
    ],
)
def test_what_is_no_manifest_is_refused(copy: Path, content: bytes, problem: str) -> None:
    (copy / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(BundleSchemaError, match=problem):
        Bundle.load(copy)


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("schema_version", True, "expected int"),
        ("schema_version", 2, "is 2.*upgrade ov-emotions"),
        ("normalizer", "asr-2", "'asr-1' and 'none'.*the version of ov-emotions"),
        ("task", "both", "one of multi_label, single_label"),
        ("name", " ", "blank"),
        ("labels", [], "at least one"),
        ("labels", ["joy", "joy"], "twice"),
        ("labels", ["anger", 1, "joy"], r"labels\[1\]: expected str"),
        ("thresholds", {"anger": 0.5, "joy": 0.5}, "none for neutral"),
        ("thresholds", {"anger": 0.5, "joy": 1.0, "neutral": 0.5}, r"of joy must lie in \(0, 1\)"),
        ("thresholds", {"anger": 0.5, "joy": float("nan"), "neutral": 0.5}, "of joy"),
        ("thresholds", {"anger": 0.5, "joy": 1e-60, "neutral": 0.5}, "of joy"),
        ("inputs", ["input_ids", "position_ids"], "position_ids"),
        ("max_length", 2, "at least 4"),
        ("precision", "int3", "one of fp32, fp16, int8, int4"),
        ("inference_precision", "fast", "one of f32, bf16"),
        ("training_data", [{"name": "x"}], r"training_data\[0\]: object missing .* licence"),
        ("files", {"../model.xml": DIGEST}, r"\.\./model\.xml"),
        ("files", {"..": DIGEST}, "inside a bundle"),
        ("files", {"": DIGEST}, "inside a bundle"),
        ("files", {"model.xml": "abc"}, "SHA-256"),
        ("files", {}, r"no hash of model\.xml"),
    ],
)
def test_a_malformed_manifest_names_file_and_key(
    copy: Path, key: str, value: object, problem: str
) -> None:
    edit(copy, lambda raw: raw.update({key: value}))
    with pytest.raises(BundleSchemaError, match=problem) as raised:
        Bundle.load(copy)
    assert str(copy / MANIFEST_NAME) in str(raised.value)
    assert key in str(raised.value)


@pytest.mark.parametrize("field", json.loads((shipped() / MANIFEST_NAME).read_text("utf-8")))
def test_every_key_is_required(copy: Path, field: str) -> None:
    edit(copy, lambda raw: raw.pop(field), rehash=field != "manifest_sha256")
    with pytest.raises((BundleSchemaError, BundleIntegrityError), match=field):
        Bundle.load(copy)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_manifest_is_written_anew_to_the_byte(name: str) -> None:
    text = (shipped(name) / MANIFEST_NAME).read_text(encoding="utf-8")
    assert Manifest.from_json(text, name).to_json() == text


def test_later_facts_are_written_where_they_are_others(tiny_manifest: Manifest) -> None:
    later = tiny_manifest.replace(
        task="single_label", thresholds={}, normalizer="none", inputs=("input_ids",)
    )
    text = later.to_json()
    assert json.loads(text)["inputs"] == ["input_ids"]
    assert Manifest.from_json(text, "x") == later
    assert {"task", "inputs"}.isdisjoint(json.loads(tiny_manifest.to_json()))


def test_folders_that_are_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleIntegrityError, match=r"emotions\.json is missing"):
        Bundle.load(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{}")
    with pytest.raises(BundleIntegrityError, match="ov-emotions export"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleNotFoundError, match="is a file"):
        Bundle.load(tmp_path / "checkpoint.json")


@pytest.mark.parametrize(
    "source", ["/no/such/folder", Path("no/such"), "./no", "", "слово " * 2000, "a/b/c"]
)
def test_a_missing_folder_is_not_found_and_not_looked_up(
    source: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(BundleNotFoundError, match="there is no folder"):
        Bundle.load(source)


@pytest.mark.parametrize("source", [None, 3, b"folder", ["folder"]])
def test_a_source_of_the_wrong_kind(source: Any) -> None:
    with pytest.raises(InputError, match=type(source).__name__):
        Bundle.load(source)


def test_a_hub_id_is_fetched_at_its_revision_or_not_found_with_the_reason(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def download(hub_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.extend([hub_id, revision, set(allow_patterns)])
        if revision is None:
            raise LocalEntryNotFoundError("no connection and nothing cached\nmore")
        return str(copy)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Bundle.load("owner/model", revision="v1").manifest.name == "tiny"
    assert asked == ["owner/model", "v1", {path.name for path in copy.iterdir()}]
    with pytest.raises(BundleNotFoundError, match=r"'owner/model'.*no connection and") as e:
        Bundle.load("owner/model")
    assert "\n" not in str(e.value)


def test_shipped_names_win_over_folders(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    models = package / "models" / SHIPPED[0]
    Bundle.load(copy).save(models)
    monkeypatch.setattr(module, "__file__", str(package / "bundle.py"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED[0]).mkdir()
    assert shipped() == resolve(SHIPPED[0]) == models
    assert resolve(f"./{SHIPPED[0]}") == tmp_path / SHIPPED[0]
    with pytest.raises(BundleNotFoundError, match=f"'{SHIPPED[1]}' is installed"):
        shipped(SHIPPED[1])
    with pytest.raises(BundleNotFoundError, match=r"'\.\.' is installed"):
        shipped("..")


def test_a_tokenizer_that_cannot_be_read_names_the_file(copy: Path) -> None:
    (copy / TOKENIZER_NAME).write_text("{}")
    digest = sha256_file(copy / TOKENIZER_NAME)
    edit(copy, lambda raw: raw["files"].update({TOKENIZER_NAME: digest}))
    with pytest.raises(BundleIntegrityError, match=r"tokenizer\.json is not a tokeniser"):
        Bundle.load(copy).tokenizer()


def test_a_bundle_that_would_not_load_is_not_written(
    tmp_path: Path, tiny_manifest: Manifest, tiny_model: ov.Model, tiny_tokenizer_json: str
) -> None:
    other = Tokenizer.from_str(tiny_tokenizer_json)
    other.normalizer = normalizers.Lowercase()
    for changes, tokenizer, problem in (
        ({"thresholds": {"joy": 0.5}}, tiny_tokenizer_json, "none for anger, neutral"),
        ({"metrics": {"fp32": float("nan")}}, tiny_tokenizer_json, "JSON cannot"),
        ({}, "{}", r"tokenizer\.json"),
        ({}, other.to_str(), r"normaliser inside tokenizer\.json"),
    ):
        manifest = tiny_manifest.replace(**changes)
        with pytest.raises(BundleSchemaError, match=problem):
            write_bundle(tmp_path / "new", manifest, tiny_model, tokenizer)
    assert list(tmp_path.iterdir()) == []
