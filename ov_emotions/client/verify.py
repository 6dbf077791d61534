"""What a server serves: found out, and compared with what is expected.

What a model is (labels, thresholds, normaliser, hash) is asked in this order:

1. at `metadata_url`, a REST URL of the same server, where it is given;
2. of the server: REST metadata (rt_info.model_info, Model Server), or the parameters of its model
   configuration (Triton, REST and gRPC);
3. by probes, where the caller expects a bundle and the server tells nothing (Model Server over
   gRPC): texts whose answers the bundle knows.

Where none of them proves the model, it is refused; `verify=False` believes the bundle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.client.caller import Caller
from ov_emotions.client.facts import (
    ServedFacts,
    Signature,
    check_facts,
    facts_of,
    parse_facts,
    signature_of,
    told_bound,
)
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.probes import PROBES, Compared, compare, known_answers
from ov_emotions.client.transport import Answer, ModelMetadata, Tensor, text_bytes
from ov_emotions.client.url import ServerAddress
from ov_emotions.encoding import EncodedBatch, TextEncoder
from ov_emotions.errors import InputError, ServerError, ServerMismatchError, ServerUnavailableError
from ov_emotions.schema import Task
from ov_emotions.thresholds import to_probabilities

Scores = NDArray[np.float32]

_WAY_OUT = (
    "OpenVINO Model Server tells what it serves over REST only: give its REST URL as metadata_url"
)


@dataclass(frozen=True)
class ServedModel:
    """A model as it was verified.

    :param proof: how it was compared with the bundle that is expected, in words; empty where none
        is expected, or it was believed.
    :param versions: in which the server has it, as far as that is known.
    """

    signature: Signature
    facts: ServedFacts
    proof: str
    versions: frozenset[str]


class Verifier:
    """Finds out what a server serves.

    :param beside: its REST API, where facts shall be asked there.
    :param expected: the bundle that should be served; None where any model will do.
    :param believes: whether the bundle is believed without asking.
    """

    def __init__(
        self,
        address: ServerAddress,
        beside: ServerAddress | None,
        options: ServerOptions,
        expected: Bundle | None,
        *,
        believes: bool,
    ) -> None:
        self.address = address
        self.caller = Caller(address, options)
        self.beside = None if beside is None else Caller(beside, options)
        self.expected = expected
        self.believes = believes

    async def close(self) -> None:
        """Let go of the connections."""
        await self.caller.close()
        if self.beside is not None:
            await self.beside.close()

    async def verify(self, version: str) -> ServedModel:
        """Find out what is served, and refuse what is not expected.

        :param version: of the model; empty for the one that the server prefers.
        :raises ServerMismatchError: if it is another one, or cannot be verified.
        :raises ServerError: if the server does not answer, or refuses.
        """
        where = str(self.address)
        if version != self.address.version:
            where += f" (version {version})"
        metadata = await self.caller.metadata(version)
        signature = signature_of(metadata, where)
        ours = None if self.expected is None else facts_of(self.expected.manifest)
        told, raw = await self._facts(version, metadata)
        self.caller.bound = told_bound((metadata, told), raw) or self.caller.bound
        # Of several versions, the first answer tells which one it is.
        versions = {version} if version else set(metadata.versions)
        versions = versions if len(versions) == 1 else set()
        proof = ""
        if raw:
            facts = parse_facts(raw, where)
            check_facts(facts, signature, ours, where)
            if ours is not None and facts.manifest_sha256 is not None:
                proof = f"the same as {ours.name} here"
        elif ours is None:
            raise ServerMismatchError(
                f"{where} does not tell the labels and thresholds of its model; {_WAY_OUT}, or the "
                "bundle that it serves as model"
            )
        else:
            check_facts(ours, signature, None, where)
            facts = ours
        if not (self.believes or ours is None or proof):
            found, answered = await self.probe(signature, facts, version)
            if found.wrong:
                more = f"; and {len(found.wrong) - 2} more" if len(found.wrong) > 2 else ""
                raise ServerMismatchError(
                    f"{where} does not answer as {ours.name} does here: "
                    f"{'; '.join(found.wrong[:2])}{more}. {_WAY_OUT} to see which model it is"
                )
            proof, versions = str(found), {answered} if answered else versions
        for caller in (self.caller, self.beside):
            if caller is not None:
                caller.known = True
        return ServedModel(signature, facts, proof, frozenset(versions))

    async def _facts(
        self, version: str, metadata: ModelMetadata
    ) -> tuple[ModelMetadata, Mapping[str, str]]:
        """Ask for the facts as texts, empty where the server has none to give or is believed."""
        if self.believes:
            return metadata, {}
        caller = self.caller
        if self.beside is not None:
            caller = self.beside
            told = await caller.metadata(version)
            where = "the server at metadata_url"
            if signature_of(told, where) != signature_of(metadata, str(self.address)):
                raise ServerMismatchError(f"{where} serves another model than {self.address}")
            metadata = told
        if metadata.facts:
            return metadata, metadata.facts
        found = await caller.parameters(version)
        return metadata, found if "labels" in found or "manifest" in found else {}

    async def probe(
        self, signature: Signature, facts: ServedFacts, version: str
    ) -> tuple[Compared, str]:
        """Compare the server's answers to the probes with the bundle's; tell what version answered.

        :raises ServerMismatchError: if the bundle cannot be told by its answers.
        :raises ServerError: if the server does not answer, or refuses.
        """
        expected = self.expected
        if expected is None:
            raise InputError("without a bundle there is nothing to compare the probes with")
        long_texts = facts.long_texts if signature.takes == "text" else "truncate"
        known = await asyncio.to_thread(known_answers, expected, long_texts)
        if not known.tell_apart:
            raise ServerMismatchError(
                f"{self.address} cannot be verified by its answers: the known texts are all alike "
                f"to {expected.manifest.name}. {_WAY_OUT}, or believe it with verify=False"
            )
        texts = [text_bytes(text) for text in PROBES]
        tensors = [Tensor("text", "BYTES", np.array(texts, np.object_))]
        if signature.takes == "tokens":
            length = expected.manifest.max_length
            encoder = TextEncoder(expected.tokenizer(), length, "truncate")
            batch = next(encoder.encode(PROBES).batches([np.arange(len(PROBES))]))
            tensors = token_tensors(batch, signature)
        outputs = [signature.output, *(["labels"] if signature.names else [])]
        answers = await self.caller.infer(tensors, outputs, version)
        if len({answer.version for answer in answers}) > 1:
            raise ServerUnavailableError(f"{self.address} is changing its model; try again")
        scores = scores_of(answers, signature, known.scores.shape, facts.task, self.address)
        names = None
        if signature.names:
            names = [bytes(name) for a in answers for name in a.arrays["labels"]]
            if len(names) != len(texts):
                raise ServerError(f"{self.address} gave {len(names)} labels for {len(texts)} texts")
        return compare(known, expected.manifest, scores, names), answers[0].version


def token_tensors(batch: EncodedBatch, signature: Signature) -> list[Tensor]:
    """Make a request's inputs for a model that takes tokens, int64, shape (rows, tokens) each."""
    arrays = batch.inputs() | {"token_type_ids": np.zeros_like(batch.input_ids)}
    return [Tensor(name, "INT64", arrays[name]) for name in signature.inputs]


def scores_of(
    answers: Sequence[Answer],
    signature: Signature,
    shape: tuple[int, ...],
    task: Task,
    where: ServerAddress,
) -> Scores:
    """Take probabilities out of the answers to one request, and refuse what are none.

    :param shape: that is expected, (rows, labels).
    :return: float32, of that shape, in [0, 1].
    :raises ServerError: if they have another shape or type, or are no probabilities.
    """
    output = signature.output
    array = np.concatenate([answer.arrays[output] for answer in answers])
    if array.shape != shape or array.dtype != np.float32:
        raise ServerError(
            f"{where} gave {output} of {array.dtype} and shape {list(array.shape)}, where float32 "
            f"{list(shape)} is expected"
        )
    if output == "logits" and np.isfinite(array).all():
        return to_probabilities(array, task)
    if not ((array >= 0) & (array <= 1)).all():
        raise ServerError(f"{where} gave {output} that are no probabilities or logits")
    return array
