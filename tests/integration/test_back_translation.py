"""Models of random weights that translate and paraphrase: what comes out is noise, but repeats."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_sets import telling_rows, write_csv

from ov_emotions.cli.main import main
from ov_emotions.data.augment import translation
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


def _write_marian(folder: Path, seed: int) -> None:
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
def config(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> AugmentConfig:  # noqa: ARG001
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
def kept(config: AugmentConfig, tmp_path: Path) -> AugmentConfig:
    return replace(config, translations=tmp_path / "translations")


def _silent(_: Progress) -> None:
    pass


def _model(name: str, config: AugmentConfig) -> Translator:
    assert config.translations is not None
    return Translator(name, config, config.translations)


def _translate(model: Translator, texts: Sequence[str]) -> dict[str, str]:
    return model.translate(texts, _silent, "")


def test_texts_go_through_both_models(kept: AugmentConfig) -> None:
    seen: list[Progress] = []
    rows = back_translate(TEXTS, range(len(TEXTS)), kept, seen.append)
    assert len(rows.texts) + sum(rows.not_made.values()) == len(TEXTS)
    forward, backward = _model(kept.forward_model, kept), _model(kept.backward_model, kept)
    english = _translate(forward, TEXTS)
    russian = _translate(backward, list(english.values()))
    assert len(set(english.values())) > 1
    for text, position in zip(rows.texts, rows.positions, strict=True):
        assert text == russian[english[TEXTS[position]]]
    assert rows.facts == {"forward_sha256": forward.sha256, "backward_sha256": backward.sha256}
    assert forward.sha256 != backward.sha256
    assert Progress(len(TEXTS), len(TEXTS), "texts", "to English") in seen


def test_a_run_that_was_stopped_goes_on_and_ends_alike(
    kept: AugmentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _translate(_model(kept.forward_model, kept), TEXTS)
    stopped = replace(kept, translations=tmp_path / "stopped")
    model = _model(kept.forward_model, stopped)
    generate, calls = model._generate, []

    def twice(batch: list[str]) -> list[str]:
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
    generated: list[str] = []
    generate = again._generate
    monkeypatch.setattr(again, "_generate", lambda b: (generated.extend(b), generate(b))[1])
    assert _translate(again, TEXTS) == whole
    assert sorted(generated + [text for batch in calls for text in batch]) == sorted(TEXTS)


def test_other_beams_or_weights_have_translations_of_their_own(kept: AugmentConfig) -> None:
    folder = kept.translations
    assert folder is not None
    _translate(_model(kept.forward_model, kept), TEXTS)
    _translate(_model(kept.forward_model, replace(kept, beams=1)), TEXTS)
    _translate(_model(kept.backward_model, kept), TEXTS)
    assert len(list(folder.iterdir())) == 3


def test_texts_that_are_too_long_are_not_translated(kept: AugmentConfig) -> None:
    long = "мама мыла раму " * 300
    rows = back_translate([long, "мыла"], [0, 1], kept, _silent)
    assert rows.not_made["too_long"] == 1
    assert 0 not in rows.positions


def test_what_came_back_unchanged_or_of_another_length_is_no_row() -> None:
    assert fault("Мама мыла раму.", "мама мыла раму") == "unchanged"
    assert fault("мама мыла раму", "мама " * 8) == "length_differs"
    assert fault("мама мыла раму в доме сегодня", "мама") == "length_differs"
    assert fault("да", "ну да конечно") is None
    assert fault("мама мыла раму", "мать протёрла окно") is None


def test_what_is_no_marian_model_is_told(
    kept: AugmentConfig, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="is no folder; name the folder of a sequence"):
        _model(str(tmp_path / "none"), kept)
    with pytest.raises(DataError, match=r"holds no readable config\.json"):
        _model(str(tmp_path), kept)
    with pytest.raises(DataError, match="is a model of type bert, which does not write texts"):
        _model(str(tiny_base), kept)
    with pytest.raises(DataError, match="reads at most 64 tokens"):
        _model(kept.forward_model, replace(kept, max_tokens=100))
    if not torch.cuda.is_available():
        with pytest.raises(DataError, match="there is no CUDA device"):
            _model(kept.forward_model, replace(kept, device="cuda"))
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(DataError, match="could not be had from the Hub"):
        _model("Helsinki-NLP/opus-mt-ru-en", kept)


def test_a_damaged_model_is_told(kept: AugmentConfig, tmp_path: Path) -> None:
    for path in Path(kept.forward_model).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be loaded as a marian model"):
        _model(str(tmp_path), kept)
    assert translation._hash(tmp_path, "marian") != translation._hash(
        Path(kept.forward_model), "marian"
    )


def test_translations_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
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


def test_a_model_of_another_kind_paraphrases(kept: AugmentConfig, tmp_path: Path) -> None:
    t5 = str(write_tiny_t5(tmp_path / "t5"))
    config = replace(kept, method=("paraphrase",), model=t5, prefix="эмоции: ", max_tokens=40)
    seen: list[Progress] = []
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
    assert all(
        text == written[TEXTS[i]] for text, i in zip(rows.texts, rows.positions, strict=True)
    )


def test_augment_adds_paraphrases_that_are_told_from_others(
    kept: AugmentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"мама мыла раму и я рад видеть вас {word}" for word in ("утро", "стол", "река")]
    data = LabelledTexts(EKMAN, tuple(texts), np.ones((3, 7), np.int8), ("x",) * 3, np.arange(3))
    facts = {
        "seed": 1,
        "near_threshold": 0.8,
        "sources": (),
        "dropped": {},
        "validation_parts": {"selection": [0]},
    }
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
    (run,) = made.manifest.augmentation or ()
    assert run["methods"]["paraphrase"]["parameters"]["model"] == kept.forward_model
    assert len(list((tmp_path / "out.translations").iterdir())) == 1


def test_import_translates_first_and_a_stopped_run_goes_on(
    kept: AugmentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = telling_rows(200, 0, {"joy": "joy", "fear": "страшно"})
    rows[7] = ("слово " * 200, ("joy",))
    cells = [[text, ",".join(labels)] for text, labels in rows]
    write_csv(tmp_path / "english.csv", ("text", "labels"), cells)
    calls: list[int] = []

    def generate(_: Translator, batch: list[str]) -> list[str]:
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
    assert source.translated is not None
    assert source.translated["model"] == kept.forward_model
    assert [row.row for row in source.bad_rows["english.csv"]] == [8]
    assert all(text.startswith("перевод ") for text in made.split("train").texts)
