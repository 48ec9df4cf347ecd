"""The governor: less work when the board is hot, slowed down or behind; more when it has been well for a while."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When to work less, and when to work more again.

    Attributes:
        hot_c: At this temperature of the processor work gets less, °C.
        cool_c: Up to this one it may get more again, °C; less than `hot_c`.
        behind_s: When the oldest waiting block is older than this, work gets less, s.
        hold_s: How long a step is tried before the next one down, s; up takes 4 times that.
    """

    hot_c: float
    cool_c: float
    behind_s: float
    hold_s: float


@dataclass(frozen=True, slots=True)
class Strain:
    """How the board does at one moment.

    Attributes:
        temperature_c: Of the processor; None = it cannot be read.
        throttled: Whether the firmware slows the processor down.
        behind_s: Age of the oldest block when its turn came, since the last look; seconds.
    """

    temperature_c: float | None = None
    throttled: bool = False
    behind_s: float = 0.0


class Governor:
    """Chooses a level: 0 = all work, each one more = a step less. Pure: no clock is read, nothing is measured.

    One step at a time, with hysteresis: down after `hold_s` on a level that did not help, up after four times
    `hold_s` without any strain; between `cool_c` and `hot_c`, and up to half of `behind_s`, the level stays.

    Args:
        limits: When.
        levels: How many steps down there are.

    Attributes:
        level: The level now.
        reason: What the last change was for: ``hot``, ``throttled``, ``behind``; empty at level 0.
    """

    def __init__(self, limits: Limits, *, levels: int) -> None:
        self._limits, self._levels = limits, levels
        self.level, self.reason = 0, ""
        self._changed_ns: int | None = None
        self._well_ns: int | None = None

    def look(self, strain: Strain, *, now_ns: int) -> int:
        """Take note of the board's state; give the level from now on.

        Args:
            strain: How the board does.
            now_ns: Monotonic time, nanoseconds.
        """
        limits, hold_ns = self._limits, round(self._limits.hold_s * 1e9)
        if reason := self._too_much(strain):
            self._well_ns = None
            is_tried = self._changed_ns is None or now_ns - self._changed_ns >= hold_ns
            if self.level < self._levels and is_tried:
                self.level, self.reason, self._changed_ns = self.level + 1, reason, now_ns
            return self.level
        warm = strain.temperature_c is not None and strain.temperature_c > limits.cool_c
        if warm or strain.behind_s > limits.behind_s / 2:
            self._well_ns = None
            return self.level
        self._well_ns = now_ns if self._well_ns is None else self._well_ns
        if self.level and now_ns - self._well_ns >= 4 * hold_ns:
            self.level, self._changed_ns, self._well_ns = self.level - 1, now_ns, now_ns
            self.reason = self.reason if self.level else ""
        return self.level

    def _too_much(self, strain: Strain) -> str:
        if strain.throttled:
            return "throttled"
        if strain.temperature_c is not None and strain.temperature_c >= self._limits.hot_c:
            return "hot"
        return "behind" if strain.behind_s > self._limits.behind_s else ""
