"""Every kind of checkpoint, all the way: converted, held against the original, INT8, text in.

    python benchmarks/convert/kinds.py [--work FOLDER] [--only NAME ...] [--json FILE]

Makes random checkpoints with ../shared/cases/hf/make_checkpoints.py and the kinds that it lacks
(ModernBERT, MPNet, Gemma, an optimum folder of OpenVINO and of ONNX), and converts each with 400
texts of CEDR under random labels. Takes about a quarter of an hour on two cores.
"""

import argparse
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
from ov_emotions.conversion.tokenizer import PROBES
from ov_emotions.runtime.packed_graph import UnpackableError, pack_graph
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.system import shared_core

SHARED = Path(os.environ.get("OV_EMOTIONS_SHARED", "../shared"))
LABELS = ["гнев", "отвращение", "страх", "радость", "грусть", "удивление", "нейтрально"]
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
    """Make the smallest ONNX classifier: embeddings, their mean over the tokens, a layer."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    weights = {
        "words": rng.normal(size=(words, 32)),
        "types": rng.normal(size=(2, 32)),
        "layer": rng.normal(size=(32, len(LABELS))),
    }
    constants = [
        onnx.numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in weights.items()
    ] + [
        onnx.numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "tokens"),
    ]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["found"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["kinds"]),
        helper.make_node("Add", ["found", "kinds"], ["states"]),
        helper.make_node("Cast", ["attention_mask"], ["present"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["present", "last"], ["weights"]),
        helper.make_node("Mul", ["states", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "layer"], ["logits"]),
    ]
    given = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["rows", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    out = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["rows", len(LABELS)])
    graph = helper.make_graph(nodes, "mean", given, [out], constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


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


def main() -> None:
    """Convert all, print a line each, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary) / "hf"
        if not (work / "optimum_onnx").is_dir():
            work.mkdir(parents=True, exist_ok=True)
            make(work)
        data = Path(temporary) / "val.csv"
        rows(data)
        table = {}
        for folder in sorted(path for path in work.iterdir() if path.is_dir()):
            if arguments.only and folder.name not in arguments.only:
                continue
            try:
                table[folder.name] = convert(folder, data, Path(temporary) / "out" / folder.name)
            except ov_emotions.OvEmotionsError as error:
                table[folder.name] = {"error": str(error)}
            print(folder.name, json.dumps(table[folder.name], ensure_ascii=False), flush=True)
    if arguments.json:
        facts = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}
        text = json.dumps({**facts, "checkpoints": table}, ensure_ascii=False, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
