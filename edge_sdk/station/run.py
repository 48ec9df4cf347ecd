"""The run of a station, from its command line to its end: the one command that lasts for months."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

LogLevel = Literal["debug", "info", "warning", "error"]


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``edge-sdk station run`` is told; its help stands in `edge_sdk.station.cli`.

    Attributes:
        config: The configuration.
        drain_s: Seconds to drain the outbox when stopped.
        log_level: What is logged.
        log_json: Whether it is logged as one JSON object a line.
        json_file: Where the counters are written at the end; ``-`` is standard output, None = nowhere.
    """

    config: str = msgspec.field(name="CONFIG")
    drain_s: float = msgspec.field(default=5.0, name="--drain-s")
    log_level: LogLevel = msgspec.field(default="info", name="--log-level")
    log_json: bool = msgspec.field(default=False, name="--log-json")
    json_file: str | None = msgspec.field(default=None, name="--json")

    @classmethod
    def plain(cls, arguments: Sequence[str]) -> Run | None:
        """Read a plain command line, as a service has it; None = click has to, which knows help and every mistake.

        click takes 1.9 MB, and would be held for as long as the station runs.
        """
        given: dict[str, object] = {}
        words = iter(arguments)
        try:
            for word in words:
                if word in ("--drain-s", "--log-level", "--json"):
                    given[word] = next(words)
                elif word == "--log-json":
                    given[word] = True
                elif word.startswith("-") or "CONFIG" in given:
                    return None
                else:
                    given["CONFIG"] = word
            return msgspec.convert(given, cls, strict=False)
        except (StopIteration, msgspec.ValidationError):
            return None

    def work(self) -> None:
        """Run the station until told to stop, or until every sensor has ended.

        Raises:
            ConfigError: The configuration says what cannot be.
            BundleError: A bundle must not be used.
            BackendError: A model cannot be run here.
            OutboxError: The outbox cannot be opened.
        """
        import logging
        import os

        import anyio

        from edge_sdk.base import logs
        from edge_sdk.base.allocator import share_one_heap
        from edge_sdk.base.clock import SystemClock
        from edge_sdk.station.notify import Notifier
        from edge_sdk.station.remote.start import assembled

        share_one_heap()
        logs.configure(self.log_level, as_json=self.log_json)
        tail = logs.Tail()
        logging.getLogger().addHandler(tail)
        program = assembled(
            Path(self.config),
            clock=SystemClock(),
            credentials=os.environ.get("CREDENTIALS_DIRECTORY", ""),
            notifier=Notifier.of(os.environ),
            tail=tail,
        )

        async def drive() -> None:
            await program.run(drain_s=self.drain_s)

        anyio.run(drive)
        if self.json_file is not None:
            from edge_sdk.base import terminal

            terminal.write_json(self.json_file, program.final_counters)
