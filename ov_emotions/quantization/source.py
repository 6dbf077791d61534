"""What quantization starts from: an fp32 bundle, or a checkpoint that is exported on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ov_emotions.bundle import BUNDLE_FILES, MANIFEST_NAME, Bundle, resolve
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import BundleNotFoundError
from ov_emotions.files import best_inside

CHECKPOINT_FILES = ("checkpoint.json", "config.json", "head.json", "model.safetensors")
"""Together with tokenizer.json, which bundles have too."""


def find_source(source: str) -> tuple[Path, bool]:
    """Find what a name means, and what it is.

    :param source: a bundle or a checkpoint: shipped name, folder or Hub id.
    :return: its folder, and whether it is a checkpoint.
    :raises BundleNotFoundError: if there is no such thing, or it is neither.
    """
    folder = resolve(source, files=(*BUNDLE_FILES, *CHECKPOINT_FILES))
    if (folder / MANIFEST_NAME).is_file():
        return folder, False
    if (folder / CHECKPOINT_FILES[0]).is_file():
        return folder, True
    hint = best_inside(folder)
    raise BundleNotFoundError(
        f"{folder} holds neither {MANIFEST_NAME} nor {CHECKPOINT_FILES[0]}"
        + (hint or "; give a bundle with fp32 weights, or a checkpoint of `ov-emotions train`")
    )


def model_name(folder: Path) -> str:
    """Say what a model is called whose folder says nothing but where it lies."""
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "best" else resolved.name


@contextmanager
def fp32_bundle(source: str, prepared: PreparedData) -> Iterator[Bundle]:
    """Open the fp32 bundle that a source is, or that it exports to.

    :param source: as for `find_source`.
    :param prepared: gives the texts that an export is checked on.
    :return: yields the bundle; what was exported is gone after the block.
    :raises OvEmotionsError: if there is none, or the checkpoint does not convert.
    """
    folder, checkpoint = find_source(source)
    if not checkpoint:
        yield Bundle.load(folder)
        return
    from ov_emotions.export import ExportConfig, export_bundle, parity_texts

    with tempfile.TemporaryDirectory() as temporary:
        config = ExportConfig(folder, Path(temporary) / "fp32", model_name(folder))
        yield export_bundle(config, parity_texts(prepared))[0]
