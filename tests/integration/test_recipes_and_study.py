"""Recipes on a trained toy model, accuracy control that has to work, and the study over them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
pytest.importorskip("transformers", reason="training needs transformers", exc_type=ImportError)
pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)
pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.cli.main import main
from ov_emotions.conversion.run import open_fp32
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.metrics import score
from ov_emotions.quantization import accuracy_control
from ov_emotions.quantization import study as study_module
from ov_emotions.quantization.accuracy_control import Validation, quantize_with_accuracy_control
from ov_emotions.quantization.quantize import quantize_bundle
from ov_emotions.quantization.recipe import (
    AccuracyControl,
    AlphaSearch,
    Compression,
    PtqConfig,
    Recipe,
)
from ov_emotions.quantization.settings import StudyConfig
from ov_emotions.quantization.study import fast_precisions, run_study
from ov_emotions.quantization.study_schema import parse_study
from ov_emotions.runtime.torch import CheckpointClassifier
from ov_emotions.schema import to_builtins
from ov_emotions.system import shared_core
from ov_emotions.thresholds import apply_thresholds

PTQ = PtqConfig(subset_size=40)
TOML = 'description = "toy"\nweights = "int8"\n[ptq]\nsubset_size = 40\n'


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("fp16", "", "fp16"),
        Recipe("int8-weights", "", "int8", compression=Compression("int8_asym")),
        Recipe("int4-weights", "", "int4", compression=Compression("int4_sym", group_size=16)),
        Recipe("int8-search", "", "int8", PTQ, search=AlphaSearch((-1.0, 0.5), rows=10)),
    ],
    ids=lambda recipe: recipe.name,
)
def test_a_recipe_makes_a_smaller_bundle_that_answers_alike(fp32, prepared, tmp_path, recipe):
    bundle = quantize_bundle(fp32, prepared, tmp_path / "made", recipe)
    loaded = Bundle.load(bundle.folder)
    assert loaded.manifest.precision == recipe.weights
    record = loaded.manifest.provenance["quantization"]
    assert record["recipe"]["name"] == recipe.name
    sizes = [b.model_path.with_suffix(".bin").stat().st_size for b in (loaded, fp32)]
    assert sizes[0] < 0.6 * sizes[1]
    texts = list(prepared.split("test_goemotions").texts)
    ours, theirs = (EmotionClassifier(b, threads=1).predict_proba(texts) for b in (loaded, fp32))
    assert np.abs(ours - theirs).mean() < 0.1
    if recipe.search:
        differences = {float(alpha): d for alpha, d in record["alpha_search"].items()}
        assert set(differences) == set(recipe.search.alphas)
        assert differences[record["smooth_quant_alpha"]] == min(differences.values())


def test_the_bundle_carries_the_precision_it_was_approved_at(fp32, prepared, tmp_path):
    recipe = Recipe("fp32", "", "fp32")
    bundle = quantize_bundle(fp32, prepared, tmp_path / "made", recipe, precision="bf16")
    assert Bundle.load(bundle.folder).manifest.inference_precision == "bf16"
    assert fp32.manifest.inference_precision == "f32"


# Accuracy control


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_accuracy_control_returns_nothing_where_nothing_is_lost_and_is_measured_as_served(
    fp32, prepared, tmp_path, precision
):
    recipe = Recipe("ac", "", "int8", PTQ, accuracy_control=AccuracyControl(0.9, validation_rows=9))
    bundle = quantize_bundle(fp32, prepared, tmp_path / "made", recipe, precision)
    record = bundle.manifest.provenance["quantization"]
    assert (record["reverted_operations"], record["iterations"]) == ([], 0)
    assert record["reached"]
    drop = record["initial_metric"] - record["final_metric"]
    assert record["final_drop"] == pytest.approx(drop, abs=2e-6)
    assert record["served_precision"] == precision
    rows = prepared.validation_part("thresholds")
    with EmotionClassifier(bundle.folder, precision=precision) as classifier:
        probabilities = classifier.predict_proba(list(rows.texts[:9]))
    decided = apply_thresholds(probabilities, fp32.manifest.threshold_array())
    expected = score(rows.targets[:9], decided, fp32.manifest.labels).weighted_f1
    assert record["served_metric"] == pytest.approx(expected, abs=1e-6)
    assert record["served_drop"] == pytest.approx(record["initial_metric"] - expected, abs=2e-6)


class Closeness(Validation):
    """A metric that every quantized operation lowers: nearness to the first model's answers."""

    first: list[list[np.ndarray]] | None = None

    def __call__(self, compiled, items):
        items = list(items)
        outputs = super().__call__(compiled, items)[1]
        if len(items) < ITEMS:
            return 1.0, outputs
        self.first = self.first or outputs
        pairs = zip(outputs, self.first, strict=True)
        metric = 1 - float(np.mean([np.abs(a[0] - b[0]).mean() for a, b in pairs]))
        self.answers[-1] = (len(items), metric)
        return metric, outputs


ITEMS = 20


def test_accuracy_control_records_what_went_back_to_float(fp32, prepared):
    tokenizer = fp32.tokenizer()
    part = prepared.validation_part("selection")
    ids = [np.array(e.ids, dtype=np.int32) for e in tokenizer.encode_batch(list(part.texts))]
    items = list(zip(ids[:ITEMS], part.targets[:ITEMS], strict=True))
    model = shared_core().read_model(fp32.model_path)

    def control(max_drop):
        validation = Closeness(fp32.manifest.threshold_array(), fp32.manifest.labels)
        return quantize_with_accuracy_control(
            model, ids[:40], items, validation, PTQ, AccuracyControl(max_drop, 10)
        )[1]

    everything = control(0.9)
    assert everything["reverted_operations"] == []
    assert everything["final_drop"] > 0
    some = control(everything["final_drop"] / 2)
    assert some["reached"]
    assert 0 < some["final_drop"] <= everything["final_drop"] / 2
    assert some["iterations"] >= 1
    assert 0 < len(some["reverted_operations"]) < some["quantized_operations"]
    assert some["fake_quantize_operations"] < everything["fake_quantize_operations"]
    assert some["plain_drop"] == everything["final_drop"]
    assert len(some["drop_after_each_step"]) == some["iterations"]
    # Not the final drop itself: NNCF stores the weights in INT8 only after its last step.
    assert some["drop_after_each_step"][-1] <= everything["final_drop"] / 2
    assert some["rankings"] >= 1
    none = control(0.0)
    assert len(none["reverted_operations"]) >= len(some["reverted_operations"])


@pytest.mark.parametrize(("limit", "words"), [("0.9", " within 0.9"), ("-0.9", "NOT within -0.9")])
def test_the_command_says_whether_the_limit_was_reached_and_writes_its_record(
    fp32, prepared_folder, tmp_path, capsys, monkeypatch, limit, words
):
    (tmp_path / "ac.toml").write_text(
        f"{TOML}smooth_quant_alpha = -1\n[accuracy_control]\nmax_drop = {limit}\n"
        'max_iterations = 1\nrestore = "all"\n',
        encoding="utf-8",
    )
    # One step back to float may lower a toy's F1, which would be refused.
    monkeypatch.setattr(accuracy_control, "_TOLERANCE", 1.0)
    places = [str(fp32.folder), str(tmp_path / "out"), "--data", str(prepared_folder)]
    record = tmp_path / "record.json"
    arguments = [*places, "--recipe", str(tmp_path / "ac.toml"), "--record", str(record)]
    assert main(["quantize", *arguments]) == 0
    told = capsys.readouterr().out
    assert words in told
    assert "drop at f32, as served: " in told
    written = json.loads(record.read_text(encoding="utf-8"))
    made = Bundle.load(tmp_path / "out").manifest.provenance["quantization"]
    assert written["quantization"] == made
    assert made["reached"] == (limit == "0.9")
    assert len(made["reverted_operations"]) == (0 if made["reached"] else made["iterations"])
    assert {"openvino", "nncf"} <= set(written["environment"]["versions"])


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_weights_that_are_not_fp32_are_refused(fp32, prepared, tmp_path, precision):
    other = Bundle(fp32.folder, fp32.manifest.replace(precision=precision))
    with pytest.raises(AlreadyQuantizedError, match=f"has {precision} weights"):
        quantize_bundle(other, prepared, tmp_path / "out", Recipe("x", "", "int8", PTQ))
    assert not (tmp_path / "out").exists()


# What it starts from


@pytest.mark.parametrize("made_by", ["int8", "fp16"])
def test_a_model_that_is_not_what_its_manifest_says_is_refused(
    fp32, prepared, prepared_folder, tmp_path, capsys, made_by
):
    recipes = {
        "fp32": Recipe("fp32", "", "fp32"),
        "fp16": Recipe("fp16", "", "fp16"),
        "int8-weights": Recipe("w", "", "int8", compression=Compression("int8_asym")),
        "int8": Recipe("p", "", "int8", PTQ),
    }
    made = quantize_bundle(fp32, prepared, tmp_path / "made", recipes[made_by])
    # By hand, a bundle whose hashes are all right: only its manifest says fp32.
    manifest = made.manifest.replace(precision="fp32")
    model = shared_core().read_model(made.model_path)
    lies = tmp_path / "lies"
    source = write_bundle(lies, manifest, model, made.tokenizer().to_str())
    assert Bundle.load(lies).manifest.precision == "fp32"
    said = "16-bit floats" if made_by == "fp16" else "already quantized"
    for recipe in recipes.values():
        with pytest.raises(AlreadyQuantizedError, match=said):
            quantize_bundle(source, prepared, tmp_path / "out", recipe)
    assert main(["quantize", str(lies), str(tmp_path / "out"), "--data", str(prepared_folder)]) == 1
    assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"made", "lies"}


def test_a_hub_id_is_quantized_as_the_hub_library_keeps_it(checkpoint, prepared_folder, tmp_path):
    # The real huggingface_hub, offline, on a cache of the form that its downloads leave.
    repository = tmp_path / "home" / "hub" / "models--owner--model"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    shutil.copytree(checkpoint, repository / "snapshots" / commit)
    command = ["quantize", "owner/model", "out", "--data", str(prepared_folder)]
    kept = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ov_emotions", *command, "--recipe", "fp16"],
        cwd=tmp_path,
        env={**os.environ, **kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Bundle.load(tmp_path / "out").manifest.precision == "fp16"


def test_few_calibration_texts_without_a_label_are_warned_of(
    fp32, prepared, tmp_path, monkeypatch, caplog
):
    part = prepared.validation_part("calibration")
    targets = part.targets.copy()
    targets[:, 2] = 0
    monkeypatch.setattr(
        type(prepared), "validation_part", lambda *_: replace(part, targets=targets)
    )
    recipe = Recipe("x", "", "int8", PtqConfig(subset_size=5000))
    record = quantize_bundle(fp32, prepared, tmp_path / "out", recipe).manifest.provenance
    assert record["quantization"]["calibration_texts"] == len(part)
    assert f"has {len(part)} texts, where the recipe asks for 5000" in caplog.text
    assert "no text that INT8 ranges are told by has fear" in caplog.text


def test_a_kill_while_a_bundle_is_replaced_leaves_the_old_one_and_the_next_run_tidies_up(
    fp32, prepared, prepared_folder, tmp_path
):
    fp32.save(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    program = textwrap.dedent(f"""
        import sys, time
        import ov_emotions.bundle as b
        real = b.sha256_file
        def slow(path):
            if path.parent.name != "draft" and "draft" not in str(path):
                print("writing", flush=True)
                time.sleep(60)
            return real(path)
        from ov_emotions.cli import main as cli
        import ov_emotions.quantization.quantize as run
        real_write = run.write_bundle
        def write(folder, *rest):
            if folder.name == "out":
                b.sha256_file = slow
            return real_write(folder, *rest)
        run.write_bundle = write
        raise SystemExit(cli.main([
            "quantize", {str(fp32.folder)!r}, {str(tmp_path / "out")!r},
            "--data", {str(prepared_folder)!r}, "--recipe", "fp16"]))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert after == before
    assert len(list(tmp_path.iterdir())) == 2  # killed for good: nothing could tidy up
    quantize_bundle(fp32, prepared, tmp_path / "out", Recipe("fp16", "", "fp16"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert Bundle.load(tmp_path / "out").manifest.precision == "fp16"


# The study


def _small(source, **settings):
    """A study of fp32 alone, in f32, on one split."""
    return StudyConfig(str(source), ("fp32",), ("f32",), None, **{"rounds": 0, **settings})


@pytest.fixture(scope="module")
def study(checkpoint, prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "toy.toml").write_text(TOML, encoding="utf-8")
    greedy = TOML.replace("40", "4000") + "[search]\nalphas = [0.5]\n"
    (folder / "greedy.toml").write_text(greedy, encoding="utf-8")
    config = StudyConfig(
        str(checkpoint),
        (str(folder / "toy.toml"), str(folder / "greedy.toml")),
        rounds=2,
        single_texts=5,
        offline_texts=10,
    )
    told = []
    # The checkpoint is exported on the way.
    with open_fp32(str(checkpoint), prepared) as (bundle, found):
        assert found == checkpoint
        assert (bundle.manifest.precision, bundle.manifest.name) == ("fp32", "run")  # of RUN/best
        made = run_study(config, bundle, prepared, checkpoint=checkpoint, tell=told.append)
    assert not bundle.folder.exists()
    assert [step.done for step in told] == list(range(len(told)))
    plain = json.loads(json.dumps(to_builtins(made), allow_nan=False))
    assert parse_study(plain) == made
    return plain


def test_a_study_holds_every_candidate_at_every_precision(study):
    precisions = fast_precisions()
    expected = [f"{r}/{p}" for r in ("fp32", "toy", "greedy") for p in precisions]
    assert [c["id"] for c in study["candidates"]][: len(expected)] == expected
    assert "torch-cpu/fp32" in [c["id"] for c in study["candidates"]]


def test_a_recipe_that_fails_is_a_failed_candidate(study):
    failed = [c for c in study["candidates"] if c["status"] == "failed"]
    assert {c["recipe"] for c in failed} == {"greedy"}
    assert all("do not calibrate" in c["error"] and c["latency"] is None for c in failed)


def test_candidates_are_compared_on_both_splits_at_both_thresholds(study, prepared):
    toy = next(c for c in study["candidates"] if c["id"] == "toy/f32")
    assert set(toy["quality"]) == {"validation", "test_goemotions"}
    assert toy["quality"]["validation"]["rows"] == len(prepared.split("validation"))
    assert toy["quality"]["validation"]["cross_fitted"] == 5
    for found in toy["quality"].values():
        for name in ("frozen", "refitted"):
            difference = found[name]["difference"]["weighted_f1"]
            assert difference["low"] <= difference["value"] <= difference["high"]
    torch_candidate = next(c for c in study["candidates"] if c["runtime"] == "torch-cpu")
    same = torch_candidate["quality"]["test_goemotions"]["frozen"]
    assert same["flipped"] < 0.01  # the same weights, in other arithmetic


def test_candidates_take_turns_in_processes_of_their_own(study):
    timed = [c for c in study["candidates"] if c["status"] == "ok"]
    for candidate in timed:
        assert len(candidate["rounds"]) == 2
        assert candidate["start"]["rss_mb"]["min"] > 10
        assert candidate["latency"]["p50_ms"]["median"] > 0
    reference = next(c for c in timed if c["id"] == study["reference"])
    assert reference["ratios"]["p50"] == {"median": 1.0, "min": 1.0, "max": 1.0}


def test_the_command_writes_a_report_and_renders_it_again(fp32, prepared_folder, tmp_path, capsys):
    output = tmp_path / "report"
    command = ["report", str(fp32.folder), str(output), "--data", str(prepared_folder)]
    small = ["--recipe", "fp16", "--precision", "f32", "--rounds", "1"]
    small += ["--single-texts", "3", "--offline-texts", "4", "--final-split", "none"]
    assert main([*command, *small]) == 0
    assert "report.html" in capsys.readouterr().out
    names = {"study.json", "report.md", "report.html", "pareto.svg"}
    assert {path.name for path in output.iterdir()} == names
    again = tmp_path / "again"
    assert main(["report", str(again), "--from-study", str(output / "study.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == "fp32/f32"
    for name in names:
        assert (again / name).read_bytes() == (output / name).read_bytes()


def test_a_study_says_why_there_are_no_cuda_rows(study, fp32, prepared):
    import torch

    if not torch.cuda.is_available():
        ids = [absent["id"] for absent in study["not_measured"]]
        assert ids == ["torch-cuda/fp16", "torch-cuda/bf16"]
        assert study["not_measured"][0]["why"] == "torch sees no CUDA device here"
    absent = run_study(_small(fp32.folder), fp32, prepared).not_measured
    assert len(absent) == 3
    assert "only checkpoints" in absent[0].why


def test_cuda_rows_stand_beside_the_others_and_one_that_fails_is_told(
    checkpoint, fp32, prepared, monkeypatch
):
    import torch

    def on_cuda(folder, device, precision):
        if (device, precision) == ("cuda", "bf16"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
        # No device here: what its row holds is taken from the CPU.
        return CheckpointClassifier(folder, "cpu", "fp32")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("ov_emotions.runtime.torch.CheckpointClassifier", on_cuda)
    found = run_study(_small(checkpoint), fp32, prepared, checkpoint=checkpoint)
    rows = {c.id: c for c in found.candidates}
    assert list(rows) == ["fp32/f32", "torch-cpu/fp32", "torch-cuda/fp16", "torch-cuda/bf16"]
    assert rows["torch-cuda/fp16"].quality is not None
    assert rows["torch-cuda/bf16"].status == "failed"
    assert rows["torch-cuda/bf16"].error == "CUDA out of memory. Tried to allocate 2 GiB"
    assert found.not_measured == ()


def test_a_candidate_that_cannot_be_timed_is_failed_and_the_others_go_on(
    checkpoint, fp32, prepared, monkeypatch
):
    figures = ("load_s", "first_inference_ms", "rss_mb", "p50_ms", "p90_ms", "p99_ms")
    dying = ["torch-cpu"]

    def probe(order):
        if order.runtime in dying:
            raise QuantizationError("it could not be timed: Killed")
        return dict.fromkeys((*figures, "texts_per_second"), 1.0)

    monkeypatch.setattr(study_module, "run_probe", probe)
    config = _small(checkpoint, rounds=2)
    found = run_study(config, fp32, prepared, checkpoint=checkpoint)
    rows = {c.id: c for c in found.candidates}
    assert rows["torch-cpu/fp32"].error == "it could not be timed: Killed"
    assert rows["torch-cpu/fp32"].latency is None
    assert rows["fp32/f32"].latency.p50_ms.median == 1.0
    dying.append("openvino")
    with pytest.raises(QuantizationError, match=r"fp32 reference failed.*could not be timed"):
        run_study(config, fp32, prepared, checkpoint=checkpoint)


def test_random_weights_are_not_scored(fp32, prepared, tmp_path):
    manifest = fp32.manifest.replace(
        provenance={**fp32.manifest.provenance, "random_weights": True}
    )
    model = shared_core().read_model(fp32.model_path)
    bundle = write_bundle(tmp_path / "random", manifest, model, fp32.tokenizer().to_str())
    found = run_study(_small("random"), bundle, prepared)
    assert found.model.random_weights
    assert [c.quality for c in found.candidates] == [None]


def test_a_study_without_f32_or_with_another_precision_is_refused(fp32):
    with pytest.raises(QuantizationError, match="must be one of f32, bf16"):
        StudyConfig(str(fp32.folder), (), precisions=("f16",))
    with pytest.raises(QuantizationError, match="must hold f32"):
        StudyConfig(str(fp32.folder), (), precisions=("bf16",))
