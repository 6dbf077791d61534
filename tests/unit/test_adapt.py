from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest

import ov_emotions
from ov_emotions import Bundle, DataError, EmotionClassifier, InputError
from ov_emotions.bundle import shipped, write_bundle
from ov_emotions.cli.main import main
from ov_emotions.errors import ExportError
from ov_emotions.last_layer import (
    LastLayer,
    find_last_layer,
    fit_layers,
    read_vectors,
    text_losses,
)
from ov_emotions.runtime.packed_graph import pack_graph
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_check import compare, require_parity
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.system import read_machine, shared_core

ANGRY = [f"злость {a}{b}" for a in "абвгде" for b in "жзик"]
GLAD = [f"радость {a}{b}" for a in "абвгде" for b in "жзик"]
DULL = [f"слово {a}{b}" for a in "абвгде" for b in "жзик"]

COMPLAINTS = [f"верните мне деньги за {thing}" for thing in ("стул", "стол", "чай", "кофе", "шкаф")]
COMPLAINTS += [f"ваш {thing} сломан я недоволен" for thing in ("чайник", "утюг", "насос", "фен")]
COMPLAINTS += ["я требую вернуть деньги", "сколько можно ждать верните деньги"]
QUESTIONS = [
    f"во сколько откроется {thing}" for thing in ("банк", "музей", "парк", "офис", "рынок")
]
QUESTIONS += [f"подскажите где найти {thing}" for thing in ("адрес", "номер", "чек", "кассу")]
QUESTIONS += ["скажите когда вы работаете", "подскажите во сколько приедет курьер"]


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def _changed(bundle: Bundle, folder: Path, **facts: Any) -> Bundle:
    model = shared_core().read_model(bundle.model_path)
    tokenizer_json = bundle.tokenizer().to_str()
    return write_bundle(folder, bundle.manifest.replace(**facts), model, tokenizer_json)


@pytest.mark.parametrize("name", ["emotions-ru-tiny", "tiny"])
def test_the_last_layer_is_found_in_the_ir(name: str, tiny_bundle: Bundle) -> None:
    bundle = tiny_bundle if name == "tiny" else Bundle.load(name)
    layer, vectors, there = read_vectors(bundle, ["радость", " ", "злость", "слово " * 600])
    assert there.tolist() == [0, 2, 3]
    assert len(vectors.windows) > 3  # the last is read in windows
    # An INT8 layer rounds and clips, by a small part of how far logits lie apart; sums of products
    # in 16 bits, which is what a CPU without VNNI has, clip once more.
    exact = {"avx512_vnni", "avx_vnni", "amx_int8"} & set(read_machine().instructions)
    far = 1e-6 if name == "tiny" else 0.05 if exact else 0.1
    off = np.abs(layer.logits(vectors.windows) - vectors.logits).max()
    assert off <= far * np.ptp(vectors.logits, axis=0).max()


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_done_to_the_logits_is_part_of_the_layer(turned: bool) -> None:
    rng = np.random.default_rng(1)
    weights, bias, factor = rng.normal(size=(3, 4)), rng.normal(size=3), np.array([0.5, 1, 2])
    vectors = ops.parameter([-1, 4], np.float32)
    held = ops.constant((weights if turned else weights.T).astype(np.float32))
    logits = ops.matmul(vectors, held, False, turned)
    logits = ops.add(ops.constant(bias[None].astype(np.float32)), logits)
    logits = ops.multiply(logits, ops.constant(factor[None].astype(np.float32)))
    logits.output(0).set_names({"logits"})
    _, layer = find_last_layer(ov.Model([logits], [vectors], "head"))
    np.testing.assert_allclose(layer.weights, factor[:, None] * weights, rtol=1e-6)
    np.testing.assert_allclose(layer.bias, factor * bias, rtol=1e-6)


def test_a_model_that_ends_in_something_else_is_refused() -> None:
    vectors = ops.parameter([-1, 4], np.float32)
    logits = ops.tanh(vectors)
    logits.output(0).set_names({"logits"})
    with pytest.raises(ExportError, match="come out of Tanh"):
        find_last_layer(ov.Model([logits], [vectors], "head"))


@pytest.mark.parametrize("task", ["multi_label", "single_label"])
def test_a_fit_has_the_least_loss_and_a_strong_pull_keeps_the_start(task: Any) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 5)) * [1, 10, 0.1, 1, 1] + 3
    true = LastLayer(rng.normal(size=(3, 5)), np.zeros(3))
    scores = true.logits(vectors) - true.logits(vectors).mean(axis=0)
    noisy = scores + rng.gumbel(size=scores.shape)
    targets = (noisy > 0).astype(np.int8)
    if task == "single_label":
        targets = (noisy.argmax(axis=1)[:, None] == np.arange(3)).astype(np.int8)
    else:
        targets[::7, 1] = -1
    start = LastLayer(rng.normal(size=(3, 5)), np.full(3, np.nan))
    kept, free = fit_layers(vectors, targets, start, task, (1e6, 1e-4))
    np.testing.assert_allclose(kept.weights, start.weights, atol=1e-2)

    def loss(layer: LastLayer) -> float:
        logits = vectors @ layer.weights.T + layer.bias
        return float(text_losses(logits, targets, task).mean())

    least = loss(free)
    assert least < loss(kept)
    for i in np.ndindex(free.weights.shape):
        for step in np.array([-0.3, 0.3]) / vectors.std(axis=0)[i[1]]:
            moved = free.weights.copy()
            moved[i] += step
            # The mean of the vectors is not 0: the bias moves along.
            bias = free.bias.copy()
            bias[i[0]] -= step * vectors[:, i[1]].mean()
            assert loss(LastLayer(moved, bias)) > least - 1e-3


def test_labels_of_the_model_are_learned_anew(tiny_bundle: Bundle, tmp_path: Path) -> None:
    # What the model takes for anger is joy here, and the other way round.
    rows = [(t, "0", "1") for t in ANGRY] + [(t, "1", "0") for t in GLAD]
    rows += [(t, "0", "") for t in DULL]
    data = _write(tmp_path / "mine.csv", ("text", "anger", "joy"), rows)
    made = ov_emotions.adapt(tiny_bundle.folder, tmp_path / "mine", data=data)
    assert made.result.chosen == "last layer"
    assert made.result.score("as it is").macro_f1 < 0.1
    assert made.result.score("last layer").macro_f1 > 0.9
    assert made.bundle is not None
    manifest = made.bundle.manifest
    assert (manifest.name, manifest.labels) == ("mine", ("anger", "joy", "neutral"))
    # Nothing was said of it.
    assert manifest.thresholds["neutral"] == tiny_bundle.manifest.thresholds["neutral"]
    with EmotionClassifier(made.bundle) as classifier:
        assert classifier("злость").labels == ("joy",)
        assert classifier("радость").labels == ("anger",)
    record = json.loads((made.bundle.folder / "emotions.json").read_text())["provenance"]["adapted"]
    assert record["from"] == "tiny"
    assert record["rows"] == 72
    assert record["after"]["gain"]["macro_f1"]["low"] > 0
    card = (made.bundle.folder / "README.md").read_text(encoding="utf-8")
    assert "Adapted from tiny to 72 texts (last layer)" in card


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("auto", ("вопрос", "жалоба")), ("keep", ("anger", "joy", "neutral", "вопрос", "жалоба"))],
)
def test_new_labels_get_columns(
    labels: str, expected: tuple[str, ...], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    rows = [(t, "жалоба") for t in ANGRY] + [(t, "вопрос") for t in GLAD] + [(t, "") for t in DULL]
    rows = [(text, json.dumps([name] if name else [])) for text, name in rows]
    data = _write(tmp_path / "mine.csv", ("text", "labels"), rows)
    made = ov_emotions.adapt(tiny_bundle.folder, tmp_path / "out", data=data, labels=labels)
    assert made.bundle is not None
    assert made.bundle.manifest.labels == expected
    with EmotionClassifier(made.bundle) as classifier:
        predictions = classifier(["злость", "радость", "слово"])
    found = [set(prediction.labels) & {"вопрос", "жалоба"} for prediction in predictions]
    assert found == [{"жалоба"}, {"вопрос"}, set()]


def test_a_model_of_one_label_a_text(tiny_bundle: Bundle, tmp_path: Path) -> None:
    source = _changed(tiny_bundle, tmp_path / "one", task="single_label", thresholds={})
    rows = [(t, "joy") for t in ANGRY] + [(t, "anger") for t in GLAD]
    rows += [(t, "neutral") for t in DULL]
    data = _write(tmp_path / "mine.csv", ("text", "label"), rows)
    made = ov_emotions.adapt(source.folder, tmp_path / "out", data=data)
    assert made.bundle is not None
    with EmotionClassifier(made.bundle) as classifier:
        found = [p.labels for p in classifier(["злость", "радость", "слово"])]
    assert found == [("joy",), ("anger",), ("neutral",)]
    _write(data, ("text", "labels"), [*rows, ("слово", "joy,anger")])
    with pytest.raises(DataError, match="row 73 has 2 labels"):
        ov_emotions.adapt(source.folder, tmp_path / "out", data=data)


def test_where_thresholds_help_they_alone_are_fitted(tiny_bundle: Bundle, tmp_path: Path) -> None:
    cuts = {"anger": 0.999999, "joy": 0.5, "neutral": 0.5}
    source = _changed(tiny_bundle, tmp_path / "high", thresholds=cuts)
    _, vectors, _ = read_vectors(source, [*ANGRY, *GLAD])
    scores = vectors.join(vectors.logits, "multi_label")[:, 0]
    present = scores > np.median(scores)
    rows = [(t, int(p)) for t, p in zip([*ANGRY, *GLAD], present, strict=True)]
    data = _write(tmp_path / "mine.csv", ("text", "anger"), rows)
    made = ov_emotions.adapt(source.folder, tmp_path / "out", data=data)
    assert made.bundle is not None
    assert made.result.score("thresholds").macro_f1 > made.result.score("as it is").macro_f1
    assert made.bundle.manifest.thresholds["anger"] < 0.999999
    assert made.bundle.manifest.thresholds["joy"] == pytest.approx(0.5, abs=0.2)


def test_nothing_better_writes_nothing(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(" ".join(["радость"] * n), 1) for n in range(3, 15)]
    rows += [(" ".join(["злость"] * n), 0) for n in range(3, 15)]
    data = _write(tmp_path / "known.csv", ("text", "joy"), rows)
    output = tmp_path / "out"
    arguments = ["adapt", str(tiny_bundle.folder), str(output), "--data", str(data)]
    assert main([*arguments, "--json"]) == 1
    streams = capsys.readouterr()
    told = json.loads(streams.out)
    assert (told["bundle"], told["chosen"]) == (None, "as it is")
    assert {found["macro_f1"] for found in told["scores"]} == {1.0}
    assert "nothing was better than" in streams.err
    assert not output.exists()
    assert main(arguments) == 1
    assert "last layer, from the old one" in capsys.readouterr().out


WRONG = [
    ([("злость", "joy")] * 30, ("text", "labels"), {}, "1 different texts .* fewer than 20"),
    ([(t, "1") for t in ANGRY], ("text", "joy"), {}, "all texts have the same labels"),
    ([(t, "1") for t in ANGRY], ("text", "mine"), {}, "has one label only, 'mine'"),
    (
        [(t, "1") for t in ANGRY],
        ("text", "mine"),
        {"labels": "keep"},
        "every text of .* cannot be learned",
    ),
    ([(t, "что-то") for t in ANGRY], ("text", "note"), {}, "no column of 0 and 1"),
    ([(t, "1") for t in ANGRY], ("words", "joy"), {}, "text"),
]


@pytest.mark.parametrize(("rows", "head", "options", "message"), WRONG)
def test_data_that_cannot_serve_are_a_sentence(
    rows: list[Any],
    head: tuple[str, ...],
    options: dict[str, Any],
    message: str,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    data = _write(tmp_path / "mine.csv", head, rows)
    with pytest.raises(DataError, match=message):
        ov_emotions.adapt(tiny_bundle.folder, tmp_path / "out", data=data, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "mine"}, "labels"),
        ({"metric": "micro"}, "metric"),
        ({"force": True}, "no option 'force'"),
        ({"data": ()}, "at least one file"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ov_emotions.adapt("emotions-ru-tiny", tmp_path, **{"data": "mine.csv", **options})


def test_an_adapted_int8_model_runs_wherever_others_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(t, "жалоба") for t in COMPLAINTS] + [(t, "вопрос") for t in QUESTIONS]
    data = _write(tmp_path / "requests.csv", ("text", "labels"), rows)
    output = tmp_path / "desk"
    assert main(["adapt", "emotions-ru-tiny", str(output), "--data", str(data)]) == 0
    assert f"new last layer: wrote {output}" in capsys.readouterr().out
    adapted = Bundle.load(output)
    assert adapted.manifest.precision == "int8"
    assert adapted.manifest.provenance["adapted"]["command"].startswith("ov-emotions")
    texts = [*COMPLAINTS, *QUESTIONS]
    with EmotionClassifier(adapted, threads=1) as classifier:
        alone = np.concatenate([classifier.predict_logits([text]) for text in texts])
        classifier.warm_up()  # rows of several texts
        together = classifier.predict_logits(texts)
        assert classifier("верните деньги").labels == ("жалоба",)
    apart = np.ptp(alone, axis=0).max()
    np.testing.assert_allclose(together, alone, atol=0.05 * apart)
    model = shared_core().read_model(adapted.model_path)
    pack_graph(model, adapted.manifest.max_length)  # raises where it cannot
    require_parity(compare(adapted, build_text_model(adapted), TextModelConfig(), texts), adapted)


@pytest.mark.slow
def test_a_thousand_texts_take_less_than_two_minutes(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    words = [w for text in (*COMPLAINTS, *QUESTIONS) for w in text.split()]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(1000)]
    rows = [(t, int("деньги" in t), int("где" in t), int("я" in t.split())) for t in texts]
    data = _write(tmp_path / "mine.csv", ("text", "anger", "joy", "sadness"), rows)
    begun = time.perf_counter()
    made = ov_emotions.adapt(shipped("emotions-ru-tiny"), tmp_path / "out", data=data)
    assert time.perf_counter() - begun < 120
    assert made.bundle is not None
