"""A command to one station, and its answer: ``cmd/<verb>/<id>`` and ``ack/<id>``; neither is ever retained."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

import msgspec

from edge_sdk.base.errors import PayloadError

VERSION = 1


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``cmd/<verb>/<id>``. The id is new for each command; a station obeys it once.

    Attributes:
        v: Version of this format.
        issued: When it was given, UTC.
        expires: When it is void, UTC; at most an hour later.
        session: The station's session, as its answer to ``ping`` tells it: wanted while its clock is not set, for then
            it cannot tell old from new by the time. Empty = none.
        arguments: What the verb takes.
    """

    v: int = VERSION
    issued: datetime
    expires: datetime
    session: str = ""
    arguments: dict[str, Any] = {}


class AnswerState(str, Enum):
    """How it went."""

    ACCEPTED = "accepted"
    """It has begun, and takes a while; another answer follows."""
    DONE = "done"
    REFUSED = "refused"
    """Nothing was changed."""
    FAILED = "failed"
    """It was tried, and what it had changed was taken back."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``ack/<id>``.

    Attributes:
        v: Version of this format.
        station: The station's id.
        id: The command's id.
        verb: The command's verb.
        t: When it was given, UTC.
        state: How it went.
        reason: Why it was refused or failed, in one short word.
        message: The same for a person.
        result: What the verb gives.
    """

    v: int = VERSION
    station: str
    id: str
    verb: str
    t: datetime
    state: AnswerState
    reason: str = ""
    message: str = ""
    result: dict[str, Any] = {}


_Kind = TypeVar("_Kind", Command, Answer)


def encode_command(command: Command) -> bytes:
    """The payload of ``cmd/<verb>/<id>``."""
    return msgspec.json.encode(command)


def encode_answer(answer: Answer) -> bytes:
    """The payload of ``ack/<id>``."""
    return msgspec.json.encode(answer)


def decode_command(payload: bytes) -> Command:
    """Read the payload of ``cmd/<verb>/<id>``.

    Raises:
        PayloadError: It is not such a payload, of another version, or its times say no time zone.
    """
    command = _decode(payload, Command)
    if command.issued.tzinfo is None or command.expires.tzinfo is None:
        raise PayloadError("Times of a command want a time zone: 2026-11-21T02:17:00Z.", reason="schema")
    return command


def decode_answer(payload: bytes) -> Answer:
    """Read the payload of ``ack/<id>``.

    Raises:
        PayloadError: It is not such a payload, or of another version.
    """
    return _decode(payload, Answer)


def _decode(payload: bytes, kind: type[_Kind]) -> _Kind:
    try:
        read = msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = "schema" if isinstance(error, msgspec.ValidationError) else "malformed"
        raise PayloadError(f"Payload cannot be read as {kind.__name__}: {error}.", reason=reason) from error
    if read.v != VERSION:
        raise PayloadError(f"Payload has version {read.v}, this reader knows {VERSION}. Update it.", reason="version")
    return read
