"""Other people's checkpoints to bundles: each kind, the whole way, and every refusal."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="checkpoints are torch's", exc_type=ImportError)
pytest.importorskip("transformers", reason="and transformers'", exc_type=ImportError)
pytest.importorskip("peft", reason="adapters are PEFT's", exc_type=ImportError)
pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)

import torch
import transformers

import ov_emotions
from ov_emotions import EmotionClassifier
from ov_emotions.cli.main import main
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.conversion.run import to_fp32
from ov_emotions.conversion.sources import open_source
from ov_emotions.conversion.tokenizer import PROBES
from ov_emotions.errors import CheckpointError, InputError, OvEmotionsError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

SHARED = Path(os.environ.get("OV_EMOTIONS_SHARED", Path(__file__).parents[3] / "shared"))
MAKER = SHARED / "cases/hf/make_checkpoints.py"
LABELS = ("гнев", "отвращение", "страх", "радость", "грусть", "удивление", "нейтрально")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of random checkpoints, as transformers' Trainer saves them."""
    if not MAKER.is_file():
        pytest.skip(f"{MAKER} is not there")
    folder = tmp_path_factory.mktemp("hf")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(MAKER), str(folder)])
        runpy.run_path(str(MAKER))
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled texts as somebody has them."""
    path = tmp_path_factory.mktemp("rows") / "val.csv"
    with (SHARED / "data/cedr/cedr-main-test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:400]
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        for text in texts:
            chosen = rng.choice(LABELS, rng.integers(0, 3), replace=False)
            writer.writerow([text, json.dumps(list(chosen), ensure_ascii=False)])
    return path


def originals(folder: Path, texts: list[str]) -> Any:
    """Ask transformers itself, text by text."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).float().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        found = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts]
    return np.array(found)


# Kinds


KINDS = [
    ("bert", "bert"),
    ("bert_origmod", "bert"),
    ("bert_sharded", "bert"),
    ("bert_bf16", "bert_bf16"),
    ("roberta", "roberta"),
    ("xlmr", "xlmr"),
    *(
        pytest.param(name, original, marks=pytest.mark.slow)
        for name, original in (
            ("bert_module", "bert"),
            ("bert_bin", "bert"),
            ("bert_nolabels", "bert_nolabels"),
            ("electra", "electra"),
            ("distilbert", "distilbert"),
            ("debertav2", "debertav2"),
            ("albert", "albert"),
            ("gpt2_nopad", "gpt2_nopad"),
        )
    ),
]


@pytest.mark.parametrize(("name", "original"), KINDS)
def test_a_checkpoint_says_what_transformers_says(made, tmp_path, name, original):
    config = ConversionConfig(str(made / name), tmp_path / "fp32")
    bundle, parity = to_fp32(config, None)
    assert parity.largest < 1e-4
    assert len(parity.groups) == 5, "every length group"
    assert bundle.manifest.normalizer == "none"
    assert bundle.manifest.task == "multi_label"
    expected = originals(made / original, list(PROBES))
    with EmotionClassifier(bundle, threads=1) as classifier:
        np.testing.assert_allclose(
            classifier.predict_logits(PROBES), expected, atol=1e-4 + 1e-5 * np.abs(expected).max()
        )


def test_an_adapter_is_merged_into_the_base_beside_it(made, tmp_path):
    folder = made / "bert_lora"
    bundle, parity = to_fp32(ConversionConfig(str(folder), tmp_path / "fp32"), None)
    assert parity.largest < 1e-4
    assert bundle.manifest.labels == LABELS
    import peft

    base = transformers.AutoModelForSequenceClassification.from_pretrained(made / "bert")
    model = peft.PeftModel.from_pretrained(base, folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = model(**tokenizer(PROBES[0], return_tensors="pt")).logits.numpy()
    with EmotionClassifier(bundle, threads=1) as classifier:
        np.testing.assert_allclose(classifier.predict_logits(PROBES[:1]), expected, atol=1e-3)


@pytest.mark.parametrize("pooling", ["cls", "cls+mean", "max"])
def test_a_state_dict_is_rebuilt_by_its_description(made, tmp_path, pooling):
    torch.manual_seed(0)
    encoder = transformers.AutoModel.from_pretrained(made / "bert", add_pooling_layer=False)
    width = 64 if pooling == "cls+mean" else 32
    head = torch.nn.Sequential(
        torch.nn.Dropout(0.2), torch.nn.Linear(width, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
    )
    state = {f"module.bert.{k}": v for k, v in encoder.state_dict().items()}
    state |= {f"module.head.{k}": v for k, v in head.state_dict().items()}
    torch.save({"model_state_dict": state, "epoch": 3}, tmp_path / "best.pt")
    (tmp_path / "head.toml").write_text(
        f'base = "{made / "bert"}"\nweights = "best.pt"\nlabels = ["злость", "страх", "восторг"]\n'
        f'pooling = "{pooling}"\nlayers = [16]\nactivation = "relu"\ndropout = 0.2\n',
        encoding="utf-8",
    )
    bundle, parity = to_fp32(ConversionConfig(str(tmp_path / "head.toml"), tmp_path / "fp32"), None)
    assert parity.largest < 1e-4
    tokenizer = transformers.AutoTokenizer.from_pretrained(made / "bert")
    given = tokenizer(PROBES[0], return_tensors="pt")
    with torch.inference_mode():
        hidden = encoder.eval()(**given).last_hidden_state
        pooled = {
            "cls": hidden[:, 0],
            "max": hidden.amax(1),
            "cls+mean": torch.cat([hidden[:, 0], hidden.mean(1)], -1),
        }[pooling]
        expected = head.eval()(pooled).numpy()
    with EmotionClassifier(bundle, threads=1) as classifier:
        np.testing.assert_allclose(classifier.predict_logits(PROBES[:1]), expected, atol=1e-3)


# The whole way


@pytest.fixture(scope="module")
def whole(made, rows, tmp_path_factory) -> Any:
    """A BERT with data: INT8, thresholds, figures."""
    output = tmp_path_factory.mktemp("whole") / "int8"
    return ov_emotions.convert(made / "bert", output, data=rows)


def test_with_data_it_is_calibrated_fitted_and_measured_on_both_readings(whole):
    manifest = whole.bundle.manifest
    assert manifest.precision == "int8"
    assert set(manifest.thresholds) == set(LABELS)
    assert len(set(manifest.thresholds.values())) > 1, "they were fitted"
    assert whole.readings.rows > 300
    low, high = whole.readings.difference.low, whole.readings.difference.high
    assert low <= whole.readings.difference.value <= high
    assert 0 < whole.readings.largest_change <= 1
    assert whole.metrics.rows == manifest.metrics["int8"]["validation:selection"]["rows"]
    assert manifest.provenance["parity"]["largest"] < 1e-4


def test_the_text_graph_of_a_converted_model_says_what_the_library_says(whole, tmp_path):
    command = ["ovms", "build", str(whole.bundle.folder), str(tmp_path / "repository")]
    assert main([*command]) == 0


def test_the_way_back_is_read_by_optimum_and_transformers(whole, tmp_path):
    optimum = pytest.importorskip("optimum.intel", reason="reads its own layout")
    folder = tmp_path / "optimum"
    whole.bundle.save_pretrained(folder, layout="optimum")
    model = optimum.OVModelForSequenceClassification.from_pretrained(
        folder, ov_config={"INFERENCE_PRECISION_HINT": "f32"}
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = list(PROBES)
    with EmotionClassifier(whole.bundle, threads=1) as classifier:
        expected = np.array([classifier.predict_logits([text])[0] for text in texts])
        ours = classifier.as_pipeline(top_k=2)(texts)
    found = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    pipeline = transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, top_k=2
    )
    for theirs, mine in zip(pipeline(texts, batch_size=1), ours, strict=True):
        assert [entry["label"] for entry in theirs] == [entry["label"] for entry in mine]
        assert theirs[0]["score"] == pytest.approx(mine[0]["score"], abs=1e-4)
    again, parity = to_fp32(ConversionConfig(str(folder), tmp_path / "again"), None)
    assert again.manifest.precision == "int8", "an optimum folder that is quantized stays so"
    assert parity.largest < 1e-4


def test_one_label_a_text_needs_no_thresholds(made, tmp_path, capsys):
    flags = ["--recipe", "fp16", "--json", "--repository", str(tmp_path / "models")]
    assert main(["convert", str(made / "bert_single"), str(tmp_path / "out"), *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["published"]["folder"] == str(tmp_path / "models/emotions/1")
    assert (tmp_path / "models/emotions/1/model.xml").is_file()
    assert answer["task"] == "single_label"
    assert answer["thresholds"] == {}
    with EmotionClassifier(tmp_path / "out", threads=1) as classifier:
        assert classifier.predict_proba(PROBES).sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert all(len(p.labels) == 1 for p in classifier(list(PROBES)))


def test_without_data_weights_alone_are_made_small_and_the_card_says_so(made, tmp_path, caplog):
    found = ov_emotions.convert(made / "bert_nolabels", tmp_path / "out", normalizer="asr-1")
    assert found.bundle.manifest.precision == "int8"
    assert found.bundle.manifest.normalizer == "asr-1"
    assert set(found.bundle.manifest.thresholds.values()) == {0.5}
    assert found.metrics is found.readings is None
    assert "Nothing was measured" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "--labels" in caplog.text
    config = ConversionConfig(str(made / "bert_nolabels"), tmp_path, labels=tuple("абвгдеж"))
    named = open_source(config)
    assert named.labels == tuple("абвгдеж")


# What cannot be converted


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(facts | changes), encoding="utf-8")

    return change


def _without(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def _other_weights(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a.weight": torch.zeros(2, 2)}, folder / "model.safetensors")


def _no_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in state.items() if not k.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _english(folder: Path) -> None:
    path = folder / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = facts["model"]["vocab"]
    facts["model"]["vocab"] = {
        (token if token.startswith("[") else f"w{i}"): i for token, i in vocabulary.items()
    }
    path.write_text(json.dumps(facts), encoding="utf-8")


REFUSALS: list[tuple[Callable[[Path], None], str]] = [
    (_config(problem_type="regression"), "regression head"),
    (_config(id2label={"0": "x"}, label2id={"x": 0}, problem_type=None), "regression head"),
    (_config(architectures=["BertForMaskedLM"]), "classifies no texts"),
    (_config(auto_map={"AutoModel": "x.Y"}), "code of its own"),
    (_config(model_type="nonesuch"), "no sequence classification of type 'nonesuch'"),
    (_config(id2label={"0": "а", "1": "а"}), "labels must differ"),
    (_config(hidden_size=48), "do not match its config.json"),
    (_without("tokenizer.json", "tokenizer_config.json"), "no tokeniser"),
    (_english, "made for another language"),
    (_other_weights, "do not match its config.json"),
    (_no_head, "classifier.bias, classifier.weight would start random"),
    (_without("model.safetensors"), "config.json, but no weights"),
    (_without("config.json"), "no config.json"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSALS, ids=[m[:30] for _, m in REFUSALS])
def test_what_cannot_work_is_a_sentence(made, tmp_path, spoil, message, capsys):
    folder = tmp_path / "model"
    shutil.copytree(made / "bert", folder)
    spoil(folder)
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_other_refusals(made, tmp_path):
    bert, out = str(made / "bert"), tmp_path / "out"

    def refused(error: type[OvEmotionsError], message: str, model: str = bert, **options: Any):
        with pytest.raises(error, match=message):
            ov_emotions.convert(model, out, **options)

    shutil.copytree(made / "bert_lora", tmp_path / "lora")
    refused(CheckpointError, "adapter without its base", str(tmp_path / "lora"))
    refused(InputError, "is a bundle already", "emotions-ru-tiny")
    refused(InputError, "7 outputs", labels=("а", "б"))
    refused(InputError, "calibrates, which needs --data", recipe="int8-mixed")
    refused(InputError, "needs --data", report=tmp_path / "report")
    refused(InputError, "no option 'normaliser'", normaliser="none")
    refused(CheckpointError, "max_length must be in", max_length=1000)
    few = tmp_path / "few.csv"
    few.write_text("text,labels\nпривет,гнев\n", encoding="utf-8")
    refused(ov_emotions.DataError, "no figure could be honest", data=few)
    few.write_text("text,labels\nпривет,восторг\n", encoding="utf-8")
    refused(ov_emotions.DataError, "'восторг' is not among", data=few)
    few.write_text("text,mood\nпривет,гнев\n", encoding="utf-8")
    refused(ov_emotions.DataError, "neither a column for each of the labels", data=few)
    assert not out.exists()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("layers = [8]\n", "no linear layer of shape"),
        ('pooling = "clss"\n', "pooling"),
        ('poolin = "cls"\n', "did you mean 'pooling'"),
        ('encoder = "roberta."\n', "are not in"),
    ],
)
def test_a_description_that_does_not_fit_is_told(made, tmp_path, toml, message):
    head = tmp_path / "head.toml"
    weights = made / "bert/model.safetensors"
    labels = ", ".join(f'"{label}"' for label in LABELS)
    text = f'base = "{made / "bert"}"\nweights = "{weights}"\nlabels = [{labels}]\n{toml}'
    head.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        ov_emotions.convert(head, tmp_path / "out")
