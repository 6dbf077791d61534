"""The real sets and base encoders, where the shared material is at hand."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)

from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import PreparedData
from ov_emotions.data.prepare import prepare
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.errors import CheckpointError
from ov_emotions.labels import EKMAN
from ov_emotions.normalize import normalize
from ov_emotions.training.checkpoint import with_asr_normalizer
from ov_emotions.training.prune import prune_base
from ov_emotions.training.settings import PruneConfig

SIZES = {
    "test_goemotions": 5427,
    "test_cedr": 1882,
    "test_brighter": 670,
    "validation": 5343,
    "train": 53401,
}
PRESENT = dict(zip(EKMAN.labels, (726, 123, 98, 2104, 379, 677, 1787), strict=True))
EMBEDDINGS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def prepared(shared: Path, tmp_path_factory) -> PreparedData:
    if not (shared / "data").is_dir():
        pytest.skip(f"{shared} has no data")
    folder = tmp_path_factory.mktemp("real") / "prepared"
    prepare(PrepareConfig(shared / "data", folder))
    return PreparedData.open(folder)


def test_every_row_of_the_real_sets_is_read(prepared):
    rows = {
        (source.name, split): facts.rows
        for source in prepared.manifest.sources
        for split, facts in source.files.items()
    }
    assert rows == {
        ("ru_goemotions", "train"): 29703,
        ("ru_goemotions", "validation"): 5426,
        ("ru_goemotions", "test"): 5427,
        ("brighter_rus", "train"): 2679,
        ("cedr", "train"): 7528,
        ("cedr", "test"): 1882,
        ("ru_izard", "train"): 18104,
    }
    assert not any(bad for s in prepared.manifest.sources for bad in s.bad_rows.values())


def test_splits_have_the_known_sizes_and_label_counts(prepared):
    splits = prepared.manifest.splits
    assert {name: facts.rows for name, facts in splits.items()} == SIZES
    counts = splits["test_goemotions"].labels
    assert {label: counts[label]["present"] for label in counts} == PRESENT
    assert splits["test_cedr"].labels["neutral"]["unknown"] == 1882


def test_no_real_training_text_equals_a_held_out_one_and_leaks_are_counted(prepared):
    train = {normalize(text) for text in prepared.split("train").texts}
    assert len(train) == SIZES["train"]
    assert train.isdisjoint(prepared.held_out_texts())
    dropped = prepared.manifest.dropped["train"]
    assert dropped["equal_to_held_out"] > 100
    assert dropped["near_equal_to_held_out"] > 0


@pytest.fixture(scope="module", params=["rubert-tiny2", "e5-small-ru"])
def pruned(request, shared: Path, prepared: PreparedData, tmp_path_factory):
    pytest.importorskip("safetensors.torch", reason="pruning needs torch", exc_type=ImportError)
    base = shared / "models" / request.param
    if not base.is_dir():
        pytest.skip(f"{base} is missing")
    corpus = [*prepared.split("train").texts, *prepared.split("validation").texts]
    folder = tmp_path_factory.mktemp("pruned") / request.param
    # Little but the corpus and single characters is asked to stay.
    sizes = prune_base(PruneConfig(base=base, output=folder, keep="digits"), corpus)
    return base, folder, corpus, sizes


def _vocab(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()


def _pieces(folder, texts):
    tokenizer = with_asr_normalizer(Tokenizer.from_file(str(folder / "tokenizer.json")))
    return [encoding.tokens for encoding in tokenizer.encode_batch_fast(texts)]


def test_the_corpus_tokenises_to_the_same_pieces_with_a_smaller_vocabulary(pruned):
    base, folder, corpus, sizes = pruned
    assert sizes["after"] < 0.7 * sizes["before"]
    assert _pieces(folder, corpus) == _pieces(base, corpus)


def test_texts_of_another_domain_lose_no_character(pruned, shared):
    """Pieces may be gone, but what they stand for is still spelled by others."""
    base, folder, _, _ = pruned
    with gzip.open(shared / "data/text/koziev_short_sentences.txt.gz", "rt", "utf-8") as file:
        texts = [line.strip() for line in islice(file, 2000)]
    unknown = {"[UNK]", "<unk>"}
    for before, after in zip(_pieces(base, texts), _pieces(folder, texts), strict=True):
        assert sum(p in unknown for p in after) <= sum(p in unknown for p in before)


def test_embedding_rows_are_those_of_the_original_pieces(pruned):
    from safetensors.numpy import load_file

    base, folder, _, sizes = pruned
    old_vocab, new_vocab = _vocab(base), _vocab(folder)
    tables = []
    for path in (base, folder):
        weights = load_file(path / "model.safetensors")
        tables.append(next(w for name, w in weights.items() if name.endswith(EMBEDDINGS)))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert len(tables[1]) == len(new_vocab) == config["vocab_size"] == sizes["after"]
    assert sorted(new_vocab.values()) == list(range(len(new_vocab)))
    pieces = list(new_vocab)
    np.testing.assert_array_equal(
        tables[1][[new_vocab[p] for p in pieces]], tables[0][[old_vocab[p] for p in pieces]]
    )


def test_single_characters_and_special_tokens_stay(pruned):
    base, folder, _, _ = pruned
    old, new = (json.loads((f / "tokenizer.json").read_text("utf-8")) for f in (base, folder))
    old_vocab, new_vocab = _vocab(base), _vocab(folder)
    letters = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяabcdefghijklmnopqrstuvwxyz0123456789"
    marked = [form for c in letters for form in (c, f"##{c}", f"\u2581{c}")]
    assert {piece for piece in marked if piece in old_vocab} <= set(new_vocab)
    special = [token["content"] for token in old["added_tokens"]]
    assert [token["content"] for token in new["added_tokens"]] == special
    for token in new["added_tokens"]:
        assert new_vocab[token["content"]] == token["id"]


def test_a_folder_that_is_no_base_is_not_pruned(tmp_path):
    pytest.importorskip("safetensors.torch", reason="pruning needs torch", exc_type=ImportError)
    with pytest.raises(CheckpointError, match="not a base encoder folder"):
        prune_base(PruneConfig(base=tmp_path, output=tmp_path / "out"), ["текст"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "base"),
    [("emotions-ru-small", "e5-small-ru"), ("emotions-ru-tiny", "rubert-tiny2")],
)
def test_real_texts_split_into_the_same_pieces_as_with_the_whole_vocabulary(
    prepared, shared, model, base
):
    whole = with_asr_normalizer(
        Tokenizer.from_file(str(shared / "models" / base / "tokenizer.json"))
    )
    shipped = Bundle.load(model).tokenizer()

    def same(texts: list[str]) -> float:
        pairs = zip(whole.encode_batch_fast(texts), shipped.encode_batch_fast(texts), strict=True)
        return float(np.mean([old.tokens == new.tokens for old, new in pairs]))

    for split in ("train", "validation"):  # the vocabulary was cut by what these use
        assert same(list(prepared.split(split).texts)) == 1.0
    # Of texts that were not looked at, those with rare Latin words may split finer.
    assert same(list(prepared.split("test_goemotions").texts)) > 0.985
    spoken = shared / "data" / "asr_unlabelled" / "texts.txt"
    assert same(spoken.read_text(encoding="utf-8").splitlines()) > 0.99
