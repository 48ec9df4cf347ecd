"""The commander: judges every command, lets it be done, and answers."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio
import anyio.abc
import msgspec

from edge_sdk.base.clock import Clock, ClockState, to_datetime
from edge_sdk.base.errors import CommandError, ConfigError, EdgeError, PayloadError
from edge_sdk.base.ids import check_id, new_epoch
from edge_sdk.contract.command import Answer, AnswerState, Command, decode_command
from edge_sdk.contract.topics import parse
from edge_sdk.mqtt.transport import Message
from edge_sdk.station.remote.seen import Seen

log = logging.getLogger(__name__)

_LONGEST_LIFE = timedelta(hours=1)
_CLOCKS_APART = timedelta(minutes=2)
_WAITING = 64


@dataclass(frozen=True, slots=True)
class Voice:
    """What a command that takes a while may say meanwhile.

    Attributes:
        id: The command's id.
        session: Random id of this run of the station.
        begun: Says that it has begun, and with what.
    """

    id: str
    session: str
    begun: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be commanded.

    Attributes:
        arguments: A strict struct of what it takes.
        do: Does it; gives the result.
        allowed_by: Its name in the configuration; empty = its own.
        lasting: Whether its ids are remembered across a restart.
        any_time: Whether it may be given while our clock is not set.
    """

    arguments: type[msgspec.Struct]
    do: Callable[[Any, Voice], Awaitable[dict[str, Any]]]
    allowed_by: str = ""
    lasting: bool = True
    any_time: bool = False


@dataclass(frozen=True, slots=True)
class _Given:
    id: str
    verb: str
    how: Verb
    arguments: msgspec.Struct


class Commander:
    """Takes commands of one station.

    Attributes:
        name: Name of its task.
        counters: ``commands.done``, ``commands.failed``, ``commands.refused.REASON``.
        session: Random id of this run of the station.

    Args:
        station: The station's id.
        verbs: What can be commanded, by name.
        allowed: Names that the configuration allows, asked for each command anew.
        seen: The commands that were obeyed.
        clock: When it is, and whether that can be believed.
        answer: Sends an answer.
    """

    name = "commands"

    def __init__(
        self,
        station: str,
        *,
        verbs: Mapping[str, Verb],
        allowed: Callable[[], tuple[str, ...]],
        seen: Seen,
        clock: Clock,
        answer: Callable[[Answer], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.session = new_epoch()
        self._station, self._verbs, self._allowed = station, verbs, allowed
        self._seen, self._clock, self._answer = seen, clock, answer
        self._waiting: deque[Message] = deque()
        self._stir = anyio.Event()

    def take(self, message: Message) -> None:
        """A message below ``cmd/`` came. To be called on the event loop."""
        if len(self._waiting) >= _WAITING:
            self.counters["commands.refused.too_many"] += 1
            return
        self._waiting.append(message)
        self._stir.set()

    async def run(self) -> None:
        """Judge and obey, until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                self._stir = anyio.Event()
                while self._waiting:
                    self._judge(self._waiting.popleft(), group)
                await self._stir.wait()

    def _judge(self, message: Message, group: anyio.abc.TaskGroup) -> None:
        try:
            _, verb, command = _named(message)
        except (PayloadError, ConfigError) as error:
            log.warning("command is unreadable", extra={"topic": message.topic, "reason": str(error)})
            self.counters["commands.refused.topic"] += 1
            return
        try:
            given = self._accept(message, verb, command)
        except CommandError as error:
            self.counters[f"commands.refused.{error.reason}"] += 1
            log.warning("command is refused", extra={"verb": verb, "id": command, "reason": str(error)})
            self._say(verb, command, AnswerState.REFUSED, reason=error.reason, message=str(error))
            return
        log.info("command is obeyed", extra={"verb": verb, "id": command})
        group.start_soon(self._obey, given, name=f"command {verb}")

    def _accept(self, message: Message, verb: str, command: str) -> _Given:
        """Everything that can be wrong with a command before it is tried. Raises CommandError."""
        if message.retain:
            raise CommandError(
                "A retained command is never obeyed: it could be old. Publish it anew.", reason="retained"
            )
        how = self._verbs.get(verb)
        if how is None:
            known = ", ".join(sorted(self._verbs))
            raise CommandError(f"There is no command {verb!r}. Known: {known}.", reason="unknown")
        if (how.allowed_by or verb) not in self._allowed():
            said = f"{verb!r} is not allowed here. Write it under `remote: allow:` in the station's configuration."
            raise CommandError(said, reason="not_allowed")
        try:
            read = decode_command(message.payload)
        except PayloadError as error:
            raise CommandError(str(error), reason=error.reason) from error
        self._check_times(read, how)
        if command in self._seen:
            raise CommandError("This id was used before. Give each command a new one.", reason="replayed")
        try:
            arguments = msgspec.convert(read.arguments, how.arguments)
        except msgspec.ValidationError as error:
            raise CommandError(f"Arguments of {verb!r}: {error}.", reason="arguments") from error
        now = to_datetime(self._clock.wall_ns())
        try:
            self._seen.add(command, read.expires, now=now, lasting=how.lasting)
        except OSError as error:
            said = f"It cannot be written down that this was obeyed: {error.strerror}. Is the disk full?"
            raise CommandError(said, reason="disk") from error
        return _Given(command, verb, how, arguments)

    def _check_times(self, command: Command, how: Verb) -> None:
        if command.session and command.session != self.session:
            raise CommandError(
                "It is for another run of the station. Ask with `ping` for the session.", reason="session"
            )
        if self._clock.state() is not ClockState.SYNCED:
            if how.any_time or command.session:
                return
            said = "The station's clock is not set: it cannot tell old from new. Name the session that `ping` answers."
            raise CommandError(said, reason="clock")
        now = to_datetime(self._clock.wall_ns())
        if command.expires - command.issued > _LONGEST_LIFE:
            raise CommandError(f"It lives longer than {_LONGEST_LIFE}.", reason="too_long")
        if command.issued - now > _CLOCKS_APART:
            raise CommandError(f"It was issued at {command.issued}, and here it is {now}.", reason="future")
        if command.expires <= now:
            raise CommandError(f"It expired at {command.expires}, and here it is {now}.", reason="expired")

    async def _obey(self, given: _Given) -> None:
        def begun(message: str) -> None:
            self._say(given.verb, given.id, AnswerState.ACCEPTED, message=message)

        try:
            result = await given.how.do(given.arguments, Voice(given.id, self.session, begun))
        except EdgeError as error:
            tried = isinstance(error, CommandError) and error.tried
            reason = error.reason if isinstance(error, CommandError) else type(error).__name__
            self.counters["commands.failed" if tried else f"commands.refused.{reason}"] += 1
            log.warning("command is not carried out", extra={"verb": given.verb, "id": given.id, "reason": str(error)})
            state = AnswerState.FAILED if tried else AnswerState.REFUSED
            self._say(given.verb, given.id, state, reason=reason, message=str(error))
        else:
            self.counters["commands.done"] += 1
            self._say(given.verb, given.id, AnswerState.DONE, result=result)

    def _say(self, verb: str, command: str, state: AnswerState, **more: Any) -> None:
        now = to_datetime(self._clock.wall_ns())
        self._answer(Answer(station=self._station, id=command, verb=verb, t=now, state=state, **more))


def _named(message: Message) -> tuple[str, str, str]:
    """Station, verb and id out of the topic. Raises PayloadError, ConfigError."""
    address = parse(message.topic)
    if len(address.rest) != 2:
        raise PayloadError(f"Topic {message.topic!r} is not …/cmd/<verb>/<id>.", reason="topic")
    verb, command = address.rest
    return address.station, check_id("verb", verb), check_id("id", command)
