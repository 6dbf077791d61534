"""What is measured: a served model, a protocol and real texts ready to send; Triton, started."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.common import ROOT, SPLIT, shuffled
from benchmarks.serving.load import Send
from ov_emotions.bundle import Bundle
from ov_emotions.client.caller import connect
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import ModelMetadata, Tensor, text_bytes
from ov_emotions.client.url import parse_model_url
from ov_emotions.data.dataset import PreparedData
from ov_emotions.encoding import TextEncoder
from ov_emotions.errors import InputError, OvEmotionsError, ServerError
from ov_emotions.normalize import normalize
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.triton import build_repository

Protocol = Literal["REST JSON", "REST binary", "gRPC"]
Takes = Literal["text", "tokens"]
Request = tuple[Tensor, ...]

_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Endpoint:
    """A served model.

    :param name: what it is called in tables.
    :param url: of the model, `http://`, `https://`, `grpc://` or `grpcs://`.
    :param bundle: what it serves; needed where it takes token ids.
    :param against: the name of the endpoint that it is compared with.
    """

    name: str
    url: str
    bundle: Bundle | None = None
    against: str | None = None


@dataclass(frozen=True)
class Target:
    """An endpoint by one protocol, with its requests.

    :param protocol: REST with tensors as JSON or as bytes, or gRPC.
    :param server: what the server calls itself.
    :param takes: texts or token ids.
    :param output: the output that is asked for.
    :param requests: the tensors of each request; they are sent in turn, again and again.
    :param rows: texts in each request.
    """

    endpoint: Endpoint
    protocol: Protocol
    server: str
    takes: Takes
    output: str
    requests: tuple[Request, ...]
    rows: tuple[int, ...]
    options: ServerOptions

    @property
    def name(self) -> str:
        return f"{self.endpoint.name}, {self.protocol}"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Send]:
        """Connect anew for one step; yield what makes the request of a number, once."""
        address = parse_model_url(self.endpoint.url)
        transport = connect(address, self.options)

        async def send(number: int) -> None:
            position = number % len(self.requests)
            answer = await transport.infer(
                self.requests[position], [self.output], address.version, self.options.timeout
            )
            array = answer.arrays[self.output]
            if array.shape[:1] != (self.rows[position],):
                raise ServerError(
                    f"{address} gave {self.output} of shape {list(array.shape)} for "
                    f"{self.rows[position]} texts"
                )

        try:
            yield send
        finally:
            await transport.close()


async def find_targets(
    endpoint: Endpoint, texts: Sequence[str], batch: int, options: ServerOptions
) -> list[Target]:
    """Ask an endpoint what it serves, and make requests for it: one target a protocol.

    :param texts: to send, at least `batch`.
    :param batch: texts in a request.
    :return: two targets for a REST endpoint, tensors as JSON and as bytes; one for gRPC.
    :raises InputError: if the URL is wrong, or the model takes tokens and no bundle was given.
    :raises ServerError: if it does not answer, or serves a model that takes neither texts nor
        tokens.
    """
    address = parse_model_url(endpoint.url)
    if address.legacy:
        raise InputError(f"{address} is TensorFlow Serving's API; the driver speaks KServe v2")
    if len(texts) < batch:
        raise InputError(f"{len(texts)} texts do not fill a request of {batch}")
    transport = connect(address, options)
    try:
        metadata = await transport.metadata(address.version, options.timeout)
        server = "unknown"
        with suppress(ServerError):  # it is for the record only
            server = await transport.server(options.timeout)
    finally:
        await transport.close()
    parts = [texts[i : i + batch] for i in range(0, len(texts) - batch + 1, batch)]
    takes, requests = _requests(endpoint, metadata, parts)
    outputs = [spec.name for spec in metadata.outputs]
    if not outputs:
        raise ServerError(f"{endpoint.url} names no output")
    output = next((name for name in ("probabilities", "logits") if name in outputs), outputs[0])
    rows = tuple(len(tensors[0].array) for tensors in requests)
    protocols: tuple[Protocol, ...] = ("gRPC",) if address.grpc else ("REST JSON", "REST binary")
    return [
        Target(endpoint, protocol, server, takes, output, requests, rows,
               replace(options, binary=protocol != "REST JSON"))
        for protocol in protocols
    ]  # fmt: skip


def readable(texts: Sequence[str]) -> list[str]:
    """Leave out texts that hold nothing to read, for which a token-in model has no request."""
    return [text for text in texts if normalize(text)]


def choose_texts(prepared: Path, count: int, seed: int) -> list[str]:
    """Choose so many texts of the test split that hold something to read, in an order of chance."""
    return shuffled(readable(PreparedData.open(prepared).split(SPLIT).texts), seed, count)


def _requests(
    endpoint: Endpoint, metadata: ModelMetadata, parts: Sequence[Sequence[str]]
) -> tuple[Takes, tuple[Request, ...]]:
    """Make a request of each part of the texts, as the model takes it."""
    names = [spec.name for spec in metadata.inputs]
    if len(names) == 1 and (spec := metadata.inputs[0]).datatype == "BYTES":
        made = []
        for part in parts:
            array = np.array([text_bytes(text) for text in part], dtype=np.object_)
            # Some servers want a column.
            column = array[:, None] if len(spec.shape) == 2 else array
            made.append((Tensor(spec.name, "BYTES", column),))
        return "text", tuple(made)
    if not {"input_ids", "attention_mask"} <= set(names) <= set(_TOKENS):
        told = ", ".join(f"{s.name} {s.datatype} {list(s.shape)}" for s in metadata.inputs)
        raise ServerError(
            f"{endpoint.url} takes {told or 'nothing'}; the driver sends one BYTES input, or "
            "input_ids and attention_mask INT64"
        )
    if endpoint.bundle is None:
        raise InputError(
            f"{endpoint.url} takes token ids: name its bundle with --model, for the tokeniser"
        )
    manifest = endpoint.bundle.manifest
    encoder = TextEncoder(endpoint.bundle.tokenizer(), manifest.max_length, "truncate")
    made = []
    for part in parts:
        encoded = encoder.encode(part)
        batch = next(encoded.batches([np.arange(len(encoded.lengths))]))
        arrays = (batch.input_ids, batch.attention_mask, np.zeros_like(batch.input_ids))
        found = dict(zip(_TOKENS, arrays, strict=True))
        made.append(tuple(Tensor(name, "INT64", found[name]) for name in names))
    return "tokens", tuple(made)


@contextmanager
def served_by_triton(models: Sequence[str], threads: int | None) -> Iterator[list[Endpoint]]:
    """Serve bundles with Triton's Python backend on loopback, each as texts and as tokens.

    :param models: shipped names or folders.
    :return: yields the endpoints, REST and gRPC; token-in is compared with text-in.
    :raises OvEmotionsError: if Triton cannot be had on this machine, or does not start.
    """
    # The tests start the same server; what they know of it stands there once.
    sys.path.append(str(ROOT / "tests" / "serving"))
    triton: Any = importlib.import_module("triton_server")

    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        repository, found = Path(folder) / "models", []
        try:
            environment = triton.find_triton(Path(folder))
        except triton.NoTritonError as error:
            raise OvEmotionsError(str(error)) from error
        server = triton.TritonServer(environment, repository, Path(folder) / "log")
        for model in models:
            bundle = Bundle.load(model)
            text = bundle.manifest.name
            for name, token_in in ((text, False), (f"{text}-tokens", True)):
                config = TritonConfig(
                    name=name, long_texts="truncate", threads=threads, token_in=token_in
                )
                build_repository(bundle, repository, config)
                found += [
                    Endpoint(name, server.url(scheme, name), bundle, text if token_in else None)
                    for scheme in ("http", "grpc")
                ]
        try:
            try:
                server.start()
            except AssertionError as error:
                raise OvEmotionsError(f"Triton does not start: {error}") from error
            yield found
        finally:
            server.stop()
