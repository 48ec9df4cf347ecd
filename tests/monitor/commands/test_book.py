"""The book of commands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from edge_sdk.contract.command import Answer, AnswerState
from edge_sdk.monitor.commands.book import SILENCE_NS, CommandBook, CommandState, CommandView, Seen

NOW = 1_795_000_000_000_000_000
SECOND = 10**9


@pytest.fixture
def book(tmp_path: Path) -> Iterator[CommandBook]:
    made = CommandBook(tmp_path / "commands")
    yield made
    made.close()


def command(id: str = "4f1c", *, verb: str = "ping", arguments: bytes = b"{}", station: str = "gate-1") -> Seen:
    return Seen("north", station, id, verb, arguments)


def answer(state: AnswerState = AnswerState.DONE, *, id: str = "4f1c", **more: object) -> tuple[str, Answer]:
    fields: dict[str, object] = {"station": "gate-1", "id": id, "verb": "ping", "state": state, **more}
    return "north", Answer(t=datetime(2026, 11, 21, tzinfo=timezone.utc), **fields)  # type: ignore[arg-type]


def only(book: CommandBook, *, now_ns: int = NOW) -> CommandView:
    [one] = book.commands(site="north", station="gate-1", limit=10, now_ns=now_ns)
    return one


def test_a_command_goes_from_given_to_sent_to_its_last_word(book: CommandBook) -> None:
    states = []
    book.give(command(), who="ada", now_ns=NOW)
    states.append(only(book).state)
    book.sent(command())
    states.append(only(book).state)
    for state in (AnswerState.ACCEPTED, AnswerState.DONE):
        book.heard([command()], [answer(state, result={"working": True})], now_ns=NOW + SECOND)
        states.append(only(book).state)

    assert [one.value for one in states] == ["given", "sent", "accepted", "done"]
    assert (only(book).who, only(book).told_ns) == ("ada", NOW + SECOND)
    record = book.record("north", "gate-1", "4f1c", now_ns=NOW)
    assert record is not None
    assert record.result is not None
    assert msgspec.json.decode(record.result) == {"working": True}


def test_the_first_last_word_stands(book: CommandBook) -> None:
    book.give(command(), who="ada", now_ns=NOW)
    book.heard([], [answer()], now_ns=NOW)

    book.heard([], [answer(AnswerState.REFUSED, reason="replayed", message="This id was used before.")], now_ns=NOW + 1)

    assert (only(book).state, only(book).reason, only(book).told_ns) == (CommandState.DONE, "", NOW)


def test_a_command_that_was_given_elsewhere_is_nobodys(book: CommandBook) -> None:
    book.heard([command(verb="pause", arguments=b'{"stream":"level"}')], [], now_ns=NOW)
    book.heard([], [answer(id="unheard", message="It has begun.")], now_ns=NOW)

    found = book.commands(site=None, station=None, limit=10, now_ns=NOW)
    assert [(one.id, one.who, one.state.value) for one in found] == [("unheard", None, "done"), ("4f1c", None, "sent")]
    assert msgspec.json.decode(found[1].arguments) == {"stream": "level"}


def test_an_answer_of_another_station_says_nothing_of_ours(book: CommandBook) -> None:
    book.give(command(), who="ada", now_ns=NOW)

    book.heard([], [answer(station="gate-2")], now_ns=NOW)

    assert only(book).state is CommandState.GIVEN


def test_who_says_nothing_for_long_does_not_answer_unless_the_answer_comes_after_all(book: CommandBook) -> None:
    book.give(command(), who="ada", now_ns=NOW)
    book.sent(command())
    late = NOW + SILENCE_NS + 1

    assert only(book, now_ns=late).state is CommandState.UNANSWERED
    assert "Is the station online" in only(book, now_ns=late).message
    book.heard([], [answer()], now_ns=late)
    assert only(book, now_ns=late).state is CommandState.DONE


def test_what_was_not_sent_says_why(book: CommandBook) -> None:
    book.give(command(), who="ada", now_ns=NOW)
    book.gave_up(command(), "It did not answer a ping.")

    assert (only(book).state, only(book).message) == (CommandState.UNANSWERED, "It did not answer a ping.")


def test_the_book_outlives_the_program(tmp_path: Path) -> None:
    for _ in range(2):
        first = CommandBook(tmp_path / "kept")
        first.heard([command()], [], now_ns=NOW)
        first.close()

    again = CommandBook(tmp_path / "kept")
    assert only(again).verb == "ping"
    again.close()


def test_what_others_send_drives_out_nothing_of_ours_and_fills_no_disk(tmp_path: Path) -> None:
    book = CommandBook(tmp_path / "small", kept=20, results_kept=5)
    book.give(command(), who="ada", now_ns=NOW)
    names = [f"flood-{number}" for number in range(100)]

    book.heard(
        [command(name, arguments=b'"' + b"x" * 100_000 + b'"') for name in names],
        [answer(id=name, result={"windows": "x" * 1000}) for name in names],
        now_ns=NOW,
    )

    found = book.commands(site="north", station="gate-1", limit=1000, now_ns=NOW)
    assert [one.id for one in found] == [*reversed(names[-20:]), "4f1c"]
    assert sum(one.has_result for one in found) == 5
    assert msgspec.json.decode(found[0].arguments) == {"omitted_bytes": 100_002}
    book.close()
