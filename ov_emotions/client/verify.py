"""Whether a server serves what is expected: before the first prediction, and ever after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from ov_emotions.client.call import with_retries
from ov_emotions.client.facts import (
    ServedFacts,
    Signature,
    check_facts,
    parse_facts,
    signature_of,
)
from ov_emotions.client.options import ServerOptions
from ov_emotions.client.transport import ModelMetadata, Transport
from ov_emotions.client.url import ServerAddress
from ov_emotions.errors import ServerError, ServerMismatchError, ServerUnavailableError

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")


class Verifier:
    """Knows what a server said of its model, and notices when it serves another.

    :param address: of the model.
    :param options: how to ask.
    :param transport: to the server.
    :param beside: to its REST API, where facts shall be asked there.
    :param expected: the facts of the bundle that should be served; None where any model will do.
    """

    def __init__(
        self,
        address: ServerAddress,
        options: ServerOptions,
        transport: Transport,
        beside: Transport | None,
        expected: ServedFacts | None,
    ) -> None:
        self._address = address
        self._options = options
        self._transport = transport
        self._beside = beside
        self._expected = expected
        self._known: tuple[Signature, ServedFacts] | None = None
        # Versions whose facts were seen; None where the server tells no facts.
        self._versions: set[str] | None = None
        self._lock = asyncio.Lock()

    async def verify(self, *, ask_facts: bool = True) -> tuple[Signature, ServedFacts]:
        """Ask the server what it serves, and refuse what is not expected.

        :param ask_facts: False to believe the expected facts, and to compare only the tensors.
        :return: what the model takes and gives, and its facts.
        :raises ServerMismatchError: if it is another model, or there are no facts.
        :raises ServerError: if the server does not answer, or refuses.
        """
        where, version = str(self._address), self._address.version
        metadata = await self._ask(lambda t: self._transport.metadata(version, t))
        signature = signature_of(metadata, where)
        raw = await self._fetch(version, metadata) if ask_facts else {}
        if raw:
            facts = parse_facts(raw, where)
            served = (version,) if version else metadata.versions
            self._versions = set(served) if len(served) == 1 else set()
        else:
            facts = self._believed(where, warn=ask_facts)
        check_facts(facts, signature, self._expected if raw else None, where)
        self._known = signature, facts
        return self._known

    async def check_version(self, version: str) -> None:
        """Verify a model version at its first answer: a server may change its model at any time.

        :param version: as the answer tells; empty where it does not.
        :raises ServerMismatchError: if it is not what was verified.
        :raises ServerError: if the server does not tell.
        """
        if self._versions is None or not version or version in self._versions:
            return
        async with self._lock:
            if version in self._versions or self._known is None:
                return
            signature, known = self._known
            metadata = await self._ask(lambda t: self._transport.metadata(version, t))
            where = f"{self._address} (version {version})"
            facts = parse_facts(await self._fetch(version, metadata), where)
            check_facts(facts, signature, self._expected, where)
            wrong = facts.differences(known, weights=False)
            if signature_of(metadata, where) != signature:
                wrong.append("it takes or gives something else")
            if wrong:
                raise ServerMismatchError(
                    f"{where} is not what was verified: {'; '.join(wrong)}; make a new classifier"
                )
            _LOGGER.info("%s is served now", where)
            self._versions.add(version)

    async def _ask(self, attempt: Callable[[float], Awaitable[T]]) -> T:
        return await with_retries(attempt, self._options)

    async def _fetch(self, version: str, metadata: ModelMetadata) -> Mapping[str, str]:
        """Ask for the facts as texts; empty where the server has none to give."""
        if (beside := self._beside) is None:
            return metadata.facts or await self._parameters(self._transport, version)
        told = await self._ask(lambda t: beside.metadata(version, t))
        where = "the server at metadata_url"
        if signature_of(told, where) != signature_of(metadata, str(self._address)):
            raise ServerMismatchError(f"{where} serves another model than {self._address}")
        return told.facts or await self._parameters(beside, version)

    async def _parameters(self, transport: Transport, version: str) -> Mapping[str, str]:
        try:
            found = await self._ask(lambda t: transport.parameters(version, t))
        except ServerUnavailableError:
            raise
        except ServerError as error:  # an extension, which Model Server does not have
            _LOGGER.debug("no model configuration: %s", error)
            return {}
        return found if "labels" in found or "manifest" in found else {}

    def _believed(self, where: str, *, warn: bool) -> ServedFacts:
        if self._expected is None:
            raise ServerMismatchError(
                f"{where} does not tell the labels and thresholds of its model (OpenVINO Model "
                "Server does so over REST only): give its REST URL as metadata_url, or the bundle "
                "that it serves as model"
            )
        if warn:
            _LOGGER.warning(
                "%s tells no facts of its model: only the shapes of its tensors were compared "
                "with %s",
                where,
                self._expected.name,
            )
        return self._expected
