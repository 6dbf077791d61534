from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from raw_sets import FILES, FILLERS, TELLING, write_raw
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ov_emotions.bundle import Bundle

if TYPE_CHECKING:
    from ov_emotions.data.dataset import PreparedData
    from ov_emotions.training.checkpoint import CheckpointFacts
    from ov_emotions.training.settings import Text2TextConfig, TrainConfig

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
    from ov_emotions.data.prepare import prepare
    from ov_emotions.data.settings import PrepareConfig

    folder = tmp_path_factory.mktemp("data")
    write_raw(folder / "raw", SIZES)
    prepare(PrepareConfig(folder / "raw", folder / "prepared"))
    return folder / "prepared"


@pytest.fixture(scope="session")
def one_thread():
    """Torch on one thread: repeats exactly, and does not wait for cores that others use."""
    torch = pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def config(tiny_base: Path, prepared_folder: Path, tmp_path_factory) -> TrainConfig:
    from ov_emotions.training.settings import TrainConfig

    return TrainConfig(
        base=str(tiny_base),
        data=prepared_folder,
        output=tmp_path_factory.mktemp("runs") / "run",
        epochs=4,
        batch_size=16,
        learning_rate=4e-3,
        head_learning_rate=1e-2,
        max_length=24,
        evaluations_per_epoch=2,
        patience=8,
        precision="fp32",
        device="cpu",
    )


@pytest.fixture(scope="session")
def facts(config: TrainConfig, one_thread: None) -> CheckpointFacts:  # noqa: ARG001
    """A trained checkpoint's facts."""
    from ov_emotions.training.run import train

    return train(config)


@pytest.fixture(scope="session")
def checkpoint(facts: CheckpointFacts) -> Path:
    return Path(facts.training["output"]) / "best"


@pytest.fixture(scope="session")
def prepared(prepared_folder: Path) -> PreparedData:
    from ov_emotions.data.dataset import PreparedData

    return PreparedData.open(prepared_folder)


@pytest.fixture(scope="session")
def fp32(checkpoint: Path, prepared: PreparedData, tmp_path_factory) -> Bundle:
    from ov_emotions.conversion.config import ConversionConfig
    from ov_emotions.conversion.run import to_fp32

    output = tmp_path_factory.mktemp("bundles") / "fp32"
    config = ConversionConfig(
        str(checkpoint), output, name="tiny", base_licence="MIT", licence="MIT"
    )
    return to_fp32(config, prepared)[0]


@pytest.fixture(scope="session")
def int8(fp32: Bundle, prepared: PreparedData) -> Bundle:
    from ov_emotions.quantization.quantize import quantize_bundle
    from ov_emotions.quantization.recipe import PtqConfig, Recipe

    recipe = Recipe("int8", "", "int8", PtqConfig(subset_size=40))
    return quantize_bundle(fp32, prepared, fp32.folder.parent / "int8", recipe)


@pytest.fixture(scope="session")
def t5_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of two layers with random weights, as a folder that training starts from."""
    from tiny_t5 import write_tiny_t5

    return write_tiny_t5(tmp_path_factory.mktemp("t5") / "base")


@pytest.fixture(scope="session")
def t5_config(t5_base: Path, prepared_folder: Path, tmp_path_factory: Any) -> Text2TextConfig:
    from ov_emotions.training.settings import Text2TextConfig

    return Text2TextConfig(
        base=str(t5_base),
        data=prepared_folder,
        output=tmp_path_factory.mktemp("t5runs") / "run",
        epochs=10,
        batch_size=16,
        learning_rate=3e-3,
        max_source_length=48,
        max_target_length=12,
        patience=10,
        precision="fp32",
        device="cpu",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, which a test fills up to what it leaves a run."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount") or "mount"
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    done = subprocess.run([mount, *options], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", str(folder)], check=True)


@pytest.fixture
def leave_room(small_disk: Path) -> Callable[[int], Path]:
    """Fills the small disk up to so many bytes; gives the file that does, to be deleted."""

    def leave(size: int) -> Path:
        filler = small_disk / "filler"
        filler.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - size)))
        return filler

    return leave
