"""Logs are events with fields, wherever they go."""

from __future__ import annotations

import array
import json
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sdk.base.journal import Journal, is_journal
from edge_sdk.base.log_lines import JsonLines, Lines, fields
from edge_sdk.base.logs import Damper, Tail


def record(message: str = "sensor turns", level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    return logging.getLogger("edge_sdk.test").makeRecord(
        "edge_sdk.test", level, "here.py", 7, message, (), None, func="turn", extra=extra
    )


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """What listens where journald would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.settimeout(5.0)
        yield listener


def decoded(data: bytes) -> dict[str, str]:
    """Read the native protocol, as journald does."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        if b"=" in line:
            key, _, value = line.partition(b"=")
            data = rest
        else:
            key, [length] = line, struct.unpack("<Q", rest[:8])
            value, data = rest[8 : 8 + length], rest[8 + length + 1 :]
        found[key.decode()] = value.decode()
    return found


def test_the_journal_gets_every_field(journald: socket.socket, tmp_path: Path) -> None:
    handler = Journal(tmp_path / "socket")

    handler.emit(record(sensor="light", delay_s=1.5, why="no answer\nat all"))

    found = decoded(journald.recv(65536))
    assert found["MESSAGE"] == "sensor turns sensor=light delay_s=1.5 why=no answer\nat all"
    assert (found["PRIORITY"], found["SYSLOG_IDENTIFIER"], found["CODE_LINE"]) == ("4", "edge-sdk", "7")
    assert (found["EDGE_EVENT"], found["EDGE_SENSOR"], found["EDGE_DELAY_S"]) == ("sensor turns", "light", "1.5")
    assert found["EDGE_WHY"] == "no answer\nat all"
    handler.close()


def test_a_record_too_long_for_a_datagram_is_handed_over_as_a_file(journald: socket.socket, tmp_path: Path) -> None:
    handler = Journal(tmp_path / "socket")

    handler.emit(record(text="x" * 1_000_000))

    rights = socket.CMSG_SPACE(4)
    _, [(_, _, data)], _, _ = journald.recvmsg(16, rights)
    handle = array.array("i", data)[0]
    with os.fdopen(handle, "rb") as file:
        file.seek(0)
        assert decoded(file.read())["EDGE_TEXT"] == "x" * 1_000_000
    handler.close()


def test_a_journal_that_is_away_costs_nothing_but_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = Journal(tmp_path / "nobody")

    handler.emit(record(sensor="light"))

    assert capsys.readouterr().err == "sensor turns sensor=light\n"
    handler.close()


def test_the_journal_is_known_by_its_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())

        assert is_journal(stream.fileno(), f"{status.st_dev}:{status.st_ino}")
        assert not is_journal(stream.fileno(), f"{status.st_dev}:{status.st_ino + 1}")
        assert not is_journal(stream.fileno(), "")


def test_a_line_is_for_people_and_json_for_programs() -> None:
    one = record(sensor="light", path=Path("x"))

    assert Lines().format(one).endswith("Z warning sensor turns sensor=light path=x")
    data = json.loads(JsonLines().format(one))
    assert (data["event"], data["level"], data["sensor"], data["path"]) == ("sensor turns", "warning", "light", "x")


def test_the_tail_keeps_the_last_lines() -> None:
    tail = Tail(length=3)

    for number in range(10):
        tail.emit(record(f"event {number}"))

    assert [line.rpartition(" ")[2] for line in tail.lines] == ["7", "8", "9"]


def test_an_event_that_comes_again_and_again_is_held_back_and_counted() -> None:
    damper = Damper(times=3)

    def at(second: float, message: str = "guard refuses") -> logging.LogRecord:
        one = record(message)
        one.created = second
        return one

    passed = [damper.filter(at(second)) for second in range(50)]
    other = damper.filter(at(10, "sensor turns"))
    late = at(61)

    assert passed == [True] * 3 + [False] * 47
    assert other
    assert damper.filter(late)
    assert fields(late)["held_back"] == 47
    assert damper.filter(at(0.0))  # the clock was set back
