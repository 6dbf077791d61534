"""The model that Triton's Python backend runs: texts or token ids in, probabilities out.

A repository's model.py imports `TritonPythonModel` from here, so that the server's Python needs the
ov-emotions wheel and nothing else. Only Triton can import `triton_python_backend_utils`, so it is
imported where it is used.
"""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.encoding import EncodedBatch
from ov_emotions.errors import BundleIntegrityError, InputError, OvEmotionsError
from ov_emotions.manifest import HASH_KEY
from ov_emotions.runtime.openvino import OpenVINOBackend
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.text_model import label_names
from ov_emotions.serving.triton import BUNDLE_FOLDER, facts
from ov_emotions.thresholds import to_probabilities

_LOGGER = logging.getLogger(__name__)


class TritonPythonModel:
    """What the Python backend asks for: `initialize`, `execute`, `finalize`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle of this version; refuse one that config.pbtxt does not describe.

        :raises BundleError: if the bundle is missing or damaged.
        :raises BundleIntegrityError: if config.pbtxt tells the facts of another bundle.
        """
        self._backend: Any = importlib.import_module("triton_python_backend_utils")
        parameters = {
            key: value["string_value"]
            for key, value in json.loads(args["model_config"])["parameters"].items()
        }
        folder = Path(args["model_repository"]) / args["model_version"] / BUNDLE_FOLDER
        bundle = Bundle.load(folder)
        config = _config(parameters)
        told = {key: parameters.get(key) for key in (HASH_KEY, "labels", "thresholds")}
        ours = facts(bundle, config)
        if any(text != ours[key] for key, text in told.items()):
            # Clients would apply other thresholds, or other labels, than this bundle has.
            raise BundleIntegrityError(
                f"config.pbtxt tells the facts of another bundle than the one in {folder}; "
                "publish it again with `ov-emotions triton build`"
            )
        kind: type[_TextModel | _TokenModel] = (
            _TokenModel if config.takes == "tokens" else _TextModel
        )
        self._served = kind(bundle, config, self._backend)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, each for itself."""
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Let go of the model."""
        self._served.close()

    def _answer(self, request: Any) -> Any:
        backend = self._backend
        try:
            outputs = self._served.answer(request)
        except InputError as error:
            return self._refuse(error, backend.TritonError.INVALID_ARG)
        except OvEmotionsError as error:
            return self._refuse(error, backend.TritonError.INTERNAL)
        return backend.InferenceResponse([backend.Tensor(*output) for output in outputs.items()])

    def _refuse(self, error: OvEmotionsError, code: Any) -> Any:
        _LOGGER.info("a request was refused: %s", error)
        return self._backend.InferenceResponse(
            output_tensors=[], error=self._backend.TritonError(str(error), code)
        )


class _TextModel:
    """Texts in, probabilities and names out."""

    def __init__(self, bundle: Bundle, config: TritonConfig, backend: Any) -> None:
        self._backend = backend
        self._names = label_names(bundle, config.names, config.separator)
        self._separator = config.separator
        self._classifier = EmotionClassifier(
            bundle, threads=config.threads, long_texts=config.long_texts
        )

    def answer(self, request: Any) -> dict[str, NDArray[Any]]:
        texts = _texts(self._backend.get_input_tensor_by_name(request, "text").as_numpy())
        predictions = self._classifier(texts)
        labels = self._classifier.labels
        names = dict(zip(labels, self._names, strict=True))
        scores = [[found.scores[label] for label in labels] for found in predictions]
        joined = [
            self._separator.join(names[label] for label in found.labels).encode()
            for found in predictions
        ]
        return {
            "probabilities": np.array(scores, dtype=np.float32).reshape(len(texts), len(labels)),
            "labels": np.array(joined, dtype=np.object_),
        }

    def close(self) -> None:
        self._classifier.close()


class _TokenModel:
    """Token ids and their mask in, probabilities out."""

    def __init__(self, bundle: Bundle, config: TritonConfig, backend: Any) -> None:
        self._backend = backend
        self._labels = len(bundle.manifest.labels)
        self._max_length = bundle.manifest.max_length
        self._task = bundle.manifest.task
        tokenizer = bundle.tokenizer()
        self._vocabulary = tokenizer.get_vocab_size()
        self._special = tokenizer.num_special_tokens_to_add(False)
        self._model = OpenVINOBackend(bundle, threads=config.threads)

    def answer(self, request: Any) -> dict[str, NDArray[Any]]:
        ids, mask = (
            np.ascontiguousarray(self._backend.get_input_tensor_by_name(request, name).as_numpy())
            for name in ("input_ids", "attention_mask")
        )
        self._check(ids, mask)
        scores = np.zeros((len(ids), self._labels), np.float32)
        # A row without a token of its own is a text with nothing to read, as in process.
        if (told := mask.sum(axis=1) > self._special).any():
            logits = self._model.infer([EncodedBatch(ids[told], mask[told])])
            scores[told] = to_probabilities(logits[0], self._task)
        return {"probabilities": scores}

    def close(self) -> None:
        self._model.close()

    def _check(self, ids: NDArray[Any], mask: NDArray[Any]) -> None:
        if ids.ndim != 2 or ids.shape != mask.shape:
            raise InputError(
                f"input_ids have shape {list(ids.shape)} and attention_mask {list(mask.shape)}; "
                "both must be [texts, tokens]"
            )
        if ids.shape[1] > self._max_length:
            raise InputError(
                f"input_ids are {ids.shape[1]} tokens long, and the model reads {self._max_length}"
            )
        if ((ids < 0) | (ids >= self._vocabulary)).any():
            raise InputError(f"input_ids must lie in 0 to {self._vocabulary - 1}")
        if ((mask != 0) & (mask != 1)).any():
            raise InputError("attention_mask must hold only 0 and 1")


def _config(parameters: dict[str, str]) -> TritonConfig:
    threads = parameters.get("threads")
    if threads is not None and not threads.isdecimal():
        raise InputError(f"the parameter threads must be a whole number, not {threads!r}")
    return TritonConfig(
        names="en" if parameters.get("label_names") == "en" else "ru",
        separator=parameters.get("separator", ", "),
        long_texts="truncate" if parameters.get("long_texts") == "truncate" else "window",
        threads=None if threads is None else int(threads),
        token_in=parameters.get("input") == "tokens",
    )


def _texts(array: Any) -> list[str]:
    texts = []
    for position, text in enumerate(array.ravel()):
        try:
            texts.append(text.decode() if isinstance(text, bytes) else str(text))
        except UnicodeDecodeError:
            raise InputError(f"the text at position {position} is not UTF-8") from None
    return texts
