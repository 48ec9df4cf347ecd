"""The office: everything of one station that has to do with commands from afar."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import anyio

from edge_sdk.mqtt.transport import Message
from edge_sdk.station.remote.applied import Applied

if TYPE_CHECKING:
    from edge_sdk.station.remote.changes import Changes
    from edge_sdk.station.remote.commander import Commander
    from edge_sdk.station.station import Station

DIRECTORY = "remote"
_UPLOADS = "incoming"


class Office:
    """Takes commands, where the configuration allows any, and judges a change that was on trial at the start.

    It is staffed only where there is work for it: a station that takes no commands does without the code.

    Attributes:
        name: Name of its task.

    Args:
        station: Whose it is.
        applied: What can be changed.
    """

    name = "remote"

    def __init__(self, station: Station, applied: Applied) -> None:
        self._station, self._applied = station, applied
        self._staff: tuple[Changes, Commander] | None = None
        self._staffed = anyio.Event()
        if station.works.assembly.config.remote.allow or applied.slots.following is not None:
            self._commander()

    @property
    def counters(self) -> Counter[str]:
        """What was done and refused."""
        return Counter() if self._staff is None else self._staff[1].counters

    def take(self, message: Message) -> None:
        """A command came. To be called on the event loop."""
        self._commander().take(message)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._staffed.wait()
        assert self._staff is not None, "it is staffed"
        changes, commander = self._staff
        async with anyio.create_task_group() as group:
            group.start_soon(changes.resume, name="trial")
            group.start_soon(commander.run, name=commander.name)

    def _commander(self) -> Commander:
        if self._staff is None:
            from edge_sdk.station.remote.changes import Changes
            from edge_sdk.station.remote.commander import Commander
            from edge_sdk.station.remote.seen import FILE as SEEN_FILE
            from edge_sdk.station.remote.seen import Seen
            from edge_sdk.station.remote.uploads import Uploads
            from edge_sdk.station.remote.verbs import verbs_of

            station, directory = self._station, self._applied.slots.directory
            remote = station.works.assembly.config.remote
            uploads = Uploads(directory / _UPLOADS, limit_bytes=round(remote.max_bundle_mb * 1e6))
            changes = Changes(station, self._applied, uploads)
            commander = Commander(
                station.works.assembly.config.station,
                verbs=verbs_of(station, changes),
                allowed=lambda: station.works.assembly.config.remote.allow,
                seen=Seen(directory / SEEN_FILE),
                clock=station.clock,
                answer=station.answer,
            )
            self._staff = changes, commander
            self._staffed.set()
        return self._staff[1]
