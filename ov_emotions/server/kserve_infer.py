"""The body of an inference of KServe v2: texts as JSON or as bytes, answers as they are asked for.

The sentences are Model Server's, word for word where they were recorded.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from pydantic_core import to_json

from ov_emotions.classifier import decide
from ov_emotions.server.answers import JSON, NotJsonError, parse_json
from ov_emotions.server.refusal import RefusedError
from ov_emotions.server.service import Service
from ov_emotions.server.settings import SERVED_VERSION

HEADER = "Inference-Header-Content-Length"
INPUT = "text"
OUTPUTS = ("labels", "probabilities")

_NO_ARRAY = "Could not parse input content. Not valid ndarray detected"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class InferRequest:
    """What was asked.

    :param texts: to classify.
    :param id: to give back; None where there was none.
    :param outputs: by name, whether as bytes.
    """

    texts: list[str]
    id: str | None
    outputs: Mapping[str, bool]


def parse_infer(body: bytes, headers: Mapping[str, str]) -> InferRequest:
    """Read the body of an inference.

    :param body: JSON, and bytes after it where the header says how long it is.
    :param headers: of the request.
    :return: what was asked.
    :raises RefusedError: 412 if it is no JSON, 400 if it is not what the model takes.
    """
    size = _json_size(headers.get(HEADER), len(body))
    try:
        asked = parse_json(body[:size])
    except NotJsonError as error:
        raise RefusedError(
            412, "not_json", f"The file is not valid json - Error: {error}"
        ) from None
    if not isinstance(asked, dict):
        raise _bad("Request body should be JSON object")
    tensor = _only_input(asked.get("inputs"))
    texts = _texts(tensor, body[size:])
    ident = asked.get("id")
    if ident is not None and not isinstance(ident, str):
        raise _bad("Invalid JSON structure, id must be a string")
    return InferRequest(texts, ident, _outputs(asked.get("outputs")))


def _bad(message: str) -> RefusedError:
    return RefusedError(400, "bad_request", message)


def _json_size(told: str | None, whole: int) -> int:
    if told is None:
        return whole
    if not (told.isascii() and told.isdecimal() and int(told) <= whole):
        raise _bad(f"{HEADER} is {told[:20]!r} and must be the length of the JSON part of the body")
    return int(told)


def _only_input(inputs: object) -> dict[str, Any]:
    if not isinstance(inputs, list) or not inputs:
        raise _bad("Invalid JSON structure, missing inputs")
    if len(inputs) != 1:
        raise _bad(f"Invalid number of inputs - Expected: 1; Actual: {len(inputs)}")
    tensor = inputs[0]
    if not isinstance(tensor, dict) or tensor.get("name") != INPUT:
        raise _bad(f"Missing input with specific name - Required input: {INPUT}")
    if (told := tensor.get("datatype")) != "BYTES":
        raise _bad(
            f"Invalid input precision - Expected: BYTES; Actual: {str(told)[:20]}; "
            f"input name: input name: {INPUT}"
        )
    return tensor


def _texts(tensor: Mapping[str, Any], rest: bytes) -> list[str]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise _bad("Invalid JSON structure, shape must be a list of sizes")
    if len(shape) != 1:
        told = ",".join(map(str, shape[:8]))
        raise _bad(
            f"Invalid number of shape dimensions - Expected: (-1); Actual: ({told}); "
            f"input name: input name: {INPUT}"
        )
    parameters = tensor.get("parameters")
    length = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if length is None:
        data = tensor.get("data")
        if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
            raise _bad(_NO_ARRAY)
    else:
        data = _unpack(length, rest)
    if len(data) != shape[0]:
        raise _bad(
            f"Invalid number of values in tensor proto container - Expected: {shape[0]} values; "
            f"Actual: {len(data)} values; input name: input name: {INPUT}"
        )
    return data


def _unpack(length: object, rest: bytes) -> list[str]:
    if type(length) is not int or length < 0:
        raise _bad("binary_data_size must be a number of bytes")
    if length > len(rest):
        raise _bad("Received buffer size is smaller than binary_data_size parameter indicates")
    texts = []
    at = 0
    while at < length:
        start = at + _LENGTH.size
        if start > length or (at := start + _LENGTH.unpack_from(rest, start - 4)[0]) > length:
            raise _bad(f"the bytes of {INPUT} end within the text at position {len(texts)}")
        try:
            texts.append(rest[start:at].decode())
        except UnicodeDecodeError:
            raise _bad(f"the text at position {len(texts)} is not UTF-8") from None
    return texts


def _outputs(asked: object) -> dict[str, bool]:
    if asked is None:
        return dict.fromkeys(OUTPUTS, False)
    if not isinstance(asked, list) or not all(
        isinstance(output, dict) and isinstance(output.get("name"), str) for output in asked
    ):
        raise _bad("Invalid JSON structure, outputs must be objects with a name")
    found = {}
    for output in asked:
        parameters = output.get("parameters", {})
        binary = parameters.get("binary_data", False) if isinstance(parameters, dict) else None
        if not isinstance(binary, bool):
            raise _bad("Invalid JSON structure, binary_data must be true or false")
        if output["name"] in OUTPUTS:
            found[output["name"]] = binary
    return found or dict.fromkeys(OUTPUTS, False)


def answer_infer(
    service: Service,
    asked: InferRequest,
    probabilities: NDArray[np.float32],
    truncated: Sequence[bool | None],
) -> Response:
    """Write the answer to an inference.

    :param service: whose names.
    :param asked: the request.
    :param probabilities: float32, shape (texts, labels).
    :param truncated: per text.
    :return: JSON, or JSON with bytes after it.
    """
    outputs = []
    tail = b""
    for name in OUTPUTS:
        if name not in asked.outputs:
            continue
        if name == "probabilities":
            shape, datatype = list(probabilities.shape), "FP32"
        else:
            shape, datatype = [len(probabilities)], "BYTES"
        output: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        if asked.outputs[name]:
            raw = (
                probabilities.astype("<f4").tobytes()
                if name == "probabilities"
                else _pack(_names(service, probabilities, truncated))
            )
            output["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        elif name == "probabilities":
            output["data"] = probabilities.ravel().tolist()
        else:
            output["data"] = _names(service, probabilities, truncated)
        outputs.append(output)
    head: dict[str, Any] = {"model_name": service.settings.name}
    if asked.id is not None:
        head["id"] = asked.id
    head |= {"model_version": SERVED_VERSION, "outputs": outputs}
    text = to_json(head)
    if not any(asked.outputs.values()):
        return Response(text, media_type=JSON)
    return Response(
        text + tail, headers={HEADER: str(len(text))}, media_type="application/octet-stream"
    )


def _names(
    service: Service, probabilities: NDArray[np.float32], truncated: Sequence[bool | None]
) -> list[str]:
    classifier = service.classifier
    found = decide(classifier.labels, classifier.thresholds, probabilities, truncated)
    names = service.names
    return [service.separator.join(names[label] for label in one.labels) for one in found]


def _pack(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)
