"""The keeper: keeps one sensor measuring. A sensor that is lost is a state and an event, never a crash."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import anyio

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import EdgeError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit, Instrument, Sensor
from edge_sdk.sensors.channels import ChannelConfig, Channels
from edge_sdk.sensors.watch import SensorState, Watch

log = logging.getLogger(__name__)

Turned = Callable[[SensorState, str], None]
_LOOKS_PER_STALE = 5.0
_LONGEST_LOOK_S = 5.0


class Keeper:
    """Runs a sensor, corrects what it measures, watches it, and opens it anew with back-off when it is lost.

    It is the one place for what all sensors have in common, and itself a sensor to whoever reads it.

    Args:
        sensor: What measures.
        clock: Where time comes from.
        channels: How its channels are handed on; empty = all as they are.
        rate_hz: Samples a second that are expected; None = what the sensor says.
        stale_after_s: As `Watch`.
        backoff: Delays between tries; None = up to half a second at first, half a minute at most.

    Attributes:
        name: The sensor's name.
        channels: Names of the channels as they are handed on.
        units: Their units, in order; empty where not known.
        state: What it is doing.

    Raises:
        ConfigError: A channel is named that the sensor has not.
    """

    def __init__(
        self,
        sensor: Sensor,
        *,
        clock: Clock,
        channels: Mapping[str, ChannelConfig] | None = None,
        rate_hz: float | None = None,
        stale_after_s: float | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._sensor, self._clock = sensor, clock
        self._instrument = sensor if isinstance(sensor, Instrument) else None
        self.name = sensor.name
        self._channels = Channels(
            channels or {},
            channels=sensor.channels,
            units=self._instrument.units if self._instrument else (),
            sensor=sensor.name,
        )
        self.channels: Sequence[str] = self._channels.channels
        self.units: Sequence[str] = self._channels.units
        self.rate_hz = rate_hz or (self._instrument.rate_hz if self._instrument else None)
        self.block_s = self._instrument.block_s if self._instrument else 0.0
        self._watch = Watch(rate_hz=self.rate_hz, block_s=self.block_s, stale_after_s=stale_after_s)
        self._backoff = backoff or Backoff(base_s=0.5, cap_s=30.0)
        self._counters: Counter[str] = Counter()
        self.state = SensorState.WAITING
        self._is_handing_on = False
        self._silence = ""
        self._first_ns = 0  # monotonic time of the first block of this run
        self._lost_ns: int | None = None

    @property
    def counters(self) -> Mapping[str, int]:
        """What was dropped here and by the sensor, by dotted name.

        ``lost``, ``stale`` and ``off_rate`` count turns to that state, ``tries`` failures to open or to go on.
        """
        total = Counter(self._counters)
        if self._instrument is not None:
            total.update(self._instrument.counters)
        return dict(sorted(total.items()))

    async def run(self, emit: Emit, turned: Turned | None = None) -> None:
        """Keep it measuring until cancelled; return when the source has ended.

        Args:
            emit: Gets every block, corrected.
            turned: Told of each change of state, and why.
        """
        while True:
            self._first_ns = 0
            self._watch.begin(self._clock.monotonic_ns())
            error = await self._run_once(emit, turned)
            if error is None:
                self._turn(SensorState.ENDED, "", turned)
                return
            if not isinstance(error, EdgeError):
                log.error("sensor plug-in failed", extra={"sensor": self.name}, exc_info=error)
            now_ns = self._clock.monotonic_ns()
            if self._first_ns:
                self._backoff.worked_for((now_ns - self._first_ns) / 1e9)
            self._lost_ns = self._lost_ns or now_ns
            self._counters["tries"] += 1
            self._turn(SensorState.LOST, str(error) or type(error).__name__, turned)
            await anyio.sleep(self._backoff.next_delay_s())

    async def _run_once(self, emit: Emit, turned: Turned | None) -> Exception | None:
        """Run it until it fails; what it failed with, or None when it has ended."""
        failure: Exception | None = None

        async def hand_on(reading: Reading) -> None:
            if not self._channels.fits(reading) or reading.sensor != self.name:
                self._counters["readings.malformed"] += 1
                return
            self._is_handing_on = True
            try:
                now_ns = self._clock.monotonic_ns()
                self._first_ns = self._first_ns or now_ns
                self._watch.saw(len(reading.samples), now_ns)
                if self.state in (SensorState.WAITING, SensorState.STALE, SensorState.LOST):
                    self._turn(SensorState.RUNNING, self._back(now_ns), turned)
                await emit(self._channels.apply(reading))
                self._watch.resume(self._clock.monotonic_ns())
            finally:
                self._is_handing_on = False

        self._silence = ""
        async with anyio.create_task_group() as group:
            if self._watch.is_watching:
                group.start_soon(self._look, group.cancel_scope, turned, name=f"watch {self.name}")
            try:
                await self._sensor.run(hand_on)
            except Exception as error:  # noqa: BLE001 (whatever a plug-in raises, the station goes on; it is told above)
                failure = _single(error)
            else:
                self._silence = ""
            group.cancel_scope.cancel()
        return SensorError(self._silence) if failure is None and self._silence else failure

    def _back(self, now_ns: int) -> str:
        """Why it is running: it is new, or back."""
        lost_ns, self._lost_ns = self._lost_ns, None
        if lost_ns is not None:
            return f"It was lost for {(now_ns - lost_ns) / 1e9:.0f} s."
        return "It says something again." if self.state is SensorState.STALE else ""

    async def _look(self, run: anyio.CancelScope, turned: Turned | None) -> None:
        """Look at it now and then; end its run when it has been silent for too long."""
        every_s = min(_LONGEST_LOOK_S, (self._watch.stale_after_s or _LONGEST_LOOK_S) / _LOOKS_PER_STALE)
        while True:
            await anyio.sleep(every_s)
            if self._is_handing_on:
                continue  # whoever reads it is slow; that is not the sensor's silence
            now_ns = self._clock.monotonic_ns()
            judged = self._watch.judge(now_ns)
            if judged is SensorState.LOST:
                self._silence = self._watch.why(judged, now_ns)
                run.cancel()
                return
            if self.state is SensorState.LOST or (judged, self.state) == (SensorState.RUNNING, SensorState.WAITING):
                continue  # it is open, and nothing has come yet
            if judged is not self.state:
                self._turn(judged, self._watch.why(judged, now_ns), turned)

    def _turn(self, state: SensorState, why: str, turned: Turned | None) -> None:
        again = state is self.state
        self.state = state
        if not again and state in (SensorState.LOST, SensorState.STALE, SensorState.OFF_RATE):
            self._counters[state.value] += 1
        level = logging.DEBUG if again else logging.INFO
        log.log(level, "sensor turns", extra={"sensor": self.name, "state": state.value, "why": why})
        if turned is not None and not again:
            turned(state, why)


def _single(error: Exception) -> Exception:
    """The only error of a group that a sensor's own task group raised."""
    inner: Sequence[object] = getattr(error, "exceptions", ())
    return _single(inner[0]) if len(inner) == 1 and isinstance(inner[0], Exception) else error
