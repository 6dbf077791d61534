"""Every kind of checkpoint, all the way: converted, held against the original, INT8, text in.

    python -m benchmarks.convert.kinds [--work FOLDER] [--only NAME ...] [--json FILE]

Makes random checkpoints with ../shared/cases/hf/make_checkpoints.py and the kinds that it lacks
(ModernBERT, MPNet, Gemma, an optimum folder of OpenVINO and of ONNX), and converts each with 400
texts of CEDR under random labels. Takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers

import ov_emotions
from benchmarks.common import command, record
from ov_emotions.conversion.tokenizer import PROBES
from ov_emotions.runtime.packed_graph import UnpackableError, pack_graph
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.system import shared_core

SHARED = Path(os.environ.get("OV_EMOTIONS_SHARED", "../shared"))
LABELS = ["гнев", "отвращение", "страх", "радость", "грусть", "удивление", "нейтрально"]
_MEAN = """
<ir_version: 8, opset_import: ["" : 17]>
mean (int64[rows, tokens] input_ids, int64[rows, tokens] attention_mask,
      int64[rows, tokens] token_type_ids) => (float[rows, 7] logits)
<int64[1] last = {2}, int64[1] each = {1}> {
    found = Gather(words, input_ids)
    kinds = Gather(types, token_type_ids)
    states = Add(found, kinds)
    present = Cast<to = 1>(attention_mask)
    weights = Unsqueeze(present, last)
    kept = Mul(states, weights)
    sum = ReduceSum<keepdims = 0>(kept, each)
    count = ReduceSum<keepdims = 0>(weights, each)
    mean = Div(sum, count)
    logits = MatMul(mean, layer)
}
"""
"""The smallest ONNX classifier: embeddings, their mean over the tokens, a layer."""

_SMALL = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: i for i, label in enumerate(LABELS)},
    "problem_type": "multi_label_classification",
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


def make(work: Path) -> None:
    """Make the checkpoints, those of other architectures too."""
    subprocess.run(
        [sys.executable, str(SHARED / "cases/hf/make_checkpoints.py"), str(work)], check=True
    )
    bpe, unigram = (
        transformers.AutoTokenizer.from_pretrained(work / name) for name in ("roberta", "xlmr")
    )
    window = {"max_position_embeddings": 514}
    gemma = {"num_key_value_heads": 1, "head_dim": 16, **window}
    modern = {"local_attention": 16, "cls_token_id": 0, "sep_token_id": 2}
    for name, kind, tokenizer, layers, more in (
        ("modernbert", transformers.ModernBertConfig, bpe, 4, modern),
        ("mpnet", transformers.MPNetConfig, unigram, 2, window),
        ("gemma", transformers.GemmaConfig, bpe, 2, gemma),
        ("gemma3", transformers.Gemma3TextConfig, bpe, 6, {"sliding_window": 16, **gemma}),
    ):
        torch.manual_seed(1)
        config = kind(vocab_size=len(tokenizer), num_hidden_layers=layers, **_SMALL, **more)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
        model.eval().save_pretrained(work / name)
        tokenizer.save_pretrained(work / name)
    _optimum(work)


def _optimum(work: Path) -> None:
    """Write folders as optimum-cli does: BERT as OpenVINO, and an ONNX graph of three inputs."""
    from optimum.intel import OVModelForSequenceClassification

    OVModelForSequenceClassification.from_pretrained(work / "bert", export=True).save_pretrained(
        work / "optimum_openvino"
    )
    (work / "optimum_onnx").mkdir(exist_ok=True)
    onnx.save(_mean_of_embeddings(2000), work / "optimum_onnx" / "model.onnx")
    for target in ("optimum_openvino", "optimum_onnx"):
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            shutil.copy(work / "bert" / name, work / target / name)


def _mean_of_embeddings(words: int) -> onnx.ModelProto:
    model, rng = onnx.parser.parse_model(_MEAN), np.random.default_rng(0)
    for name, shape in (("words", (words, 32)), ("types", (2, 32)), ("layer", (32, len(LABELS)))):
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def rows(path: Path) -> None:
    """Write labelled texts: real ones, under random labels."""
    with (SHARED / "data/cedr/cedr-main-test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:400]
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        for text in texts:
            chosen = [LABELS[i] for i in rng.choice(len(LABELS), rng.integers(0, 3), False)]
            writer.writerow([text, json.dumps(chosen, ensure_ascii=False)])


def convert(folder: Path, data: Path, output: Path) -> dict:
    """Convert a checkpoint to INT8, and say what came of it."""
    options = {} if folder.name != "bert_nolabels" else {"labels": tuple(LABELS)}
    made = ov_emotions.convert(folder, output, data=data, **options)
    found = {
        "kind": made.kind,
        "way": made.parity.way,
        "largest_difference": made.parity.largest,
        "weights": made.bundle.manifest.precision,
    }
    model = shared_core().read_model(made.bundle.model_path)
    operations = [node.get_type_name() for node in model.get_ops()]
    found["attention_kept"] = operations.count("ScaledDotProductAttention")
    try:
        pack_graph(model, min(made.bundle.manifest.max_length, 128))
        found["packed_rows"] = "yes"
    except UnpackableError as error:
        found["packed_rows"] = f"no: {error}"
    try:
        served = shared_core().compile_model(
            build_text_model(made.bundle), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        texts = list(PROBES)
        scores = served([np.array(texts)])["probabilities"]
        with ov_emotions.EmotionClassifier(made.bundle) as classifier:
            expected = np.array([classifier.predict_proba([text])[0] for text in texts])
        found["text_graph_difference"] = float(np.abs(scores - expected).max())
    except Exception as error:  # a kind that cannot be served is a row of the table
        found["text_graph_difference"] = f"{type(error).__name__}: {str(error)[:160]}"
    return found


def kinds(
    *, work: Path | None = None, only: tuple[str, ...] = (), json: Path | None = None
) -> None:
    """Convert all, print a line each, and write the table.

    :param only: names of checkpoints; all where none is named.
    """
    warnings.simplefilter("ignore")
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        place = work or Path(temporary) / "hf"
        if not (place / "optimum_onnx").is_dir():
            place.mkdir(parents=True, exist_ok=True)
            make(place)
        data = Path(temporary) / "val.csv"
        rows(data)
        for folder in sorted(path for path in place.iterdir() if path.is_dir()):
            if only and folder.name not in only:
                continue
            try:
                table[folder.name] = convert(folder, data, Path(temporary) / "out" / folder.name)
            except ov_emotions.OvEmotionsError as error:
                table[folder.name] = {"error": str(error)}
            print(folder.name, table[folder.name], flush=True)
    record(json, "torch transformers", checkpoints=table)


if __name__ == "__main__":
    sys.exit(command("benchmarks.convert.kinds", kinds))
