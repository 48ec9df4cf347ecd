"""The book of commands: what was sent to which station, by whom, and what it answered; durable."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.base.errors import StoreError
from edge_sdk.contract.command import Answer, AnswerState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    site TEXT NOT NULL, station TEXT NOT NULL, id TEXT NOT NULL, verb TEXT NOT NULL, arguments BLOB NOT NULL,
    who TEXT, given_ns INTEGER NOT NULL, state TEXT NOT NULL, told_ns INTEGER,
    reason TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', result BLOB,
    UNIQUE (site, station, id)
) STRICT;
CREATE INDEX IF NOT EXISTS commands_of_station ON commands (site, station, number);
"""
KEPT = 5_000
"""So many commands of our own are kept, and as many that others gave; beyond it the oldest go."""
RESULTS_KEPT = 200
"""So many of the newest commands keep what they gave: a snapshot may have 256 KiB."""
ARGUMENT_BYTES = 16_384
"""Longer arguments are not kept."""
SILENCE_NS = 20 * 10**9
"""A station that said nothing for so long does not answer; if it does after all, that counts."""
_FIELDS = "site, station, id, verb, arguments, who, given_ns, state, told_ns, reason, message"


class CommandState(str, Enum):
    """How far a command has come."""

    GIVEN = "given"
    """Written down; the station is asked whether it is there."""
    SENT = "sent"
    ACCEPTED = "accepted"
    """It has begun, and takes a while."""
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    UNANSWERED = "unanswered"


class CommandView(msgspec.Struct, frozen=True, kw_only=True):
    """One command to one station.

    Attributes:
        site: The site's id.
        station: The station's id.
        id: The command's id.
        verb: What was commanded.
        arguments: With what.
        who: The user or API key that gave it here; None = somebody gave it elsewhere, at the broker.
        given_ns: When the monitor knew of it.
        state: How far it has come.
        told_ns: When the last answer came; None = none has.
        reason: Why it was refused or failed, in one short word.
        message: The same for a person.
        has_result: Whether what it gave is kept.
    """

    site: str
    station: str
    id: str
    verb: str
    arguments: msgspec.Raw
    who: str | None
    given_ns: int
    state: CommandState
    told_ns: int | None
    reason: str
    message: str
    has_result: bool


class CommandRecord(CommandView, frozen=True, kw_only=True):
    """A command with what it gave.

    Attributes:
        result: What the verb gives; None = nothing, or it is not kept any more.
    """

    result: msgspec.Raw | None


class Seen(msgspec.Struct, frozen=True):
    """A command that went over the broker.

    Attributes:
        site: The site's id.
        station: The station's id.
        id: The command's id.
        verb: What was commanded.
        arguments: With what, as JSON.
    """

    site: str
    station: str
    id: str
    verb: str
    arguments: bytes


class CommandBook:
    """Who commanded what, in a small SQLite file beside the store. Safe to call from several threads.

    The first last word on a command stands: a second answer to the same id changes nothing.

    Args:
        path: The file.
        kept: So many commands of our own are kept, and as many that others gave.
        results_kept: So many of the newest commands keep what they gave.
    """

    def __init__(self, path: Path, *, kept: int = KEPT, results_kept: int = RESULTS_KEPT) -> None:
        """Open the file.

        Raises:
            StoreError: It cannot be used.
        """
        self._lock, self._kept, self._results_kept = threading.Lock(), kept, results_kept
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(f"Commands file {path} cannot be used: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def give(self, command: Seen, *, who: str, now_ns: int) -> None:
        """Write down what somebody commands here, before it is sent.

        Raises:
            StoreError: It is not written; then it must not be sent.
        """
        self._write([(_GIVE, (*_key(command), _kept(command.arguments), who, now_ns, CommandState.GIVEN.value))])

    def sent(self, command: Seen) -> None:
        """It went to the broker. Raises StoreError."""
        self._write([("UPDATE commands SET state = 'sent' WHERE state = 'given' AND" + _THIS, _place(command))])

    def gave_up(self, command: Seen, message: str) -> None:
        """It was not sent. Raises StoreError."""
        self._write(
            [
                (
                    "UPDATE commands SET state = 'unanswered', message = ? WHERE state IN ('given', 'sent') AND"
                    + _THIS,
                    (message, *_place(command)),
                )
            ]
        )

    def heard(self, seen: Iterable[Seen], answers: Iterable[tuple[str, Answer]], *, now_ns: int) -> None:
        """Write down what went over the broker.

        Args:
            seen: Commands, ours and others'.
            answers: The site, and what one of its stations said.
            now_ns: The time.

        Raises:
            StoreError: Nothing was written.
        """
        work: list[tuple[str, Sequence[object]]] = [
            (_HEAR, (*_key(one), _kept(one.arguments), None, now_ns, CommandState.SENT.value)) for one in seen
        ]
        for site, answer in answers:
            place = (site, answer.station, answer.id)
            work.append((_HEAR, (*place, answer.verb, b"{}", None, now_ns, CommandState.SENT.value)))
            result = msgspec.json.encode(answer.result) if answer.result else None
            open_states = "'given', 'sent', 'unanswered', 'accepted'"
            work.append(
                (
                    "UPDATE commands SET state = ?, told_ns = ?, reason = ?, result = ?,"
                    f" message = CASE WHEN ? = '' THEN message ELSE ? END WHERE state IN ({open_states}) AND" + _THIS,
                    (answer.state.value, now_ns, answer.reason, result, answer.message, answer.message, *place),
                )
            )
            if answer.state is AnswerState.DONE:
                work.append(
                    ("UPDATE commands SET result = NULL WHERE result IS NOT NULL AND number <= ("
                     " SELECT number FROM commands WHERE result IS NOT NULL"
                     " ORDER BY number DESC LIMIT 1 OFFSET ?)", (self._results_kept,))
                )  # fmt: skip
        self._write(work)

    def commands(self, *, site: str | None, station: str | None, limit: int, now_ns: int) -> list[CommandView]:
        """Commands, the newest first."""
        rows = self._all(
            f"SELECT {_FIELDS}, result IS NOT NULL FROM commands"
            " WHERE (?1 IS NULL OR site = ?1) AND (?2 IS NULL OR station = ?2) ORDER BY number DESC LIMIT ?3",
            (site, station, limit),
        )
        return [CommandView(**_fields(row, now_ns), has_result=bool(row[-1])) for row in rows]

    def record(self, site: str, station: str, command: str, *, now_ns: int) -> CommandRecord | None:
        """One command with what it gave; None = there is none of that id."""
        rows = self._all(f"SELECT {_FIELDS}, result FROM commands WHERE{_THIS}", (site, station, command))
        if not rows:
            return None
        result = msgspec.Raw(rows[0][-1]) if rows[0][-1] is not None else None
        return CommandRecord(**_fields(rows[0], now_ns), has_result=result is not None, result=result)

    def _write(self, work: Sequence[tuple[str, Sequence[object]]]) -> None:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    for sql, arguments in work:
                        self._db.execute(sql, arguments)
                    for ours in ("IS NOT NULL", "IS NULL"):
                        self._db.execute(
                            f"DELETE FROM commands WHERE who {ours} AND number <= (SELECT number FROM commands"
                            f" WHERE who {ours} ORDER BY number DESC LIMIT 1 OFFSET ?)",
                            (self._kept,),
                        )
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"Commands cannot be written down: {error}.") from error

    def _all(self, sql: str, arguments: Sequence[object]) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, arguments).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"Commands cannot be read: {error}.") from error


_THIS = " site = ? AND station = ? AND id = ?"
_COLUMNS = "INTO commands (site, station, id, verb, arguments, who, given_ns, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_GIVE, _HEAR = f"INSERT {_COLUMNS}", f"INSERT OR IGNORE {_COLUMNS}"


def _place(command: Seen) -> tuple[str, str, str]:
    return command.site, command.station, command.id


def _key(command: Seen) -> tuple[str, str, str, str]:
    return (*_place(command), command.verb)


def _kept(arguments: bytes) -> bytes:
    return arguments if len(arguments) <= ARGUMENT_BYTES else msgspec.json.encode({"omitted_bytes": len(arguments)})


def _fields(row: Sequence[Any], now_ns: int) -> dict[str, Any]:
    fields = dict(zip(_FIELDS.split(", "), row[:-1], strict=True))
    state = CommandState(fields["state"])
    silent = state in {CommandState.GIVEN, CommandState.SENT} and now_ns - fields["given_ns"] > SILENCE_NS
    return {
        **fields,
        "arguments": msgspec.Raw(fields["arguments"]),
        "state": CommandState.UNANSWERED if silent else state,
        "message": fields["message"] or (_SILENT if silent else ""),
    }


_SILENT = "No answer. Is the station online, does it allow commands, and may the monitor write to its cmd/ topic?"
