"""The trial: a change is put to work, watched, and kept or taken back."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from edge_sdk.base.errors import CommandError, EdgeError
from edge_sdk.station.remote.slots import Change, Slots

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_SETTLED_S = 10.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What a healthy station shows.

    Attributes:
        running: Names of the sensors that measure.
        sensors: Names of all sensors.
        accepted: Results that were committed.
        interval_s: Usual time between commits of results; None = there were not two.
        connected: Whether the broker can be reached.
    """

    running: frozenset[str]
    sensors: frozenset[str]
    accepted: int
    interval_s: float | None
    connected: bool


class Patient(Protocol):
    """The station, as far as a trial is concerned."""

    def signs(self) -> Signs:
        """How it does now."""

    async def load(self, change: Change | None) -> None:
        """Change over to a configuration; return when it is in use. Raises EdgeError; then nothing was changed."""

    async def pulse(self) -> None:
        """Return when every stream and the commit have done what came before."""


class Trial:
    """Tries changes of one station.

    Args:
        patient: The station.
        slots: Where the change is written down before it is tried.
    """

    def __init__(self, patient: Patient, slots: Slots) -> None:
        self._patient, self._slots = patient, slots

    async def run(self, change: Change, *, within_s: float) -> None:
        """Try a change; keep it when the station is well again within a time, else take it back.

        Raises:
            CommandError: It was refused, or taken back.
        """
        before = self._patient.signs()
        try:
            await anyio.to_thread.run_sync(self._slots.propose, change)
        except OSError as error:
            raise CommandError(
                f"It cannot be written down: {error.strerror}. Is the disk full?", reason="disk"
            ) from error
        try:
            await self._patient.load(change)
        except EdgeError as error:
            self._slots.withdraw()
            raise CommandError(str(error), reason="invalid") from error
        # What the former configuration still committed while it ended speaks for nobody.
        await self._judge(replace(before, accepted=self._patient.signs().accepted), within_s)

    async def resume(self, *, within_s: float) -> None:
        """The program was started with a change on trial: judge it. Raises CommandError when it was taken back."""
        signs = self._patient.signs()
        await self._judge(Signs(signs.sensors, signs.sensors, 0, None, connected=False), within_s)

    async def _judge(self, before: Signs, within_s: float) -> None:
        if ills := await self._ills(before, within_s):
            log.error("change is taken back", extra={"ills": ills})
            self._slots.withdraw()
            await self._patient.load(self._slots.present)
            said = f"The station was not well within {within_s:g} s: {'; '.join(ills)}. The change was taken back."
            raise CommandError(said, reason="unhealthy", tried=True)
        await anyio.to_thread.run_sync(self._slots.commit)

    async def _ills(self, before: Signs, within_s: float) -> list[str]:
        """What is still wrong at the end of the time; nothing once all has been well for a while."""
        ills = ["nothing moved"]
        well_since: float | None = None
        with anyio.move_on_after(within_s):
            while True:
                await self._patient.pulse()
                now = anyio.current_time()
                ills = self._look(before, within_s)
                well_since = None if ills else now if well_since is None else well_since
                if well_since is not None and now - well_since >= min(_SETTLED_S, within_s / 2):
                    return []
                await anyio.sleep(_LOOK_EVERY_S)
        return ills or ([] if well_since is not None else ["nothing moved"])

    def _look(self, before: Signs, within_s: float) -> list[str]:
        now = self._patient.signs()
        ills = [f"sensor {name} does not measure" for name in sorted(before.running & now.sensors - now.running)]
        if before.connected and not now.connected:
            ills.append("the broker cannot be reached")
        flowed = before.interval_s is not None and before.interval_s < within_s / 2
        if flowed and now.accepted <= before.accepted:
            ills.append("no result was made")
        return ills
