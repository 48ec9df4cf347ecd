"""What a commander judges: the clock is a manual one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from edge_sdk.base.clock import ClockState, ManualClock, to_datetime
from edge_sdk.base.errors import CommandError, ConfigError
from edge_sdk.contract.command import Answer, AnswerState, Command, encode_command
from edge_sdk.mqtt.transport import Message
from edge_sdk.station.remote.commander import Commander, Verb, Voice
from edge_sdk.station.remote.seen import FILE, Seen

pytestmark = pytest.mark.anyio


class Word(msgspec.Struct, forbid_unknown_fields=True):
    word: str = ""


class World:
    """A commander that knows one lasting verb, ``say``, and one that may be given at any time, ``hello``."""

    def __init__(self, directory: Path, do: Callable[[Word], None] = lambda word: None) -> None:
        self.clock = ManualClock()
        self.answers: list[Answer] = []
        self.did: list[str] = []

        async def say(word: Word, voice: Voice) -> dict[str, Any]:
            do(word)
            self.did.append(word.word)
            return {"said": word.word}

        self.commander = Commander(
            "alone",
            verbs={"say": Verb(Word, say), "hello": Verb(Word, say, lasting=False, any_time=True)},
            allowed=lambda: ("say", "hello"),
            seen=Seen(directory / FILE),
            clock=self.clock,
            answer=self.answers.append,
        )

    async def hear(self, *messages: Message) -> list[Answer]:
        """Give it messages; its answers to them."""
        before = len(self.answers)
        async with anyio.create_task_group() as group:
            group.start_soon(self.commander.run)
            for message in messages:
                self.commander.take(message)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return self.answers[before:]

    def command(
        self, id: str = "one", *, verb: str = "say", age_s: float = 0, life_s: float = 60, **more: Any
    ) -> Message:
        issued = to_datetime(self.clock.wall_ns()) - timedelta(seconds=age_s)
        said = Command(issued=issued, expires=issued + timedelta(seconds=life_s), **more)
        return Message(f"edge/v1/roof/alone/cmd/{verb}/{id}", encode_command(said))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"age_s": 61}, "expired"),
        ({"age_s": -300}, "future"),
        ({"life_s": 3601}, "too_long"),
        ({"session": "another"}, "session"),
        ({"arguments": {"wrod": "x"}}, "arguments"),
        ({"verb": "sya"}, "unknown"),
    ],
)
async def test_a_command_that_must_not_be_obeyed_is_refused_with_its_reason(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    world = World(tmp_path)

    [answer] = await world.hear(world.command(**more))

    assert (answer.state, answer.reason, world.did) == (AnswerState.REFUSED, reason, [])
    assert world.commander.counters == {f"commands.refused.{reason}": 1}


async def test_a_good_command_is_done_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    command = world.command(arguments={"word": "hi"})

    first, second = await world.hear(command, command)

    assert {first.state, second.state} == {AnswerState.DONE, AnswerState.REFUSED}
    assert world.did == ["hi"]


async def test_what_was_obeyed_is_remembered_by_the_next_run_as_long_as_it_could_be_replayed(tmp_path: Path) -> None:
    first = World(tmp_path)
    await first.hear(first.command(), first.command("two", life_s=10))

    again = World(tmp_path)
    [replayed] = await again.hear(again.command())
    again.clock.advance(30)
    await again.hear(again.command("three"))

    assert replayed.reason == "replayed"
    kept = msgspec.json.decode((tmp_path / FILE).read_bytes(), type=dict[str, Any])
    assert set(kept) == {"one", "three"}


async def test_an_unset_clock_refuses_but_for_what_may_be_said_at_any_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock.clock_state = ClockState.UNSYNCED

    refused, hello = await world.hear(world.command(), world.command("two", verb="hello", age_s=10_000))

    assert {refused.reason, hello.reason} == {"clock", ""}


async def test_the_session_stands_in_for_a_clock(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock.clock_state = ClockState.UNSYNCED
    session = world.commander.session

    [answer] = await world.hear(world.command(age_s=10_000, session=session))
    [again] = await world.hear(world.command(age_s=10_000, session=session))

    assert (answer.state, again.reason) == (AnswerState.DONE, "replayed")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ConfigError("No."), AnswerState.REFUSED, "ConfigError"),
        (CommandError("No.", reason="busy"), AnswerState.REFUSED, "busy"),
        (CommandError("Tried.", reason="unhealthy", tried=True), AnswerState.FAILED, "unhealthy"),
    ],
)
async def test_what_goes_wrong_is_answered(tmp_path: Path, error: Exception, state: AnswerState, reason: str) -> None:
    def fail(word: Word) -> None:
        raise error

    world = World(tmp_path, fail)

    [answer] = await world.hear(world.command())

    assert (answer.state, answer.reason, answer.message) == (state, reason, str(error))


async def test_a_disk_that_does_not_take_the_id_means_that_nothing_is_done(tmp_path: Path) -> None:
    world = World(tmp_path / "file" / "below")
    (tmp_path / "file").write_text("not a directory")

    [answer] = await world.hear(world.command())

    assert (answer.reason, world.did) == ("disk", [])
