"""The whole way on a tiny random encoder: train, resume, export, quantize, evaluate, classify."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from raw_sets import TELLING

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("optimum.intel", reason="export needs optimum-intel", exc_type=ImportError)
pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)


from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.cli.main import main
from ov_emotions.errors import (
    AlreadyQuantizedError,
    CheckpointError,
    DataError,
    ExportError,
    InputError,
    OvEmotionsError,
    QuantizationError,
    TrainingError,
)
from ov_emotions.evaluation import evaluate, record_metrics
from ov_emotions.export import ExportConfig, check_parity, convert, export_bundle
from ov_emotions.files import sha256_file
from ov_emotions.labels import EKMAN
from ov_emotions.quantization.recipe import PtqConfig, Recipe
from ov_emotions.quantization.run import quantize_bundle
from ov_emotions.training import teachers
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.run import train
from ov_emotions.training.teachers import draw_texts, teach

INT8 = Recipe("int8", "", "int8", PtqConfig(subset_size=40))


def _history(config: TrainConfig) -> list[dict[str, float]]:
    return json.loads((config.output / "history.json").read_text(encoding="utf-8"))


def _weights(config: TrainConfig) -> str:
    return sha256_file(config.output / "best" / "model.safetensors")


# Training


def test_training_learns_what_the_words_give_away(facts):
    assert facts["selection"]["macro_f1"] > 0.9
    assert facts["selection"]["weighted_f1"] > 0.9


def test_the_checkpoint_says_what_it_came_from(facts, config, prepared):
    assert facts["labels"] == list(TELLING)
    assert set(facts["thresholds"]) == set(TELLING)
    assert facts["training"]["seed"] == config.seed
    assert facts["training_rows"] == len(prepared.split("train"))
    assert facts["data"]["manifest_sha256"] == sha256_file(prepared.folder / "prepared.json")
    rows = {source["name"]: source["rows"] for source in facts["data"]["sources"]}
    assert rows == prepared.manifest["splits"]["train"]["rows_by_origin"]


@pytest.mark.usefixtures("facts")
def test_the_same_seed_repeats_the_run_and_another_does_not(config, tmp_path):
    again = replace(config, output=tmp_path / "again")
    train(again)
    assert _history(again) == _history(config)
    assert _weights(again) == _weights(config)
    other = replace(config, output=tmp_path / "other", seed=1, epochs=1)
    train(other)
    assert _history(other)[0]["loss"] != _history(config)[0]["loss"]


class KilledError(Exception):
    pass


def _killed_at(step_to_die: int):
    def report(step: int, _total: int, _line: str) -> None:
        if step == step_to_die:
            raise KilledError

    return report


@pytest.mark.parametrize(
    ("save_every", "ema_decay"), [(1e9, 0.0), (0.0, 0.9)], ids=["by epoch", "by step, averaged"]
)
def test_a_killed_run_that_goes_on_ends_as_an_unbroken_one(
    config, tmp_path, monkeypatch, save_every, ema_decay
):
    monkeypatch.setattr("ov_emotions.training.run_loop._SAVE_EVERY_SECONDS", save_every)
    whole = replace(config, output=tmp_path / "whole", epochs=2, ema_decay=ema_decay)
    broken = replace(whole, output=tmp_path / "broken")
    train(whole)
    steps = _history(whole)[-1]["step"]
    with pytest.raises(KilledError):
        train(broken, _killed_at(steps // 2 + 5))
    resumed = []
    train(broken, lambda step, _total, _line: resumed.append(step))
    assert 1 < resumed[0] <= steps // 2 + 5
    assert _history(broken) == _history(whole)
    assert _weights(broken) == _weights(whole)


def test_a_finished_run_given_again_changes_nothing(config, facts):
    before = _weights(config)
    steps = []
    assert train(config, lambda step, _total, _line: steps.append(step)) == facts
    assert steps == []
    assert _weights(config) == before


@pytest.mark.usefixtures("facts")
def test_other_settings_in_the_same_folder_are_refused_and_leave_it_as_it_is(config):
    described = (config.output / "config.toml").read_text(encoding="utf-8")
    with pytest.raises(TrainingError, match="other settings"):
        train(replace(config, learning_rate=1e-3))
    assert (config.output / "config.toml").read_text(encoding="utf-8") == described


def test_other_data_under_the_same_name_are_refused(config, tmp_path):
    data = tmp_path / "prepared"
    shutil.copytree(config.data, data)
    run = replace(config, data=data, output=tmp_path / "run", epochs=1)
    train(run)
    manifest = json.loads((data / "prepared.json").read_text(encoding="utf-8"))
    (data / "prepared.json").write_text(json.dumps(manifest | {"seed": 1}), encoding="utf-8")
    with pytest.raises(TrainingError, match="other data"):
        train(run)


def test_a_damaged_state_is_refused(config, tmp_path):
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(TrainingError, match="delete it to start"):
        train(replace(config, output=tmp_path))


def test_a_run_stops_when_validation_stops_improving(config, tmp_path):
    # Nothing changes at this rate, so the second score cannot be better than the first.
    still = replace(
        config,
        output=tmp_path,
        learning_rate=1e-12,
        head_learning_rate=1e-12,
        patience=1,
        evaluations_per_epoch=1,
    )
    train(still)
    assert len(_history(still)) == 2


def test_more_tokens_than_the_encoder_reads_are_refused(config, tmp_path):
    with pytest.raises(TrainingError, match=r"max_length is 41, and .* reads at most 40"):
        train(replace(config, output=tmp_path, max_length=41))


def test_a_base_that_is_not_there_or_damaged_is_a_checkpoint_error(config, tiny_base, tmp_path):
    with pytest.raises(CheckpointError):
        train(replace(config, base=str(tmp_path / "missing"), output=tmp_path / "run"))
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="cannot load the base model"):
        train(replace(config, base=str(broken), output=tmp_path / "run"))


def test_sets_are_left_out_by_weight_and_earlier_ones_still_credited(config, checkpoint, tmp_path):
    others = {"cedr": 0.0, "brighter_rus": 0.0, "ru_izard": 0.0}
    second = replace(
        config, base=str(checkpoint), output=tmp_path / "b", epochs=1, origin_weight=others
    )
    result = train(second)
    assert result["selection"]["macro_f1"] > 0.9
    assert result["training_rows"] < 320
    assert {s["name"] for s in result["data"]["sources"]} == {*others, "ru_goemotions"}


def test_a_teacher_scores_unlabelled_texts_too(config, checkpoint, tmp_path):
    lines = [f"{word} дорога {i}" for i, word in enumerate(TELLING.values())]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    student = replace(
        config,
        output=tmp_path / "student",
        epochs=1,
        teachers=(checkpoint,),
        unlabelled=(tmp_path / "texts.txt",),
        unlabelled_rows=100,
        unlabelled_source="made up",
        unlabelled_licence="CC0-1.0",
    )
    result = train(student)
    source = result["data"]["sources"][-1]
    assert (source["name"], source["rows"], source["licence"]) == ("unlabelled", 7, "CC0-1.0")
    assert source["url"].strip(), "a bundle's manifest refuses a blank one"


def test_an_int8_bundle_teaches_like_its_checkpoint(config, checkpoint, int8, prepared):
    texts = prepared.split("train").texts[:40]
    labels = int8.manifest.labels
    ours = replace(config, teachers=(int8.folder,))
    theirs = replace(config, teachers=(checkpoint,))
    difference = np.abs(teach(texts, labels, ours) - teach(texts, labels, theirs))
    assert difference.max() < 0.1
    mean = teach(texts, labels, replace(config, teachers=(int8.folder, checkpoint)))
    assert np.allclose(
        mean, (teach(texts, labels, ours) + teach(texts, labels, theirs)) / 2, atol=1e-6
    )


def test_a_shipped_model_may_teach_by_its_name(config):
    shipped = replace(config, teachers=(Path("emotions-ru-tiny"),))
    found = teach(["как же я рад тебя видеть"], EKMAN.labels, shipped)
    assert EKMAN.labels[int(found[0].argmax())] == "joy"
    with pytest.raises(OvEmotionsError, match="there is no folder 'nowhere'"):
        teach(["я"], EKMAN.labels, replace(config, teachers=(Path("nowhere"),)))


@pytest.mark.parametrize("kind", ["checkpoint", "bundle"])
def test_a_teacher_with_other_labels_is_refused(config, checkpoint, int8, kind):
    teacher = checkpoint if kind == "checkpoint" else int8.folder
    with pytest.raises(TrainingError, match=r"has the labels .*; this run has joy, rage"):
        teach(["текст"], ("joy", "rage"), replace(config, teachers=(teacher,)))


def test_a_folder_that_is_no_teacher_is_named(config, tmp_path):
    for cache in (None, tmp_path / "kept"):
        student = replace(
            config, output=tmp_path / "run", teachers=(tmp_path,), teacher_cache=cache
        )
        with pytest.raises(OvEmotionsError, match=re.escape(str(tmp_path))):
            train(student)


def test_drawn_texts_hold_no_held_out_text(config, checkpoint, prepared, tmp_path):
    held_out = prepared.split("test_goemotions").texts[:5]
    lines = [*held_out, held_out[0].upper() + "!", "ёлка стоит в углу", "дождь идёт с утра"]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    student = replace(
        config,
        teachers=(checkpoint,),
        unlabelled=(tmp_path / "texts.txt",),
        unlabelled_rows=100,
        recombined_rows=30,
    )
    drawn = draw_texts(prepared.split("train").texts, prepared, student)
    assert sorted(drawn.unlabelled) == ["дождь идёт с утра", "ёлка стоит в углу"]
    assert drawn.held_out == len(set(lines)) - 2 + 30 - len(drawn.recombined)
    assert drawn == draw_texts(prepared.split("train").texts, prepared, student)
    other = draw_texts(prepared.split("train").texts, prepared, replace(student, seed=5))
    assert other.recombined != drawn.recombined


def test_a_run_counts_the_texts_that_were_drawn(config, checkpoint, prepared, tmp_path):
    student = replace(
        config, output=tmp_path / "student", epochs=1, teachers=(checkpoint,), recombined_rows=50
    )
    facts = train(student)
    drawn = facts["drawn_rows"]
    assert drawn["unlabelled"] == 0
    assert drawn["recombined"] + drawn["left_out_as_held_out"] == 50
    assert facts["training_rows"] == len(prepared.split("train")) + drawn["recombined"]
    assert "unlabelled" not in {source["name"] for source in facts["data"]["sources"]}


def test_what_a_teacher_said_is_kept_for_the_next_run(config, checkpoint, tmp_path, monkeypatch):
    student = replace(
        config,
        output=tmp_path / "one",
        epochs=1,
        teachers=(checkpoint,),
        teacher_cache=tmp_path / "kept",
    )
    first = train(student)
    (kept,) = (tmp_path / "kept").iterdir()
    assert np.load(kept).shape == (first["training_rows"], len(TELLING))

    def asked_again(*_):
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(teachers, "predict_logits", asked_again)
    train(replace(student, output=tmp_path / "two"))
    assert _weights(replace(student, output=tmp_path / "two")) == _weights(student)
    with pytest.raises(AssertionError, match="asked again"):
        train(replace(student, output=tmp_path / "three", max_length=8))


# Export


def test_the_bundle_carries_the_checkpoint_s_facts(fp32, facts):
    manifest = Bundle.load(fp32.folder).manifest
    assert manifest.precision == "fp32"
    assert manifest.labels == tuple(facts["labels"])
    assert dict(manifest.thresholds) == pytest.approx(facts["thresholds"])
    assert manifest.max_length == 24
    assert {source.name for source in manifest.training_data} == {
        "ru_goemotions",
        "brighter_rus",
        "cedr",
        "ru_izard",
    }


def test_parity_with_torch_is_recorded_for_every_length_group(fp32):
    parity = fp32.manifest.provenance["parity"]
    assert set(parity["groups"]) == {"3-8", "9-16"}
    assert all(group["texts"] > 0 for group in parity["groups"].values())
    assert 0 <= parity["largest"] < 1e-4


def test_texts_longer_than_the_encoder_reads_are_compared_up_to_its_length(checkpoint, tmp_path):
    config = ExportConfig(checkpoint, tmp_path / "long", "tiny")
    _, parity = export_bundle(config, ["радость " * 100, "утро"])
    assert parity.groups["33-64"]["texts"] == 1


def test_shapes_are_dynamic_and_facts_stamped(fp32):
    model = ov.Core().read_model(fp32.model_path)
    shapes = {port.get_any_name(): str(port.get_partial_shape()) for port in model.inputs}
    assert shapes == {"input_ids": "[?,?]", "attention_mask": "[?,?]"}
    assert [port.get_any_name() for port in model.outputs] == ["logits"]
    assert str(model.outputs[0].get_partial_shape()) == "[?,7]"
    stamped = json.loads(model.get_rt_info(["model_info", "labels"]).astype(str))
    assert stamped == list(fp32.manifest.labels)


def test_an_ir_that_differs_from_torch_is_refused(checkpoint):
    model = convert(checkpoint)
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and list(node.get_output_shape(0)) == [1, 7]:
            shifted = ov.opset13.constant(node.data + np.float32(0.01))
            node.output(0).replace(shifted.output(0))
    rows = {"3-8": [np.array([2, 6, 7, 3], dtype=np.int32)]}
    with pytest.raises(ExportError, match="differs from torch"):
        check_parity(checkpoint, model, rows)


@pytest.mark.parametrize("name", ["checkpoint.json", "head.json", "model.safetensors"])
def test_a_damaged_checkpoint_is_refused(checkpoint, tmp_path, name):
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    (broken / name).write_bytes((broken / name).read_bytes()[:-20])
    with pytest.raises(CheckpointError):
        export_bundle(ExportConfig(broken, tmp_path / "out", "x"), ["радость"])
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_thresholds_is_refused_by_what_it_lacks(checkpoint, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    facts = json.loads((broken / "checkpoint.json").read_text(encoding="utf-8"))
    del facts["thresholds"]
    (broken / "checkpoint.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(CheckpointError, match="lacks thresholds"):
        export_bundle(ExportConfig(broken, tmp_path / "out", "x"), ["радость"])


# INT8


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


def test_thresholds_are_refitted_on_the_int8_model(fp32, int8, prepared):
    from ov_emotions.thresholds import fit_thresholds

    part = prepared.validation_part("thresholds")
    probabilities = EmotionClassifier(int8, threads=1).predict_proba(list(part.texts))
    expected = fit_thresholds(probabilities, part.targets)
    np.testing.assert_allclose(int8.manifest.threshold_array(), expected, atol=1e-6)
    assert int8.manifest.thresholds != fp32.manifest.thresholds


def test_the_int8_bundle_records_how_it_was_made(int8):
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


def test_data_with_other_labels_do_not_calibrate(fp32, prepared, tmp_path):
    other = Bundle(fp32.folder, fp32.manifest.replace(labels=fp32.manifest.labels[::-1]))
    with pytest.raises(QuantizationError, match="has the labels"):
        quantize_bundle(other, prepared, tmp_path / "out", INT8)


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
        record_metrics(int8, [own | {"inference_precision": "bf16"}])
    with pytest.raises(InputError, match="figures of another do not belong to tiny"):
        record_metrics(int8, [own, float_figures | {"model": "another"}])
    with pytest.raises(InputError, match="same precision"):
        record_metrics(int8, [own, own])


@pytest.mark.parametrize(
    "split", ["dev", "validation:rest", "validation:", "test_cedr:selection", "train:"]
)
def test_a_split_that_does_not_exist_is_refused(int8, prepared, split):
    with pytest.raises(DataError):
        evaluate(int8, prepared, [split])


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
