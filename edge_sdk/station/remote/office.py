"""The office: everything of one station that has to do with commands from afar."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import anyio

from edge_sdk.mqtt.transport import Message
from edge_sdk.station.remote.applied import Applied
from edge_sdk.station.remote.changes import Changes
from edge_sdk.station.remote.commander import Commander
from edge_sdk.station.remote.seen import FILE as SEEN_FILE
from edge_sdk.station.remote.seen import Seen
from edge_sdk.station.remote.uploads import Uploads
from edge_sdk.station.remote.verbs import verbs_of

if TYPE_CHECKING:
    from edge_sdk.station.station import Station

DIRECTORY = "remote"
_UPLOADS = "incoming"


class Office:
    """Takes commands, where the configuration allows any, and judges a change that was on trial at the start.

    Attributes:
        name: Name of its task.

    Args:
        station: Whose it is.
        applied: What can be changed.
    """

    name = "remote"

    def __init__(self, station: Station, applied: Applied) -> None:
        remote = station.works.assembly.config.remote
        directory = applied.slots.directory
        uploads = Uploads(directory / _UPLOADS, limit_bytes=round(remote.max_bundle_mb * 1e6))
        self._changes = Changes(station, applied, uploads)
        self._commander = Commander(
            station.works.assembly.config.station,
            verbs=verbs_of(station, self._changes),
            allowed=lambda: station.works.assembly.config.remote.allow,
            seen=Seen(directory / SEEN_FILE),
            clock=station.clock,
            answer=station.answer,
        )

    @property
    def counters(self) -> Counter[str]:
        """What was done and refused."""
        return self._commander.counters

    def take(self, message: Message) -> None:
        """A command came. To be called on the event loop."""
        self._commander.take(message)

    async def run(self) -> None:
        """Work until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._changes.resume, name="trial")
            group.start_soon(self._commander.run, name=self._commander.name)
