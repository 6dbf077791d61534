"""A compiled model that takes rows of several texts, where it says the same as the one it is of."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ov_emotions.encoding import EncodedTexts, TextEncoder
from ov_emotions.runtime.base import Backend
from ov_emotions.runtime.bulk import BulkModel
from ov_emotions.runtime.openvino import OpenVINOBackend
from ov_emotions.runtime.packed_graph import UnpackableError
from ov_emotions.runtime.runner import Runner, in_order

_LOGGER = logging.getLogger(__name__)

# Of several lengths, and unlike each other.
_PROBES = (
    "ура",
    "мне сегодня очень грустно и ничего не хочется",
    "как ты мог забыть про мой день рождения я так тебя ждала",
    "поезд приходит в восемь часов вечера на третий путь",
    "боюсь что нас никто не услышит",
)
_PROBE_TOKENS = 64

# A part of how far the logits of the texts lie apart. Texts of a row that see each other, or stand
# at wrong positions, are off by as much as another text; INT8 rounds otherwise by a fiftieth.
_TOLERANCE = 0.1


class Compile(Protocol):
    """Compiles a model with a stream a thread."""

    def __call__(self, *, packed: bool) -> OpenVINOBackend:
        """Compile it, packed or not."""


def compile_bulk(
    compile_model: Compile,
    plain: Backend,
    encoder: TextEncoder,
    *,
    threads: int,
) -> BulkModel | None:
    """Compile a model packed, if its graph can be and is right then, or else as it is.

    :param compile_model: compiles it with a stream a thread, packed or not.
    :param plain: the same model, not packed.
    :param encoder: its tokeniser.
    :param threads: that it has.
    :return: the model; None where it would be the plain one once more, not packed and of one
        thread.
    :raises OvEmotionsError: if it cannot be compiled.
    """
    try:
        packed = compile_model(packed=True)
    except UnpackableError as error:
        reason = str(error)
    else:
        if _says_the_same(packed, plain, encoder.encode(_PROBES)):
            return BulkModel(packed, packed=True)
        packed.close()
        reason = "it says something else then"
    _LOGGER.info("each text has a row of its own; the model takes no others: %s", reason)
    return BulkModel(compile_model(packed=False), packed=False) if threads > 1 else None


def _says_the_same(packed: Backend, plain: Backend, encoded: EncodedTexts) -> bool:
    expected = _logits(Runner(plain, _PROBE_TOKENS), encoded)
    found = _logits(Runner(packed, _PROBE_TOKENS, packed_streams=1), encoded)
    apart = float(np.ptp(expected, axis=0).max())
    return bool(np.abs(found - expected).max() <= _TOLERANCE * apart)


def _logits(runner: Runner, encoded: EncodedTexts) -> NDArray[np.float32]:
    groups, batches = runner.arrange(encoded)
    return in_order(groups, runner.backend.infer(batches))
