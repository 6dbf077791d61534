"""Models of random weights that translate and paraphrase: what comes out is noise, but repeats."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_sets import telling_rows, write_csv

from ov_emotions.cli.main import main
from ov_emotions.data.augment.translation import (
    Translations,
    Translator,
    back_translate,
    fault,
    paraphrase,
)
from ov_emotions.data.dataset import LabelledTexts, PreparedData, write_prepared
from ov_emotions.data.settings import AugmentConfig
from ov_emotions.errors import DataError
from ov_emotions.labels import EKMAN
from ov_emotions.progress import Progress
from ov_emotions.system import import_sentencepiece

torch = pytest.importorskip("torch", reason="Marian models run on torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason="it has the Marian models")
pytest.importorskip("sacremoses", reason="MarianTokenizer normalises punctuation with it")

from tiny_t5 import write_tiny_t5  # noqa: E402

LINES = ["мама мыла раму", "я рад видеть вас", "ой как страшно", "да ну", "hello world"]
TEXTS = [*LINES, "мама рада видеть раму", "мыла", "как рад я", "вас"]


def _write_marian(folder, seed):
    import sentencepiece

    folder.mkdir()
    for name in ("source", "target"):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(LINES * 10),
            model_writer=model,
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{name}.spm").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocabulary = ["</s>", "<unk>", *map(pieces.id_to_piece, range(3, len(pieces))), "<pad>"]
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    torch.manual_seed(seed)
    config = transformers.MarianConfig(
        vocab_size=len(ids),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        init_std=1.0,
        max_position_embeddings=64,
        pad_token_id=ids["<pad>"],
        eos_token_id=0,
        decoder_start_token_id=ids["<pad>"],
        forced_eos_token_id=0,
    )
    transformers.MarianMTModel(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def config(tmp_path_factory, one_thread):  # noqa: ARG001
    import_sentencepiece("back-translation")
    folder = tmp_path_factory.mktemp("marian")
    _write_marian(folder / "ru-en", 1)
    _write_marian(folder / "en-ru", 2)
    return AugmentConfig(
        folder / "prepared",
        folder / "out",
        ("back-translation",),
        forward_model=str(folder / "ru-en"),
        backward_model=str(folder / "en-ru"),
        beams=2,
        batch_size=2,
        max_tokens=20,
        device="cpu",
    )


@pytest.fixture
def kept(config, tmp_path):
    return replace(config, translations=tmp_path / "translations")


def _model(name, config):
    return Translator(name, config, config.translations)


def _translate(model, texts):
    return model.translate(texts, lambda _: None, "")


def test_texts_go_through_both_models(kept):
    seen = []
    rows = back_translate(TEXTS, range(len(TEXTS)), kept, seen.append)
    assert len(rows.texts) + sum(rows.not_made.values()) == len(TEXTS)
    forward, backward = _model(kept.forward_model, kept), _model(kept.backward_model, kept)
    english = _translate(forward, TEXTS)
    russian = _translate(backward, list(english.values()))
    assert len(set(english.values())) > 1
    assert rows.texts == [russian[english[TEXTS[i]]] for i in rows.positions]
    assert rows.facts == {"forward_sha256": forward.sha256, "backward_sha256": backward.sha256}
    assert forward.sha256 != backward.sha256
    assert Progress(len(TEXTS), len(TEXTS), "texts", "to English") in seen


def test_a_run_that_was_stopped_goes_on_and_ends_alike(kept, tmp_path, monkeypatch):
    whole = _translate(_model(kept.forward_model, kept), TEXTS)
    stopped = replace(kept, translations=tmp_path / "stopped")
    model = _model(kept.forward_model, stopped)
    generate, calls = model._generate, []

    def twice(batch):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(batch)
        return generate(batch)

    monkeypatch.setattr(model, "_generate", twice)
    with pytest.raises(KeyboardInterrupt):
        _translate(model, TEXTS)
    (file,) = (tmp_path / "stopped").iterdir()
    assert len(file.read_text(encoding="utf-8").splitlines()) == 4
    with file.open("ab") as torn:
        torn.write('{"text": "вас", "trans'.encode()[:-1])

    again = _model(kept.forward_model, stopped)
    generated = []
    generate = again._generate
    monkeypatch.setattr(again, "_generate", lambda b: (generated.extend(b), generate(b))[1])
    assert _translate(again, TEXTS) == whole
    assert sorted(generated + [text for batch in calls for text in batch]) == sorted(TEXTS)


@pytest.mark.parametrize(
    ("text", "result", "reason"),
    [
        ("Мама мыла раму.", "мама мыла раму", "unchanged"),
        ("мама мыла раму", "мама " * 8, "length_differs"),
        ("мама мыла раму в доме сегодня", "мама", "length_differs"),
        ("да", "ну да конечно", None),
        ("мама мыла раму", "мать протёрла окно", None),
    ],
)
def test_what_came_back_unchanged_or_of_another_length_is_no_row(text, result, reason):
    assert fault(text, result) == reason


def test_what_is_no_marian_model_is_told(kept, tmp_path, tiny_base, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    marian = kept.forward_model
    for model, config, message in (
        (tmp_path / "none", kept, "is no folder; name the folder of a sequence"),
        (tmp_path, kept, r"holds no readable config\.json"),
        (tiny_base, kept, "is a model of type bert, which does not write texts"),
        (marian, replace(kept, max_tokens=100), "reads at most 64 tokens"),
        (marian, replace(kept, device="cuda"), "there is no CUDA device"),
        ("Helsinki-NLP/opus-mt-ru-en", kept, "could not be had from the Hub"),
    ):
        with pytest.raises(DataError, match=message):
            _model(str(model), config)


def test_translations_that_cannot_be_kept_are_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be used for translations"):
        Translations(tmp_path / "file" / "t.jsonl")
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text('{"text": "a", "translation": "b"}\n{"text": 3}\n')
    with pytest.raises(DataError, match="line 2 is no translation"):
        Translations(damaged)
    full = Path("/dev/full")
    if full.exists():
        kept = Translations(tmp_path / "t.jsonl")
        kept._path = full
        with pytest.raises(DataError, match="No space left on device; what was translated before"):
            kept.add({"a": "b"})
        assert kept.known == {}


def test_a_model_of_another_kind_paraphrases(kept, tmp_path):
    t5 = str(write_tiny_t5(tmp_path / "t5"))
    config = replace(kept, method=("paraphrase",), model=t5, prefix="эмоции: ", max_tokens=40)
    seen = []
    rows = paraphrase(TEXTS, range(len(TEXTS)), config, seen.append)
    assert len(rows.texts) + sum(rows.not_made.values()) == len(TEXTS)
    assert rows.facts == {"sha256": _model(t5, config).sha256}
    assert seen[-1] == Progress(len(TEXTS), len(TEXTS), "texts", "paraphrasing")
    into = Translator(t5, config, tmp_path / "other", language="▁радость")
    assert all(text.startswith("радость") for text in _translate(into, TEXTS).values())
    with pytest.raises(DataError, match="has no token 'rus_Cyrl'"):
        Translator(t5, config, tmp_path / "other", language="rus_Cyrl")
    written = _translate(_model(t5, config), TEXTS)
    assert written != _translate(_model(t5, replace(config, prefix="")), TEXTS)
    assert rows.texts == [written[TEXTS[i]] for i in rows.positions]


def test_augment_adds_paraphrases_that_are_told_from_others(kept, tmp_path, monkeypatch):
    texts = [f"мама мыла раму и я рад видеть вас {word}" for word in ("утро", "стол", "река")]
    data = LabelledTexts(EKMAN, tuple(texts), np.ones((3, 7), np.int8), ("x",) * 3, np.arange(3))
    facts = {"seed": 1, "near_threshold": 0.8, "sources": (), "dropped": {}}
    facts["validation_parts"] = {"selection": [0]}
    splits = {"train": data.select([0, 1]), "validation": data.select([2])}
    write_prepared(tmp_path / "prepared", splits, facts)
    monkeypatch.setattr(
        Translator, "_generate", lambda _, batch: [f"{text[5:]} опять" for text in batch]
    )
    flags = ["--method", "paraphrase", "--max-tokens", "60", "--model", kept.forward_model]
    folders = [str(tmp_path / "prepared"), "--output", str(tmp_path / "out")]
    assert main(["data", "augment", *folders, *flags]) == 0
    made = PreparedData.open(tmp_path / "out")
    train = made.split("train")
    assert train.augmentations == ("", "", "paraphrase", "paraphrase")
    assert train.texts[2] == texts[0][5:] + " опять"
    (run,) = made.manifest.augmentation
    assert run["methods"]["paraphrase"]["parameters"]["model"] == kept.forward_model
    assert len(list((tmp_path / "out.translations").iterdir())) == 1


def test_import_translates_first_and_a_stopped_run_goes_on(kept, tmp_path, monkeypatch):
    rows = telling_rows(200, 0, {"joy": "joy", "fear": "страшно"})
    rows[7] = ("слово " * 200, ("joy",))
    cells = [[text, ",".join(labels)] for text, labels in rows]
    write_csv(tmp_path / "english.csv", ("text", "labels"), cells)
    calls = []

    def generate(_, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return [f"перевод {text}" for text in batch]

    monkeypatch.setattr(Translator, "_generate", generate)
    flags = ["data", "import", str(tmp_path / "english.csv"), "--output", str(tmp_path / "out")]
    flags += ["--translate", kept.forward_model, "--batch-size", "50", "--max-tokens", "64"]
    assert main(flags) == 130
    assert main(flags) == 1, "a text that is too long is a bad row"
    assert sum(calls) == 199 + calls[2], "two batches were kept"
    made = PreparedData.open(tmp_path / "out")
    (source,) = made.manifest.sources
    assert source.translated["model"] == kept.forward_model
    assert [row.row for row in source.bad_rows["english.csv"]] == [8]
    assert all(text.startswith("перевод ") for text in made.split("train").texts)
