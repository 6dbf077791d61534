"""What goes in and comes out: requests are read with these classes, and OpenAPI tells them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from ov_emotions.server.settings import ServerSettings

_STRICT = ConfigDict(extra="forbid")
_REF = "#/components/schemas/{model}"


class EmotionsRequest(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"texts": ["ну наконец то доехали я так рада вас видеть"]}},
    )
    texts: list[str]


class PredictParameters(BaseModel):
    """What of the answer is wanted."""

    top_k: int | None = Field(None, ge=1, description="How many labels; all if none is said.")


class PredictRequest(BaseModel):
    """Texts as Hugging Face's clients send them; what else they send is passed over."""

    inputs: str | list[str] | list[list[str]] = Field(
        description="A text, or a list of lists of one text each."
    )
    parameters: PredictParameters | None = None


def _no_boolean(value: Any) -> Any:
    # A size may be 3.0, which is an integer to JSON Schema; true is one to Python.
    if isinstance(value, bool):
        raise ValueError("a boolean is no size")
    return value


_Size = Annotated[int, Field(ge=0), BeforeValidator(_no_boolean)]


class InputParameters(BaseModel):
    """How many bytes of the body's tail are this tensor."""

    binary_data_size: Annotated[int, Field(strict=True, ge=0)] | None = None


class InputTensor(BaseModel):
    """Texts as a tensor."""

    name: str | None = Field(None, json_schema_extra={"const": "text"})
    datatype: Any = Field(None, json_schema_extra={"const": "BYTES"})
    shape: list[_Size] = Field(
        description="How many texts there are.",
        json_schema_extra={"minItems": 1, "maxItems": 1},
    )
    data: list[str] | None = None
    parameters: InputParameters | None = None


class OutputParameters(BaseModel):
    """Whether the output is wanted as bytes."""

    binary_data: Annotated[bool, Field(strict=True)] = False


class OutputRequest(BaseModel):
    """An output that is wanted: probabilities or labels."""

    name: str
    parameters: OutputParameters | None = None


class InferRequest(BaseModel):
    """An inference of KServe v2."""

    id: str | None = None
    inputs: list[InputTensor] = Field(json_schema_extra={"minItems": 1, "maxItems": 1})
    outputs: list[OutputRequest] | None = None


class ErrorAnswer(BaseModel):
    """Why there is no other answer."""

    model_config = _STRICT
    error: str = Field(description="A sentence.")
    request_id: str = Field(
        "", description="The header X-Request-Id once more; KServe's answers have it there alone."
    )


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


class LabelScore(BaseModel):
    """A label with its probability."""

    label: str
    score: float


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


class LiveAnswer(BaseModel):
    """Whether the server runs."""

    live: bool


class ReadyAnswer(BaseModel):
    """Whether requests are taken, by the server or by a model that is named."""

    name: str = ""
    ready: bool


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


def takes(kind: type[BaseModel], description: str = "") -> dict[str, Any]:
    """Describe the body of a request that is read by hand, within the limits.

    :return: for `openapi_extra` of a route.
    """
    content = {"application/json": {"schema": {"$ref": _REF.format(model=kind.__name__)}}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def add_requests(schema: dict[str, Any], settings: ServerSettings) -> None:
    """Put the requests' classes into a description, with the limits of this server."""
    kinds = (EmotionsRequest, PredictRequest, InferRequest)
    _, told = models_json_schema([(kind, "validation") for kind in kinds], ref_template=_REF)
    found = told["$defs"]
    text = {"type": "string", "maxLength": settings.max_text_characters}
    texts = {"type": "array", "items": text, "maxItems": settings.max_texts}
    one = {"type": "array", "items": text, "minItems": 1, "maxItems": 1}
    found["EmotionsRequest"]["properties"]["texts"] = texts
    # What follows as bytes is no JSON, of which alone this tells.
    tensor = found["InputTensor"]
    tensor["properties"]["data"] = texts
    del tensor["properties"]["parameters"], found["InputParameters"]
    tensor["required"] = ["name", "datatype", "shape", "data"]
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": settings.max_texts}
    found["PredictRequest"]["properties"]["inputs"]["anyOf"] = [text, one, several]
    schema.setdefault("components", {}).setdefault("schemas", {}).update(found)
