"""The client: gives commands to one station, and waits for its answers."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import anyio

from edge_sdk.base.errors import CommandError, PayloadError, TransportError
from edge_sdk.contract.command import Answer, AnswerState, Command, decode_answer, encode_command
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message, Transport
from edge_sdk.station.remote.uploads import CHUNK_BYTES

_LIFE = timedelta(minutes=2)
PING_S = 5.0


class RemoteStation:
    """One station, commanded over an open connection. Made by `commanding`.

    Args:
        transport: Open, and subscribed to the station's answers.
        topics: The station's topics.
        begun: Told what a command that takes a while says meanwhile.
    """

    def __init__(self, transport: Transport, topics: Topics, *, begun: Callable[[str], None]) -> None:
        self._transport, self._topics, self._begun = transport, topics, begun
        self._session = ""

    async def ask(self, verb: str, arguments: dict[str, Any] | None = None, *, within_s: float = 20.0) -> Answer:
        """Give a command, and wait for the last word on it.

        Raises:
            CommandError: The station refused it, or took back what it had changed.
            TransportError: No answer came in time.
        """
        if verb != "ping" and not self._session:
            # Its clock may not be set: then the session says that the command is new.
            self._session = str((await self.ask("ping", within_s=PING_S)).result["session"])
        issued = datetime.now(timezone.utc)
        command = Command(issued=issued, expires=issued + _LIFE, session=self._session, arguments=arguments or {})
        name = secrets.token_hex(8)
        await self._transport.publish([Message(self._topics.of(Kind.CMD, verb, name), encode_command(command))])
        try:
            with anyio.fail_after(within_s):
                answer = await self._last_word(name)
        except TimeoutError:
            raise TransportError(
                f"{self._topics.station} did not answer {verb!r} within {within_s:g} s. Is it online, does it allow "
                "commands (`remote: allow:`), and may we write to its cmd/ topic?"
            ) from None
        if answer.state is not AnswerState.DONE:
            tried = answer.state is AnswerState.FAILED
            raise CommandError(f"{verb}: {answer.message}", reason=answer.reason, tried=tried)
        return answer

    async def install(self, raw: bytes, *, within_s: float, url: str = "", **arguments: Any) -> Answer:
        """Send a bundle in pieces, unless it is fetched from a URL, and let it be installed. Raises as `ask`."""
        upload = secrets.token_hex(4)
        of = max(1, -(-len(raw) // CHUNK_BYTES))
        for index in range(0 if url else of):
            data = base64.b64encode(raw[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]).decode("ascii")
            await self.ask("bundle-chunk", {"upload": upload, "index": index, "of": of, "data": data})
        given = {"upload": upload, "url": url, "sha256": hashlib.sha256(raw).hexdigest(), **arguments}
        return await self.ask("bundle-install", given, within_s=within_s)

    async def _last_word(self, command: str) -> Answer:
        topic = self._topics.of(Kind.ACK, command)
        while True:
            messages = await self._transport.receive()
            self._transport.ack(messages)
            for message in messages:
                if message.topic != topic:
                    continue
                try:
                    answer = decode_answer(message.payload)
                except PayloadError as error:
                    raise TransportError(f"The answer cannot be read: {error}") from error
                if answer.state is not AnswerState.ACCEPTED:
                    return answer
                self._begun(answer.message)


@asynccontextmanager
async def commanding(
    address: BrokerAddress, topics: Topics, *, begun: Callable[[str], None] = lambda message: None
) -> AsyncIterator[RemoteStation]:
    """A connection by which one station is commanded.

    Raises:
        TransportError: The broker is out of reach, or refuses us.
    """
    async with PahoTransport(address, client_id=f"remote-{secrets.token_hex(4)}") as transport:
        await transport.subscribe(topics.of(Kind.ACK, "+"))
        yield RemoteStation(transport, topics, begun=begun)
