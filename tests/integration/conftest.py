from __future__ import annotations

from pathlib import Path

import pytest
from raw_sets import FILES, FILLERS, TELLING, write_raw
from tokenizers import Tokenizer, models, pre_tokenizers, processors

LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя0123456789"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SIZES = dict(
    zip(FILES, (300, 300, 80, 80, 60, 40, 60), strict=True),
)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers x 32 with random weights, as a folder that training starts from."""
    torch = pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
    transformers = pytest.importorskip("transformers", reason="training needs transformers")
    folder = tmp_path_factory.mktemp("base")
    pieces = dict.fromkeys(
        [*SPECIAL, *TELLING.values(), *FILLERS, *LETTERS, *(f"##{c}" for c in LETTERS)]
    )
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        pad_token_id=0,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic sets gone through `prepare`."""
    pytest.importorskip("pyarrow", reason="prepared data are Parquet")
    from ov_emotions.data.prepare import PrepareConfig, prepare

    folder = tmp_path_factory.mktemp("data")
    write_raw(folder / "raw", SIZES)
    prepare(PrepareConfig(folder / "raw", folder / "prepared"))
    return folder / "prepared"
