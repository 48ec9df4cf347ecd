"""Somebody who gives commands to the station roof/alone, and hears its answers."""

from __future__ import annotations

import base64
import hashlib
import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_sdk.contract.command import Answer, AnswerState, Command, decode_answer, encode_command
from edge_sdk.station.remote.uploads import CHUNK_BYTES
from tests.station.ear import Ear

ROOT = "edge/v1/roof/alone"
_numbers = itertools.count(1)


class Operator:
    """Gives commands by a broker's ear."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.session = ""

    def join(self) -> None:
        """Learn the session: the clock of the machine that runs the tests need not be set."""
        self.session = str(self.ask("ping").result["session"])

    def send(
        self,
        verb: str,
        arguments: dict[str, Any] | None = None,
        *,
        id: str = "",
        age_s: float = 0.0,
        life_s: float = 60.0,
        retain: bool = False,
    ) -> str:
        """Give a command; its id."""
        command = id or f"test-{next(_numbers)}"
        issued = datetime.now(timezone.utc) - timedelta(seconds=age_s)
        expires = issued + timedelta(seconds=life_s)
        said = Command(issued=issued, expires=expires, session=self.session, arguments=arguments or {})
        self.ear.publish(f"{ROOT}/cmd/{verb}/{command}", encode_command(said), retain=retain)
        return command

    def answers(self, command: str) -> list[Answer]:
        topic = f"{ROOT}/ack/{command}"
        return [decode_answer(said.payload) for said in self.ear.said if said.topic == topic]

    def answer(self, command: str, *, within_s: float = 30.0, after: int = 0) -> Answer:
        """The last word on a command."""
        topic = f"{ROOT}/ack/{command}"

        def last(said: Any) -> bool:
            return said.topic == topic and decode_answer(said.payload).state is not AnswerState.ACCEPTED

        return decode_answer(self.ear.wait(last, within_s=within_s, after=after).payload)

    def ask(self, verb: str, arguments: dict[str, Any] | None = None, *, within_s: float = 30.0) -> Answer:
        """Give a command and wait for the last word on it."""
        return self.answer(self.send(verb, arguments), within_s=within_s)

    def upload(self, path: Path, name: str) -> str:
        """Send a bundle in pieces; its SHA-256."""
        raw = path.read_bytes()
        of = -(-len(raw) // CHUNK_BYTES)
        for index in range(of):
            piece = base64.b64encode(raw[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]).decode()
            answer = self.ask("bundle-chunk", {"upload": name, "index": index, "of": of, "data": piece})
            assert answer.state is AnswerState.DONE, answer
        return hashlib.sha256(raw).hexdigest()
