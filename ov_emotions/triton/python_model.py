"""The model that Triton's Python backend runs: texts in, probabilities and names out.

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

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import BundleIntegrityError, InputError, OvEmotionsError
from ov_emotions.triton.config import HASH_KEY, TritonConfig, facts, label_names

_LOGGER = logging.getLogger(__name__)

BUNDLE_FOLDER = "bundle"


class TritonPythonModel:
    """What the Python backend asks for: `initialize`, `execute`, `finalize`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle of this version; refuse one that config.pbtxt does not describe.

        :param args: Triton's: the configuration as JSON, the model's folder and the version.
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
        self._names = label_names(bundle, config)
        self._separator = config.separator
        self._classifier = EmotionClassifier(
            bundle, threads=config.threads, long_texts=config.long_texts
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, each for itself.

        :param requests: Triton's, each with the input `text`.
        :return: a response a request: `probabilities` f32 [N, labels] and `labels` BYTES [N], or an
            error that says what was wrong.
        """
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        """Let go of the model."""
        self._classifier.close()

    def _answer(self, request: Any) -> Any:
        backend = self._backend
        try:
            texts = _texts(backend.get_input_tensor_by_name(request, "text").as_numpy())
            predictions = self._classifier(texts)
        except InputError as error:
            return self._refuse(error, backend.TritonError.INVALID_ARG)
        except OvEmotionsError as error:
            return self._refuse(error, backend.TritonError.INTERNAL)
        labels = self._classifier.labels
        names = dict(zip(labels, self._names, strict=True))
        scores = [[found.scores[label] for label in labels] for found in predictions]
        joined = [
            self._separator.join(names[label] for label in found.labels).encode()
            for found in predictions
        ]
        return backend.InferenceResponse(
            [
                backend.Tensor(
                    "probabilities",
                    np.array(scores, dtype=np.float32).reshape(len(texts), len(labels)),
                ),
                backend.Tensor("labels", np.array(joined, dtype=np.object_)),
            ]
        )

    def _refuse(self, error: OvEmotionsError, code: Any) -> Any:
        _LOGGER.info("a request was refused: %s", error)
        return self._backend.InferenceResponse(
            output_tensors=[], error=self._backend.TritonError(str(error), code)
        )


def _config(parameters: dict[str, str]) -> TritonConfig:
    threads = parameters.get("threads")
    if threads is not None and not threads.isdecimal():
        raise InputError(f"the parameter threads must be a whole number, not {threads!r}")
    return TritonConfig(
        names="en" if parameters.get("label_names") == "en" else "ru",
        separator=parameters.get("separator", ", "),
        long_texts="truncate" if parameters.get("long_texts") == "truncate" else "window",
        threads=None if threads is None else int(threads),
    )


def _texts(array: Any) -> list[str]:
    texts = []
    for position, text in enumerate(array.ravel()):
        try:
            texts.append(text.decode() if isinstance(text, bytes) else str(text))
        except UnicodeDecodeError:
            raise InputError(f"the text at position {position} is not UTF-8") from None
    return texts
