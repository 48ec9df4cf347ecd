"""The watch: whether a sensor says something new, and as often as it should. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from enum import Enum

_STALE_AFTER_BLOCKS = 5.0
_STALE_AFTER_AT_LEAST_S = 5.0
_LOST_AFTER = 3.0
_RATE_OVER_S = 30.0
_RATE_OVER_BLOCKS = 20
_RATE_TOLERANCE = 0.2
_RATE_RETURNS = 0.1


class SensorState(str, Enum):
    """What a sensor is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    OFF_RATE = "off_rate"
    STALE = "stale"
    LOST = "lost"
    ENDED = "ended"


class Watch:
    """Counts what came and says what that means.

    A sensor is *stale* when nothing has come for `stale_after_s`, and *lost* after three times that: then it is opened
    anew. It is *off rate* when over half a minute and twenty blocks a fifth more or less came than its rate says, until
    it is within a tenth of it again.

    Args:
        rate_hz: Samples a second in ordinary times; None = not known, the rate is not watched.
        block_s: Seconds from block to block in ordinary times; 0 = not known.
        stale_after_s: Silence after which it is stale; None = five blocks and at least five seconds, where one of the
            two above is known, else silence means nothing.
    """

    def __init__(self, *, rate_hz: float | None, block_s: float = 0.0, stale_after_s: float | None = None) -> None:
        self._rate_hz = rate_hz
        interval_s = max(block_s, 1.0 / rate_hz if rate_hz else 0.0)
        if stale_after_s is None and interval_s:
            stale_after_s = max(_STALE_AFTER_AT_LEAST_S, _STALE_AFTER_BLOCKS * interval_s)
        self.stale_after_s = stale_after_s
        self._span_ns = round(max(_RATE_OVER_S, _RATE_OVER_BLOCKS * interval_s) * 1e9)
        self._begun_ns = self._last_ns = 0
        self._is_off_rate = False
        self._came: deque[tuple[int, int]] = deque()
        self._n_came = 0

    def begin(self, now_ns: int) -> None:
        """It is opened (again); `now_ns` is monotonic, as everywhere here."""
        self._begun_ns = self._last_ns = now_ns
        self._came.clear()
        self._n_came = 0
        self._is_off_rate = False

    def saw(self, n_samples: int, now_ns: int) -> None:
        """Samples came."""
        self._last_ns = now_ns
        if self._rate_hz is None:
            return
        self._came.append((now_ns, n_samples))
        self._n_came += n_samples
        while self._came[0][0] < now_ns - self._span_ns:
            self._n_came -= self._came.popleft()[1]

    def resume(self, now_ns: int) -> None:
        """Whoever reads it has been slow until now: that was not silence."""
        self._last_ns = now_ns

    @property
    def is_watching(self) -> bool:
        """Whether there is anything to look for."""
        return self.stale_after_s is not None

    def measured_hz(self, now_ns: int) -> float | None:
        """Samples a second over the last half minute or more; None when it is too early to say."""
        if self._rate_hz is None or now_ns - self._begun_ns < self._span_ns or len(self._came) < 2:
            return None
        first_ns, first_n = self._came[0]
        span_ns = self._came[-1][0] - first_ns
        return (self._n_came - first_n) / span_ns * 1e9 if span_ns else None

    def judge(self, now_ns: int) -> SensorState:
        """RUNNING, OFF_RATE, STALE or LOST."""
        silent_s = (now_ns - self._last_ns) / 1e9
        if self.stale_after_s is not None and silent_s > self.stale_after_s:
            return SensorState.LOST if silent_s > _LOST_AFTER * self.stale_after_s else SensorState.STALE
        measured_hz = self.measured_hz(now_ns)
        if measured_hz is not None and self._rate_hz:
            tolerance = _RATE_RETURNS if self._is_off_rate else _RATE_TOLERANCE
            self._is_off_rate = abs(measured_hz / self._rate_hz - 1.0) > tolerance
        return SensorState.OFF_RATE if self._is_off_rate else SensorState.RUNNING

    def why(self, state: SensorState, now_ns: int) -> str:
        """The same for a person."""
        if state in (SensorState.STALE, SensorState.LOST):
            return (
                f"Nothing has come for {(now_ns - self._last_ns) / 1e9:.0f} s. Check the cable, the power, the source."
            )
        if state is SensorState.OFF_RATE:
            measured_hz = self.measured_hz(now_ns) or 0.0
            return f"It gives {measured_hz:.3g} samples a second, {self._rate_hz:.3g} are expected. Mend rate_hz or it."
        return "It is as it should be again."
