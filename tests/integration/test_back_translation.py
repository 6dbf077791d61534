"""Back-translation by Marian models of random weights: what comes out is noise, but repeats."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ov_emotions.data.augment import marian
from ov_emotions.data.augment.back_translation import _fault, back_translate
from ov_emotions.data.augment.config import AugmentConfig
from ov_emotions.data.augment.marian import Marian
from ov_emotions.data.augment.translations import Translations
from ov_emotions.errors import DataError
from ov_emotions.system import import_sentencepiece

torch = pytest.importorskip("torch", reason="Marian models run on torch", exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason="it has the Marian models")
pytest.importorskip("sacremoses", reason="MarianTokenizer normalises punctuation with it")

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


def _silent(*_: object) -> None:
    pass


def test_texts_go_through_both_models(kept: AugmentConfig) -> None:
    seen: list[tuple[int, int, str]] = []
    rows = back_translate(TEXTS, range(len(TEXTS)), kept, lambda *said: seen.append(said))
    assert len(rows.texts) + sum(rows.not_made.values()) == len(TEXTS)
    forward, backward = Marian(kept.forward_model, kept), Marian(kept.backward_model, kept)
    english = forward.translate(TEXTS, _silent)
    russian = backward.translate(list(english.values()), _silent)
    assert len(set(english.values())) > 1
    for text, position in zip(rows.texts, rows.positions, strict=True):
        assert text == russian[english[TEXTS[position]]]
    assert rows.facts == {"forward_sha256": forward.sha256, "backward_sha256": backward.sha256}
    assert forward.sha256 != backward.sha256
    assert (len(TEXTS), len(TEXTS), "to English") in seen


def test_a_run_that_was_stopped_goes_on_and_ends_alike(
    kept: AugmentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Marian(kept.forward_model, kept).translate(TEXTS, _silent)
    stopped = replace(kept, translations=tmp_path / "stopped")
    model = Marian(kept.forward_model, stopped)
    generate, calls = model._generate, []

    def twice(batch: list[str]) -> list[str]:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(batch)
        return generate(batch)

    monkeypatch.setattr(model, "_generate", twice)
    with pytest.raises(KeyboardInterrupt):
        model.translate(TEXTS, _silent)
    (file,) = (tmp_path / "stopped").iterdir()
    assert len(file.read_text(encoding="utf-8").splitlines()) == 4
    with file.open("ab") as torn:
        torn.write('{"text": "вас", "trans'.encode()[:-1])

    again = Marian(kept.forward_model, stopped)
    generated: list[str] = []
    generate = again._generate
    monkeypatch.setattr(again, "_generate", lambda b: (generated.extend(b), generate(b))[1])
    assert again.translate(TEXTS, _silent) == whole
    assert sorted(generated + [text for batch in calls for text in batch]) == sorted(TEXTS)


def test_other_beams_or_weights_have_translations_of_their_own(kept: AugmentConfig) -> None:
    folder = kept.translations
    assert folder is not None
    Marian(kept.forward_model, kept).translate(TEXTS, _silent)
    Marian(kept.forward_model, replace(kept, beams=1)).translate(TEXTS, _silent)
    Marian(kept.backward_model, kept).translate(TEXTS, _silent)
    assert len(list(folder.iterdir())) == 3


def test_texts_that_are_too_long_are_not_translated(kept: AugmentConfig) -> None:
    long = "мама мыла раму " * 300
    rows = back_translate([long, "мыла"], [0, 1], kept, _silent)
    assert rows.not_made["too_long"] == 1
    assert 0 not in rows.positions


def test_what_came_back_unchanged_or_of_another_length_is_no_row() -> None:
    assert _fault("Мама мыла раму.", "мама мыла раму") == "unchanged"
    assert _fault("мама мыла раму", "мама " * 8) == "length_differs"
    assert _fault("мама мыла раму в доме сегодня", "мама") == "length_differs"
    assert _fault("да", "ну да конечно") is None
    assert _fault("мама мыла раму", "мать протёрла окно") is None


def test_what_is_no_marian_model_is_told(
    kept: AugmentConfig, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="is no folder; name the folder of a Marian model"):
        Marian(str(tmp_path / "none"), kept)
    with pytest.raises(DataError, match=r"holds no readable config\.json"):
        Marian(str(tmp_path), kept)
    with pytest.raises(DataError, match="is a model of type bert, not marian"):
        Marian(str(tiny_base), kept)
    with pytest.raises(DataError, match="reads at most 64 tokens"):
        Marian(kept.forward_model, replace(kept, max_tokens=100))
    if not torch.cuda.is_available():
        with pytest.raises(DataError, match="there is no CUDA device"):
            Marian(kept.forward_model, replace(kept, device="cuda"))
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(DataError, match="could not be had from the Hub"):
        Marian("Helsinki-NLP/opus-mt-ru-en", kept)


def test_a_damaged_model_is_told(kept: AugmentConfig, tmp_path: Path) -> None:
    for path in Path(kept.forward_model).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be loaded as a Marian model"):
        Marian(str(tmp_path), kept)
    assert marian._hash(tmp_path) != marian._hash(Path(kept.forward_model))


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
