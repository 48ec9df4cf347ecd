"""Progress: how far event time has come for all sensors of a stream, when each hands over blocks of its own length."""

from __future__ import annotations


class Progress:
    """One watermark of several sensors. Pure: no clock is read.

    A sensor hands a block over when its last sample is there, and so its first sample is late by the block's length:
    a sensor of ten-minute blocks is not absent because another one is ten minutes ahead. What all sensors have reached
    is therefore what the last one reached, less the longest block that is usual for one of them: of a sensor's
    last two blocks the shorter one counts, so that a single long block after an outage delays nobody else.
    """

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int, int]] = {}
        self._longest_ns = 0

    def heard(self, sensor: str, reached_ns: int, span_ns: int) -> int:
        """Take note of a block, and say which event time all sensors that are alive have reached.

        Args:
            sensor: Who handed it over.
            reached_ns: Event time up to which that sensor's windows are made.
            span_ns: The block's length, from its first sample's time to its last one's.

        Returns:
            Nanoseconds since the Unix epoch; it follows time that was set back.
        """
        before = self._spans.get(sensor)
        if before != (span_ns, span_ns):
            self._spans[sensor] = (before[1] if before else span_ns, span_ns)
            self._longest_ns = max(min(pair) for pair in self._spans.values())
        return reached_ns - self._longest_ns
