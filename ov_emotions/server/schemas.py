"""What goes in and comes out, as OpenAPI tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ov_emotions.server.settings import ServerSettings

_STRICT = ConfigDict(extra="forbid")


class ErrorAnswer(BaseModel):
    """Why there is no other answer."""

    model_config = _STRICT
    error: str = Field(description="A sentence.")


class EmotionsPrediction(BaseModel):
    """What the model says about one text."""

    model_config = _STRICT
    labels: list[str] = Field(
        description="Those whose probability reaches their threshold, the most probable first; "
        "empty if none does."
    )
    scores: dict[str, float] = Field(description="The probability of every label.")
    truncated: bool = Field(description="Whether a part of the text was left out.")


class EmotionsAnswer(BaseModel):
    """The predictions, in the order of the texts."""

    model_config = _STRICT
    model: str = Field(description="The name of the bundle.")
    version: str = Field(description="The beginning of the hash of its manifest.")
    predictions: list[EmotionsPrediction]


class LabelAnswer(BaseModel):
    """A label of the model."""

    model_config = _STRICT
    name: str
    name_ru: str
    threshold: float


class ModelAnswer(BaseModel):
    """What is served, and what a request may hold."""

    model_config = _STRICT
    model: str
    version: str
    labels: list[LabelAnswer]
    precision: str
    long_texts: str
    max_length: int = Field(description="Tokens that the model reads at a time.")
    max_texts: int
    max_text_characters: int
    max_body_bytes: int


class TensorMetadata(BaseModel):
    """A tensor of the model; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(BaseModel):
    """What the model takes and gives, and the facts that clients verify."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    rt_info: dict[str, dict[str, str]]


class OutputTensor(BaseModel):
    """A tensor of an answer; data that follows as bytes is told in parameters."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float] | list[str] | None = None
    parameters: dict[str, int] | None = None


class InferAnswer(BaseModel):
    """The tensors that were asked for."""

    model_name: str
    id: str | None = None
    model_version: str
    outputs: list[OutputTensor]


def emotions_request(settings: ServerSettings) -> dict[str, Any]:
    """Describe the body of POST /v1/emotions.

    :param settings: the limits.
    :return: an OpenAPI request body.
    """
    text = {"type": "string", "maxLength": settings.max_text_characters}
    schema = {
        "type": "object",
        "properties": {
            "texts": {"type": "array", "items": text, "maxItems": settings.max_texts},
        },
        "required": ["texts"],
        "additionalProperties": False,
        "example": {"texts": ["ну наконец то доехали я так рада вас всех видеть"]},
    }
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def infer_request(settings: ServerSettings) -> dict[str, Any]:
    """Describe the body of an inference of KServe v2.

    :param settings: the limits.
    :return: an OpenAPI request body.
    """
    tensor = {
        "type": "object",
        "properties": {
            "name": {"const": "text"},
            "datatype": {"const": "BYTES"},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 1,
                "maxItems": 1,
                "description": "How many texts there are.",
            },
            "data": {
                "type": "array",
                "items": {"type": "string", "maxLength": settings.max_text_characters},
                "maxItems": settings.max_texts,
            },
        },
        "required": ["name", "datatype", "shape", "data"],
    }
    output = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "probabilities or labels."},
            "parameters": {
                "type": "object",
                "properties": {"binary_data": {"type": "boolean"}},
            },
        },
        "required": ["name"],
    }
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array", "items": output},
        },
        "required": ["inputs"],
    }
    return {
        "required": True,
        "description": "With the header Inference-Header-Content-Length, JSON of that many bytes "
        "and the tensors as bytes after it (KServe's binary tensor extension).",
        "content": {"application/json": {"schema": schema}},
    }
