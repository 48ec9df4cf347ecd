"""The desk: gives commands for people, and writes down every command and answer that goes over the broker."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock, to_datetime
from edge_sdk.base.errors import ConfigError, PayloadError, StoreError, TransportError
from edge_sdk.base.ids import check_id
from edge_sdk.contract.command import Answer, Command, decode_answer, encode_command
from edge_sdk.contract.topics import Address, Kind, Topics, parse, subscription
from edge_sdk.monitor.commands.book import CommandBook, CommandState, CommandView, Seen
from edge_sdk.mqtt.transport import Message, Transport

log = logging.getLogger(__name__)

LIFE = timedelta(minutes=2)
PING_S = 5.0
"""A station that does not answer a ping for so long is sent nothing."""
_PIECES = "bundle-chunk"  # a bundle comes in thousands of them: not written down
_OWN = 1000
_LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class _Waiting:
    heard: anyio.Event = field(default_factory=anyio.Event)
    answer: Answer | None = None


class Desk:
    """Gives commands, over a connection of its own, so that results never wait for them.

    Whether a station obeys is the station's to say, by its own configuration: nobody's role here changes that.

    Attributes:
        allow: The verbs that are given here.
        book: Where commands and answers are written down.
        name: Name of its task.

    Args:
        connect: Makes a transport, not yet opened, with a session that ends with the connection.
        book: Where commands and answers are written down.
        clock: The time.
        allow: The verbs that are given here.
    """

    name = "commands"

    def __init__(
        self, connect: Callable[[], Transport], book: CommandBook, clock: Clock, allow: Sequence[str] = ()
    ) -> None:
        self.allow, self.book = tuple(allow), book
        self._connect, self._clock = connect, clock
        self._backoff = Backoff(base_s=0.5, cap_s=30.0, stable_s=10.0)
        self._transport: Transport | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._pings: deque[str] = deque(maxlen=_OWN)
        self._why = "It has not been reached yet"

    async def run(self) -> None:
        """Work until cancelled; a lost connection is made again after a jittered delay."""
        while True:
            since = anyio.current_time()
            try:
                await self._session()
                continue
            except TransportError as error:
                self._why = str(error)
            finally:
                was_open, self._transport, self._group = self._transport is not None, None, None
            self._backoff.worked_for(anyio.current_time() - since if was_open else 0.0)
            delay_s = self._backoff.next_delay_s()
            log.warning("commands back off", extra={"delay_s": delay_s, "reason": self._why})
            await anyio.sleep(delay_s)

    async def give(self, site: str, station: str, verb: str, arguments: dict[str, Any], *, who: str) -> CommandView:
        """Write a command down, and send it once the station has answered a ping; returns before that.

        Raises:
            TransportError: The broker is out of reach; nothing was written down.
            StoreError: It cannot be written down, and was not sent.
        """
        transport, group = self._transport, self._group
        if transport is None or group is None:
            raise TransportError(f"The broker is out of reach: {self._why} Nothing was sent; try again.")
        given = Seen(site, station, secrets.token_hex(8), verb, msgspec.json.encode(arguments))
        now_ns = self._clock.wall_ns()
        await anyio.to_thread.run_sync(lambda: self.book.give(given, who=who, now_ns=now_ns))
        log.info("command is given", extra={"verb": verb, "id": given.id, "to": f"{site}/{station}", "who": who})
        group.start_soon(self._carry, transport, given, arguments, name=f"command {verb}")
        return CommandView(
            site=site, station=station, id=given.id, verb=verb, arguments=msgspec.Raw(given.arguments), who=who,
            given_ns=now_ns, state=CommandState.GIVEN, told_ns=None, reason="", message="", has_result=False,
        )  # fmt: skip

    async def _session(self) -> None:
        async with self._connect() as transport:
            await transport.subscribe(subscription(Kind.CMD), subscription(Kind.ACK))
            lost: list[TransportError] = []
            async with anyio.create_task_group() as group:
                self._transport, self._group, self._why = transport, group, ""
                group.start_soon(self._look_for_change, transport, group.cancel_scope, name="credentials")
                try:
                    await self._listen(transport)
                except TransportError as error:
                    lost.append(error)
                    group.cancel_scope.cancel()
            if lost:
                raise lost[0]

    async def _look_for_change(self, transport: Transport, scope: anyio.CancelScope) -> None:
        while not transport.is_outdated():  # noqa: ASYNC110 (files change without telling)
            await anyio.sleep(_LOOK_EVERY_S)
        scope.cancel()

    async def _listen(self, transport: Transport) -> None:
        while True:
            messages = await transport.receive()
            seen: list[Seen] = []
            answers: list[tuple[str, Answer]] = []
            for message in messages:
                self._take(message, seen, answers)
            if seen or answers:
                now_ns = self._clock.wall_ns()
                try:
                    await anyio.to_thread.run_sync(lambda: self.book.heard(seen, answers, now_ns=now_ns))  # noqa: B023
                except StoreError as error:
                    log.error("commands are not written down", extra={"reason": str(error)})
            transport.ack(messages)

    def _take(self, message: Message, seen: list[Seen], answers: list[tuple[str, Answer]]) -> None:
        """Read one message; what cannot be read is logged, and is the station's to refuse."""
        if message.retain or not message.payload:  # old
            return
        try:
            address = parse(message.topic)
            if address.kind is Kind.ACK:
                answer = _answer(address, message.payload)
                waiting = self._waiting.get(answer.id)
                if waiting is not None:
                    waiting.answer = answer
                    waiting.heard.set()
                if answer.id not in self._pings and answer.verb != _PIECES:
                    answers.append((address.site, answer))
            else:
                verb, command = map(check_id, ("verb", "id"), address.rest)
                if command not in self._pings and verb != _PIECES:
                    arguments = _arguments(message.payload)
                    seen.append(Seen(_id(address.site), _id(address.station), command, verb, arguments))
        except (PayloadError, ConfigError, ValueError) as error:
            log.warning("command or answer cannot be read", extra={"topic": message.topic, "reason": str(error)})

    async def _carry(self, transport: Transport, given: Seen, arguments: dict[str, Any]) -> None:
        """Ask for the session, then send: to a station that is not there now nothing is sent."""
        try:
            session = ""
            if given.verb != "ping":
                answer = await self._ping(transport, given.site, given.station)
                if answer is None:
                    await self._give_up(given, f"It did not answer a ping within {PING_S:g} s; nothing was sent.")
                    return
                session = str(answer.result.get("session", ""))
            # Written down first: the answer may be here before PUBACK is.
            await anyio.to_thread.run_sync(self.book.sent, given)
            await self._publish(transport, given, arguments, session)
        except (TransportError, StoreError) as error:
            log.warning("command is not sent", extra={"verb": given.verb, "id": given.id, "reason": str(error)})
            await self._give_up(given, f"Not sent: {error}")

    async def _give_up(self, given: Seen, message: str) -> None:
        try:
            await anyio.to_thread.run_sync(self.book.gave_up, given, message)
        except StoreError as error:
            log.error("commands are not written down", extra={"reason": str(error)})

    async def _ping(self, transport: Transport, site: str, station: str) -> Answer | None:
        """What the station answers: a refusal is an answer too; None = it says nothing."""
        ping = Seen(site, station, secrets.token_hex(8), "ping", b"{}")
        waiting = self._waiting[ping.id] = _Waiting()
        self._pings.append(ping.id)
        try:
            await self._publish(transport, ping, {}, "")
            with anyio.move_on_after(PING_S):
                await waiting.heard.wait()
            return waiting.answer
        finally:
            del self._waiting[ping.id]

    async def _publish(self, transport: Transport, given: Seen, arguments: dict[str, Any], session: str) -> None:
        issued = to_datetime(self._clock.wall_ns())
        command = Command(issued=issued, expires=issued + LIFE, session=session, arguments=arguments)
        topic = Topics(given.site, given.station).of(Kind.CMD, given.verb, given.id)
        await transport.publish([Message(topic, encode_command(command), expiry_s=round(LIFE.total_seconds()))])


class _Said(msgspec.Struct, frozen=True):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def _id(given: str) -> str:
    return check_id("id", given)


def _answer(address: Address, payload: bytes) -> Answer:
    """Raises PayloadError, ConfigError."""
    answer = decode_answer(payload)
    if (answer.station, (answer.id,)) != (address.station, address.rest):
        raise PayloadError("The answer names another station or command than its topic.", reason="wrong_station")
    for name in (address.site, answer.station, answer.id, answer.verb):
        check_id("id", name)
    return answer


def _arguments(payload: bytes) -> bytes:
    """The arguments of somebody's command, as JSON, for the book alone: the station reads it strictly itself."""
    try:
        return bytes(msgspec.json.decode(payload, type=_Said).arguments)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b"null"
