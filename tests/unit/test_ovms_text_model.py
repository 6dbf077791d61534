from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cli.main import main
from ov_emotions.errors import BundleSchemaError, ExportError, InputError
from ov_emotions.normalize import build_normalizer, normalize
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_check import PROBES, compare, require_parity
from ov_emotions.serving.text_model import build_text_model
from ov_emotions.serving.text_nodes import string_core
from ov_emotions.serving.text_tokenizer import tokenizer_model

HOSTILE = (
    *PROBES,
    "http://" + "я" * 100_000,
    "[" * 100_000,
    "я " * 50_000,
    "\u0301" * 10_000,
    "😀" * 30_000,
    "а" + "\u0301" * 500 + "б",
    "\U0010ffff",
    "злость\x00радость",
    "шалом שלום مرحبا",
    "я\u2028я\u0085я",
    "w" * 100 + " " + "w" * 101,
    "СЛОВО слово СлОвО",
)


@pytest.fixture(scope="module")
def served(tiny_bundle):
    return _compile(build_text_model(tiny_bundle))


@pytest.fixture(scope="module")
def tiny_truncating(tiny_bundle):
    return EmotionClassifier(tiny_bundle, threads=1, long_texts="truncate")


def _compile(model: ov.Model) -> Any:
    # As the server is told to: where the CPU has bf16, it would be taken.
    return string_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _texts(*rows: bytes) -> ov.Tensor:
    """Bytes as a server hands them over, which need not be text."""
    return ov.Tensor(np.array(rows))


def _digests(model: ov.Model, folder: Path) -> list[str]:
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return [
        hashlib.sha256((folder / f"model.{suffix}").read_bytes()).hexdigest()
        for suffix in ("xml", "bin")
    ]


def test_texts_go_in_and_names_and_probabilities_come_out(served):
    assert [(port.get_any_name(), str(port.get_partial_shape())) for port in served.inputs] == [
        ("text", "[1..256]")
    ]
    answer = served({"text": ["злость", "радость", "Злость!!!"]})
    assert answer["labels"].tolist() == ["гнев", "радость", "гнев"]
    assert answer["probabilities"].dtype == np.float32
    assert answer["probabilities"].shape == (3, 3)


def test_several_names_are_joined_the_most_probable_first(tiny_bundle):
    thresholds = {"anger": 1e-6, "joy": 1e-6, "neutral": 0.9999}
    bundle = replace(tiny_bundle, manifest=tiny_bundle.manifest.replace(thresholds=thresholds))
    for config, joined in (
        (TextModelConfig(), {"злость": "гнев, радость", "радость": "радость, гнев"}),
        (TextModelConfig("en", "|"), {"злость": "anger|joy", "радость": "joy|anger"}),
    ):
        model = _compile(build_text_model(bundle, config))
        assert model({"text": list(joined)})["labels"].tolist() == list(joined.values())


@pytest.mark.parametrize("text", ["", "  \n", "?!", "😡", "[SEP]", "<username>", "@вася"])
def test_a_text_without_a_letter_or_digit_gets_zeros_and_no_name(served, text):
    answer = served({"text": ["злость", text]})
    assert answer["labels"].tolist() == ["гнев", ""]
    assert not answer["probabilities"][1].any()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_hostile_texts_answer_as_the_classifier_does_in_any_batch(tiny_bundle, batch_size):
    config = TextModelConfig()
    texts = HOSTILE * (1 if batch_size < len(HOSTILE) else 2)
    model = build_text_model(tiny_bundle, config)
    found = compare(tiny_bundle, model, config, texts, batch_size=batch_size)
    assert (found.texts, found.differences) == (len(texts), ())
    assert found.largest < 1e-5  # this model is not quantized


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf5\x80\x80\x80",
        "злость".encode()[:-1],
        "злость ".encode() + b"\xd0 " + "радость".encode(),
        "злость".encode("utf-16"),
        "злость".encode("cp1251"),
        bytes(range(256)),
        b"\xd0" * 100_000,
    ],
)
def test_bytes_that_are_not_utf8_are_read_as_replacement_characters(served, tiny_truncating, raw):
    answer = served({"text": _texts(raw)})
    expected = tiny_truncating.predict_proba([raw.decode("utf-8", "replace")])
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_request_without_texts_fails_and_harms_none_after_it(tiny_bundle, threads):
    # One thread is the harder case: OpenVINO then runs nothing of a graph whose input is empty.
    model, options = build_text_model(tiny_bundle), {"INFERENCE_NUM_THREADS": threads}
    request = string_core().compile_model(model, "CPU", options).create_infer_request()
    none = ov.Tensor(ov.Type.string, [0])
    for texts, joined in (
        (none, None),
        (["злость", "радость"], ["гнев", "радость"]),
        (none, None),
        (none, None),
        ([""], [""]),
        (none, None),
        (["", ""], ["", ""]),
        (["радость"], ["радость"]),
    ):
        if joined is None:
            with pytest.raises(RuntimeError, match="are incompatible"):
                request.infer({"text": texts})
        else:
            assert request.infer({"text": texts})["labels"].tolist() == joined


def test_a_request_without_tokens_fails_too(tiny_bundle):
    model = build_text_model(tiny_bundle, TextModelConfig(token_in=True))
    request = string_core().compile_model(model, "CPU").create_infer_request()
    for shape in ((0, 3), (1, 0)):
        # A tensor, as a server hands it over; of an array only the size would be taken.
        empty = ov.Tensor(np.zeros(shape, np.int64))
        with pytest.raises(RuntimeError, match="are incompatible"):
            request.infer({"input_ids": empty, "attention_mask": empty})


def test_a_text_that_is_too_long_is_cut_off_at_its_end(served, tiny_bundle):
    fits = " ".join(["радость"] * (tiny_bundle.manifest.max_length - 2))
    answer = served({"text": [fits, fits + " злость" * 1000]})
    np.testing.assert_allclose(*answer["probabilities"], atol=1e-6)


def test_words_are_unknown_above_a_hundred_characters_and_not_bytes(tiny_bundle):
    graph = _compile(tokenizer_model(tiny_bundle))
    tokenizer = tiny_bundle.tokenizer()
    tokenizer.enable_truncation(tiny_bundle.manifest.max_length)
    for length in (50, 51, 100, 101, 400, 401):
        for letter in "яw":
            ids = graph({"text": [letter * length]})["input_ids"][0].tolist()
            assert ids == tokenizer.encode(letter * length).ids, (letter, length)


def test_tokens_go_in_where_the_caller_tokenises(tiny_bundle):
    config = TextModelConfig("en", token_in=True)
    model = build_text_model(tiny_bundle, config)
    assert {port.get_any_name() for port in model.inputs} == {"input_ids", "attention_mask"}
    assert [port.get_any_name() for port in model.outputs] == ["probabilities"]
    found = compare(tiny_bundle, model, config, HOSTILE)
    assert found.differences == ()
    compiled = _compile(model)
    # Rows of padding alone have no mean, and no emotion.
    zeros = np.zeros((2, 4), np.int64)
    answer = compiled({"input_ids": zeros, "attention_mask": zeros})["probabilities"]
    assert answer.shape == (2, 3)
    assert not answer.any()


def test_the_model_says_what_it_is(tiny_bundle, tmp_path):
    config = TextModelConfig("en", "; ")
    ov.save_model(build_text_model(tiny_bundle, config), tmp_path / "model.xml")
    info = string_core().read_model(tmp_path / "model.xml").get_rt_info(["model_info"])
    facts = {key: value.astype(str) for key, value in info.astype(dict).items()}
    assert json.loads(facts["manifest"]) == json.loads(tiny_bundle.manifest.to_json())
    assert json.loads(facts["labels"]) == list(tiny_bundle.manifest.labels)
    assert json.loads(facts["thresholds"]) == dict(tiny_bundle.manifest.thresholds)
    assert facts["inference_precision"] == tiny_bundle.manifest.inference_precision
    assert (facts["input"], facts["long_texts"]) == ("text", "truncate")
    assert (facts["label_names"], facts["separator"]) == ("en", "; ")


def test_the_same_bundle_gives_the_same_bytes(tiny_bundle, tmp_path):
    first = _digests(build_text_model(tiny_bundle), tmp_path)
    assert _digests(build_text_model(tiny_bundle), tmp_path) == first
    assert _digests(build_text_model(tiny_bundle, TextModelConfig("en")), tmp_path) != first


def test_a_separator_that_stands_in_a_name_is_refused(tiny_bundle):
    with pytest.raises(InputError, match="separator 'а' stands in the name 'радость'"):
        build_text_model(tiny_bundle, TextModelConfig(separator="а"))
    with pytest.raises(InputError, match="separator: "):
        TextModelConfig(separator="")


def _unigram(tiny_tokenizer_json: str) -> str:
    """A Unigram tokeniser in the manner of SentencePiece, of as many pieces as the model knows."""
    vocab = Tokenizer.from_str(tiny_tokenizer_json).get_vocab()
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    pieces = [(piece, 0.0) for piece in special]
    pieces += [("▁злость", -3.0), ("▁радость", -3.5), ("▁", -4.0), ("рад", -6.0)]
    letters = [(c, -8.0) for c in "абвгдеёжзийклмнопрстуфхцчшщъыьэюя0123456789"]
    pieces += letters[: len(vocab) - len(pieces)]
    tokenizer = Tokenizer(models.Unigram(pieces, 1, False))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = build_normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return str(tokenizer.to_str())


def test_a_unigram_tokeniser_reads_alike(
    tmp_path, tiny_manifest, tiny_tokenizer_json, build_tiny_model
):
    json_text = _unigram(tiny_tokenizer_json)
    bundle = write_bundle(tmp_path / "unigram", tiny_manifest, build_tiny_model(), json_text)
    config = TextModelConfig()
    found = compare(bundle, build_text_model(bundle, config), config, HOSTILE)
    assert found.differences == ()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda spec: spec.update(pre_tokenizer={"type": "UnicodeScripts"}), "UnicodeScripts"),
        (lambda spec: spec.update(model={"type": "WordLevel", "vocab": {}}), "WordLevel"),
        (lambda spec: spec["normalizer"]["normalizers"].append({"type": "Nmt"}), "Nmt"),
    ],
)
def test_a_tokeniser_that_no_graph_can_hold_is_named(
    tiny_bundle, tiny_tokenizer_json, monkeypatch, change, part
):
    spec = json.loads(tiny_tokenizer_json)
    change(spec)

    class Other:
        def to_str(self) -> str:
            return json.dumps(spec)

    monkeypatch.setattr(Bundle, "tokenizer", lambda _self: Other())
    with pytest.raises(BundleSchemaError, match=f"{part}.*--token-in"):
        tokenizer_model(tiny_bundle)


def test_a_bundle_whose_model_takes_something_else_is_refused(tiny_bundle, monkeypatch, tmp_path):
    ov.save_model(tokenizer_model(tiny_bundle), tmp_path / "model.xml")
    monkeypatch.setattr(Bundle, "model_path", tmp_path / "model.xml")
    with pytest.raises(BundleSchemaError, match=r"takes \['text'\] and gives"):
        build_text_model(tiny_bundle)


def test_the_check_tells_characters_from_defects(tiny_bundle):
    config = TextModelConfig()
    model = build_text_model(tiny_bundle, config)
    # A letter of the vocabulary comes of е and its dots only if NFKC sorts the marks first.
    marks = "е\u0327\u0308"
    assert normalize(marks) == "ё"
    found = compare(tiny_bundle, model, config, ["злость", marks])
    assert [(d.text, d.reason) for d in found.differences] == [(marks, "characters")]
    assert "U+0327" in found.differences[0].detail
    require_parity(found, tiny_bundle)

    other = tiny_bundle.manifest.replace(max_length=4)
    shorter = replace(tiny_bundle, manifest=other)
    wrong = compare(shorter, model, config, ["я я я злость"])
    assert wrong.counts() == {"unexplained": 1}
    with pytest.raises(ExportError, match=r"on 1 of 1 texts for no known reason.*злость"):
        require_parity(wrong, tiny_bundle)


def test_build_publishes_and_tells_what_it_did(tiny_bundle, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("злость\nе\u0327\u0308\n", encoding="utf-8")
    command = ["ovms", "build", str(tiny_bundle.folder), str(tmp_path / "repo")]
    assert main([*command, "--check", str(texts)]) == 0
    told = capsys.readouterr().out
    assert "2 texts: 1 differ, " in told
    assert "characters: " in told
    assert f"published {tmp_path / 'repo' / 'emotions' / '1'}" in told
    assert "cut off after 16 tokens (long_texts='truncate')" in told
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["version"], answer["changed"], answer["comparison"]) == (1, False, None)
    assert main([*command, "--json", "--token-in", "--keep", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "emotions-tokens"


def test_a_model_that_answers_differently_is_not_published(
    tiny_bundle, tmp_path, capsys, monkeypatch
):
    from ov_emotions.serving import text_check

    built = text_check.build_text_model

    def careless(bundle: Bundle, config: TextModelConfig) -> ov.Model:
        changed = dict.fromkeys(bundle.manifest.thresholds, 1e-6)
        return built(replace(bundle, manifest=bundle.manifest.replace(thresholds=changed)), config)

    monkeypatch.setattr(text_check, "build_text_model", careless)
    assert main(["ovms", "build", str(tiny_bundle.folder), str(tmp_path / "repo")]) == 1
    assert "for no known reason" in capsys.readouterr().err
    assert not (tmp_path / "repo").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none", "REPO"], 1, "there is no folder 'none'"),
        (["BUNDLE", "REPO", "--name", "a/b"], 1, "cannot name a model"),
        (["BUNDLE", "REPO", "--separator", ""], 1, "separator"),
        (["BUNDLE", "REPO", "--check", "none.txt"], 1, "none.txt"),
        (["BUNDLE", "REPO", "--keep", "0"], 2, "must be at least 1, not 0"),
        (["BUNDLE", "REPO", "--names", "de"], 2, "'de' is not one of ru, en"),
        (["BUNDLE"], 2, "required: REPOSITORY"),
    ],
)
def test_wrong_usage_is_one_sentence_and_writes_nothing(
    tiny_bundle, tmp_path, capsys, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    replaced = {"BUNDLE": str(tiny_bundle.folder), "REPO": "repo"}
    command = ["ovms", "build", *(replaced.get(a, a) for a in arguments)]
    run: Callable[[], int] = lambda: main(command)  # noqa: E731
    if code == 2:
        with pytest.raises(SystemExit, match="2"):
            run()
    else:
        assert run() == code
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "repo").exists()


def test_an_unwanted_normaliser_step_cannot_come_in(tiny_tokenizer_json):
    # The graph knows the steps of the current normaliser, whichever they are.
    spec = json.loads(tiny_tokenizer_json)["normalizer"]["normalizers"]
    assert {step["type"] for step in spec} <= {"NFKC", "Lowercase", "Replace", "Strip"}
    assert isinstance(build_normalizer(), normalizers.Normalizer)


@pytest.mark.parametrize("token_in", [False, True])
def test_one_request_is_bounded_and_the_facts_say_by_how_much(tiny_bundle, token_in):
    model = build_text_model(tiny_bundle, TextModelConfig(token_in=token_in, max_batch=3))
    assert model.get_rt_info(["model_info", "batch_size"]).astype(str) == "1:3"
    compiled = _compile(model)
    for rows in (3, 4):
        ids = ov.Tensor(np.ones((rows, 5), np.int64))
        tokens = {"input_ids": ids, "attention_mask": ids}
        request = tokens if token_in else {"text": ["злость"] * rows}
        if rows == 3:
            assert compiled(request)["probabilities"].shape == (3, 3)
        else:
            with pytest.raises(RuntimeError, match="are incompatible"):
                compiled(request)


def test_a_single_text_takes_a_copy_of_its_width_and_answers_alike(tiny_bundle):
    models = {
        few: build_text_model(tiny_bundle, TextModelConfig(few_widths=few)) for few in (False, True)
    }
    found = {few: [op.get_type_name() for op in m.get_ops()] for few, m in models.items()}
    assert (found[0].count("If"), found[1].count("If")) == (0, 1)  # a bundle of up to 16 tokens
    plain, copied = (_compile(model) for model in models.values())
    for text in HOSTILE:
        np.testing.assert_allclose(
            copied({"text": [text]})["probabilities"],
            plain({"text": [text]})["probabilities"],
            atol=1e-5,
        )
