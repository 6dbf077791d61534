"""The whole way on a tiny random encoder: train, resume, export, quantize, evaluate, classify."""

from __future__ import annotations

import json
import shutil

import numpy as np
import openvino as ov
import pytest
from raw_sets import TELLING

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)


from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.conversion.ir import ParityCheck, to_ir, torch_reference
from ov_emotions.conversion.run import to_fp32
from ov_emotions.conversion.sources import open_source
from ov_emotions.errors import (
    AlreadyQuantizedError,
    CheckpointError,
    DataError,
    ExportError,
    InputError,
)
from ov_emotions.evaluation.run import evaluate, record_metrics
from ov_emotions.quantization.quantize import quantize_bundle
from ov_emotions.quantization.recipe import PtqConfig, Recipe

INT8 = Recipe("int8", "", "int8", PtqConfig(subset_size=40))


# Export


def test_the_bundle_carries_the_checkpoint_s_facts_and_its_parity(fp32, facts):
    manifest = Bundle.load(fp32.folder).manifest
    assert manifest.precision == "fp32"
    assert manifest.labels == facts.labels
    assert dict(manifest.thresholds) == pytest.approx(facts.thresholds)
    assert manifest.max_length == 24
    learned = {source.name for source in manifest.training_data}
    assert learned == {"ru_goemotions", "brighter_rus", "cedr", "ru_izard"}
    parity = manifest.provenance["parity"]
    assert {"3-8", "9-16"} <= set(parity["groups"])
    assert all(group["texts"] > 0 for group in parity["groups"].values())
    assert 0 <= parity["largest"] < 1e-4


def test_texts_longer_than_the_encoder_reads_are_compared_up_to_its_length(checkpoint, tmp_path):
    _, parity = to_fp32(ConversionConfig(str(checkpoint), tmp_path / "long"), None)
    assert parity.groups["33-64"]["texts"] > 0
    assert "65-512" not in parity.groups


def test_an_ir_that_differs_from_torch_is_refused(checkpoint, tmp_path):
    found = open_source(ConversionConfig(str(checkpoint), tmp_path))
    assert found.load is not None
    original = found.load()
    model = to_ir(original, found.positions, lambda *_: None)
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and list(node.get_output_shape(0)) == [1, 7]:
            shifted = ov.opset13.constant(node.data + np.float32(0.01))
            node.output(0).replace(shifted.output(0))
    rows = {"3-8": [np.array([2, 6, 7, 3], dtype=np.int32)]}
    check = ParityCheck(torch_reference(original), rows, 0, "it")
    with pytest.raises(ExportError, match="differs from the original"):
        check(model)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("checkpoint.json", lambda content: content[:-20], "not valid JSON"),
        ("checkpoint.json", lambda content: content.replace(b'"thres', b'"x'), "thresholds"),
        ("head.json", lambda content: content[:-20], "not valid JSON"),
        ("model.safetensors", lambda content: content[:-20], "not a usable checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_refused(checkpoint, tmp_path, name, spoil, message):
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    (broken / name).write_bytes(spoil((broken / name).read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        to_fp32(ConversionConfig(str(broken), tmp_path / "out"), None)
    assert not (tmp_path / "out").exists()


def _element_types(bundle: Bundle, rows: int) -> list[str]:
    model = ov.Core().read_model(bundle.model_path)
    return [
        node.get_output_element_type(0).get_type_name()
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
        and len(shape := list(node.get_output_shape(0))) == 2
        and shape[0] == rows
        and shape[1] == 32
    ]


def test_embeddings_are_int8_with_one_scale_a_row(fp32, int8):
    words = fp32.tokenizer().get_vocab_size()
    assert _element_types(fp32, words) == ["f32"]
    assert _element_types(int8, words) == ["i8"]
    sizes = [bundle.model_path.with_suffix(".bin").stat().st_size for bundle in (fp32, int8)]
    assert sizes[1] < sizes[0] / 2


# INT8


def test_thresholds_are_refitted_on_the_int8_model_and_it_says_how_it_was_made(
    fp32, int8, prepared
):
    from ov_emotions.thresholds import fit_thresholds

    part = prepared.validation_part("thresholds")
    probabilities = EmotionClassifier(int8, threads=1).predict_proba(list(part.texts))
    expected = fit_thresholds(probabilities, part.targets)
    np.testing.assert_allclose(int8.manifest.threshold_array(), expected, atol=1e-6)
    assert int8.manifest.thresholds != fp32.manifest.thresholds
    record = int8.manifest.provenance["quantization"]
    assert record["calibration_texts"] == 40
    assert record["smooth_quant_alpha"] == 0.95
    assert record["fake_quantize_operations"] > 0
    assert "parity" in int8.manifest.provenance


def test_a_quantized_bundle_is_not_quantized_again(int8, prepared, tmp_path):
    with pytest.raises(AlreadyQuantizedError, match="the fp32 bundle or the checkpoint"):
        quantize_bundle(int8, prepared, tmp_path / "again", INT8)
    # Even where the manifest says otherwise.
    disguised = Bundle(int8.folder, int8.manifest.replace(precision="fp32"))
    with pytest.raises(AlreadyQuantizedError):
        quantize_bundle(disguised, prepared, tmp_path / "again", INT8)
    assert not (tmp_path / "again").exists()


def test_the_int8_model_decides_nearly_as_the_float_one(fp32, int8, prepared):
    texts = list(prepared.split("test_goemotions").texts)
    probabilities = [EmotionClassifier(b, threads=1).predict_proba(texts) for b in (fp32, int8)]
    assert np.abs(probabilities[0] - probabilities[1]).mean() < 0.05


# Evaluation and classification


def test_figures_are_recorded_in_the_manifest_and_the_card(fp32, int8, prepared, tmp_path):
    int8.save(tmp_path / "int8")
    bundle = Bundle.load(tmp_path / "int8")
    splits = ["test_goemotions", "test_cedr", "validation:selection"]
    results = [evaluate(b, prepared, splits) for b in (fp32, bundle)]
    recorded = record_metrics(bundle, results)
    metrics = Bundle.load(recorded.folder).manifest.metrics
    assert set(metrics) == {"fp32", "int8"}
    scores = metrics["int8"]["test_goemotions"]
    assert scores["macro_f1"] > 0.9
    low, high = scores["intervals_95"]["macro_f1"]
    assert low <= scores["macro_f1"] <= high
    assert set(metrics["int8"]["test_cedr"]["labels"]) == set(TELLING) - {"disgust", "neutral"}
    assert f"{scores['macro_f1']:.3f}" in (recorded.folder / "README.md").read_text("utf-8")
    before, after = (EmotionClassifier(b, threads=1) for b in (int8, recorded))
    np.testing.assert_array_equal(
        before.predict_proba(["радость"]), after.predict_proba(["радость"])
    )


def test_figures_of_something_else_are_not_recorded(fp32, int8, prepared):
    own = evaluate(int8, prepared, ["test_cedr"])
    float_figures = evaluate(fp32, prepared, ["test_cedr"])
    with pytest.raises(InputError, match="none of the figures is of"):
        record_metrics(int8, [float_figures])
    with pytest.raises(InputError, match="none of the figures is of"):
        record_metrics(int8, [own.replace(inference_precision="bf16")])
    with pytest.raises(InputError, match="figures of another do not belong to tiny"):
        record_metrics(int8, [own, float_figures.replace(model="another")])
    with pytest.raises(InputError, match="same precision"):
        record_metrics(int8, [own, own])


@pytest.mark.parametrize(
    "split", ["dev", "validation:rest", "validation:", "test_cedr:selection", "train:"]
)
def test_a_split_that_does_not_exist_is_refused(int8, prepared, split):
    with pytest.raises(DataError):
        evaluate(int8, prepared, [split])


def test_what_a_check_list_says_is_recorded_and_the_card_tells_the_weak_groups(
    fp32, int8, tmp_path, capsys
):
    path = tmp_path / "list.csv"
    lines = ["good,радость,joy,", "bad,радость,,joy", "bad,просто злюсь,anger,"]
    path.write_text("\n".join(["group,text,must,must_not", *lines]), encoding="utf-8")
    int8.save(tmp_path / "int8")
    own = str(tmp_path / "int8")
    for model, record in ((str(fp32.folder), own), (own, own)):
        code = main(["evaluate", model, "--checklist", str(path), "--record", record])
        assert code == (0 if model == own else 1)
    assert "the check list was not run with" in capsys.readouterr().err
    found = Bundle.load(own).manifest.metrics["checklist"]
    assert (found["lines"], found["file"], len(found["groups"])) == (3, "list.csv", 2)
    assert found["groups"][1]["fails"]["text"] == "радость"
    card = (tmp_path / "int8" / "README.md").read_text(encoding="utf-8")
    assert "## What it misreads" in card
    assert "| bad | " in card
    assert "| good | " not in card


def test_the_classifier_reads_the_words(int8):
    classifier = EmotionClassifier.from_pretrained(int8.folder, threads=1)
    for label, word in TELLING.items():
        prediction = classifier(f"Утро, дорога и {word.upper()}! Стол, окно [NAME]")
        assert prediction.labels[0] == label


def test_the_commands_print_nothing_but_json(checkpoint, prepared_folder, tmp_path, capfd):
    def answer(*arguments: str):
        assert main([*arguments, "--data", str(prepared_folder), "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    exported = answer("export", str(checkpoint), str(tmp_path / "fp32"), "--name", "tiny")
    assert exported["parity"]["largest"] < 1e-4
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'description = "few texts"\nweights = "int8"\n[ptq]\nsubset_size = 8\n', encoding="utf-8"
    )
    quantized = answer(
        "quantize", str(tmp_path / "fp32"), str(tmp_path / "int8"), "--recipe", str(recipe)
    )
    assert quantized["quantization"]["calibration_texts"] == 8
    assert quantized["quantization"]["recipe"]["name"] == "small"
    folder = str(tmp_path / "int8")
    evaluated = answer("evaluate", folder, "--split", "test_cedr", "--record", folder)
    assert evaluated["results"][0]["splits"]["test_cedr"]["rows"] == 40
    assert "int8" in Bundle.load(folder).manifest.metrics
