"""Industrial I/O, buffered: the kernel samples by a trigger and hands over whole blocks with their times."""

from __future__ import annotations

import os
import re
import select
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors import sysfs
from edge_sdk.sensors.base import Emit, Strict
from edge_sdk.sensors.iio import DEVICES, ChannelNames, DeviceName, line_of, unit_of
from edge_sdk.sensors.stamp import Stamp
from edge_sdk.sensors.worker import Worker

_TYPE = re.compile(
    r"(?P<order>[bl]e):(?P<sign>[suf])(?P<bits>\d+)/(?P<storage>\d+)(?:X(?P<times>\d+))?>>(?P<shift>\d+)"
)
_POLL_MS = 400
_CLOCKS = {"realtime": time.CLOCK_REALTIME, "monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}


@dataclass(frozen=True, slots=True)
class Element:
    """How one channel lies in a scan, as ``scan_elements/*_type`` says: ``le:s12/16>>4``.

    Attributes:
        order: ``le`` or ``be``.
        sign: ``s`` signed, ``u`` unsigned, ``f`` floating point.
        bits: Bits that count.
        storage_bytes: Bytes that it takes, and is aligned to.
        shift: Bits to the right of those that count.
    """

    order: str
    sign: str
    bits: int
    storage_bytes: int
    shift: int

    @classmethod
    def parse(cls, text: str) -> Element:
        """Read such a type. Raises SensorError for one that we do not know."""
        matched = _TYPE.fullmatch(text)
        if matched is None or matched["times"] not in (None, "1") or matched["storage"] not in {"8", "16", "32", "64"}:
            raise SensorError(f"Scan element {text!r} is of a form that is not known; wanted is one like le:s12/16>>4.")
        return cls(
            matched["order"], matched["sign"], int(matched["bits"]), int(matched["storage"]) // 8, int(matched["shift"])
        )

    def dtype(self) -> str:
        """The numpy type of its storage."""
        kind = "f" if self.sign == "f" else "u"
        return f"{'<' if self.order == 'le' else '>'}{kind}{self.storage_bytes}"

    def decode(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Counts, int64 (or float64), of what is stored."""
        if self.sign == "f":
            return stored.astype(np.float64)
        counts = (stored.astype(np.uint64) >> np.uint64(self.shift)).astype(np.int64)
        if self.bits < 64:
            counts &= (1 << self.bits) - 1
            if self.sign == "s":
                top = 1 << (self.bits - 1)
                counts = (counts ^ top) - top
        return counts


class Layout:
    """How a scan lies in memory: each element aligned to its own size, the whole to the largest.

    Args:
        elements: By channel, in the order of their index.
    """

    def __init__(self, elements: dict[str, Element]) -> None:
        at, offsets = 0, []
        for element in elements.values():
            at += -at % element.storage_bytes
            offsets.append(at)
            at += element.storage_bytes
        at += -at % max(element.storage_bytes for element in elements.values())
        self._elements = elements
        self._dtype = np.dtype(
            {
                "names": list(elements),
                "formats": [element.dtype() for element in elements.values()],
                "offsets": offsets,
                "itemsize": at,
            }
        )
        self.scan_bytes = at

    def decode(self, scans: bytes) -> dict[str, NDArray[Any]]:
        """Counts of each channel, ``(n_scans,)``, of whole scans."""
        stored = np.frombuffer(scans, self._dtype)
        return {name: element.decode(stored[name]) for name, element in self._elements.items()}


class IioBuffer:
    """A device below ``/sys/bus/iio`` with a buffer: for rates at which asking for each sample costs too much."""

    class Options(Strict, frozen=True, kw_only=True):
        """Which device, which channels, which trigger."""

        device: DeviceName
        channels: ChannelNames
        rate_hz: Annotated[float, Meta(gt=0, description="Samples a second; written to sampling_frequency if it can.")]
        trigger: Annotated[str | None, Meta(description="Name of the trigger; default: the one it has.")] = None
        block_s: Annotated[float, Meta(gt=0, le=10, description="Seconds that are handed over together.")] = 0.2
        sysfs: sysfs.SysfsPath = msgspec.field(default_factory=sysfs.mount)
        dev: Annotated[Path, Meta(description="Where the device nodes are; default: /dev.")] = msgspec.field(
            default_factory=lambda: Path("/dev")
        )

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self.channels = options.channels
        self.units = tuple(unit_of(channel)[0] for channel in options.channels)
        self.rate_hz: float | None = options.rate_hz
        self.block_s = options.block_s
        self.counters: Counter[str] = Counter()

    async def run(self, emit: Emit) -> None:
        """Read the buffer for ever."""
        await Worker(self.name).pump(self._open, emit)

    def _open(self) -> _Buffer:
        options = self._options
        device = sysfs.find(options.sysfs / DEVICES, "iio:device*", options.device, by=("name", "label"))
        return _Buffer(device, self.name, options, self._clock)


class _Buffer:
    """The open buffer of one device."""

    def __init__(self, device: Path, sensor: str, options: IioBuffer.Options, clock: Clock) -> None:
        self._device, self._options, self._clock = device, options, clock
        self._stamp = Stamp(sensor, clock, options.rate_hz)
        self._rest = b""
        sysfs.write_word(device / "buffer/enable", "0")
        self._layout, self._has_times = self._choose()
        self._lines = [line_of(device, channel) for channel in options.channels]
        self._stamped_by = self._clock_of_times()
        self._set_up()
        node = options.dev / device.name
        try:
            self._fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            sysfs.write_word(device / "buffer/enable", "0")
            raise SensorError(f"{node} cannot be opened: {error.strerror}. Is it there, and ours to read?") from error

    def read(self) -> Iterable[Reading]:
        if not select.select([self._fd], [], [], _POLL_MS / 1000)[0]:
            return ()
        n_scans = max(1, round(self._options.block_s * self._options.rate_hz))
        try:
            came = os.read(self._fd, self._layout.scan_bytes * max(n_scans, 256))
        except BlockingIOError:
            return ()
        if not came:
            raise SensorError(f"{self._device.name} has closed its buffer. Was the device removed?")
        came = self._rest + came
        whole = len(came) - len(came) % self._layout.scan_bytes
        self._rest = came[whole:]
        return (self._reading(came[:whole]),) if whole else ()

    def close(self) -> None:
        os.close(self._fd)
        if (self._device / "buffer/enable").is_file():
            try:
                sysfs.write_word(self._device / "buffer/enable", "0")
            except SensorError:  # the device went away while it was closed
                return

    def _reading(self, scans: bytes) -> Reading:
        counts = self._layout.decode(scans)
        columns = [
            (counts[channel] + line.offset) * line.factor
            for channel, line in zip(self._options.channels, self._lines, strict=True)
        ]
        times_ns = counts["timestamp"] + self._wall_offset_ns() if self._has_times else None
        return self._stamp.reading(np.stack(columns, axis=1).astype(np.float32), times_ns)

    def _choose(self) -> tuple[Layout, bool]:
        """Switch on our channels and the timestamp, the others off."""
        directory = self._device / "scan_elements"
        there = {
            file.name.removeprefix("in_").removesuffix("_en"): file.with_name(file.name.removesuffix("_en"))
            for file in directory.glob("in_*_en")
        }
        wanted = [*self._options.channels, *(["timestamp"] if "timestamp" in there else [])]
        if missing := [channel for channel in wanted if channel not in there]:
            raise SensorError(
                f"{self._device.name} buffers no {missing[0]!r}; it buffers {', '.join(sorted(there)) or 'nothing'}. "
                "Use `kind: iio` for the others."
            )
        for channel, stem in there.items():
            sysfs.write_word(stem.with_name(f"{stem.name}_en"), "1" if channel in wanted else "0")
        ordered = sorted(wanted, key=lambda channel: int(sysfs.read_word(_beside(there[channel], "index"))))
        elements = {channel: Element.parse(sysfs.read_word(_beside(there[channel], "type"))) for channel in ordered}
        return Layout(elements), "timestamp" in elements

    def _set_up(self) -> None:
        device, options = self._device, self._options
        block = max(1, round(options.block_s * options.rate_hz))
        if options.trigger is not None:
            sysfs.write_word(device / "trigger/current_trigger", options.trigger)
        for rate in (device / "sampling_frequency", device / "buffer/sampling_frequency"):
            if rate.is_file():
                sysfs.write_word(rate, f"{options.rate_hz:g}")
                break
        sysfs.write_word(device / "buffer/length", str(max(4 * block, 64)))
        if (watermark := device / "buffer/watermark").is_file():
            sysfs.write_word(watermark, str(block))
        sysfs.write_word(device / "buffer/enable", "1")

    def _clock_of_times(self) -> int:
        """The clock that the kernel stamps by."""
        file = self._device / "current_timestamp_clock"
        return _CLOCKS.get(sysfs.read_word(file), time.CLOCK_REALTIME) if file.is_file() else time.CLOCK_REALTIME

    def _wall_offset_ns(self) -> int:
        """What to add to the kernel's times to get times since 1970."""
        if self._stamped_by == time.CLOCK_REALTIME:
            return 0
        return self._clock.wall_ns() - time.clock_gettime_ns(self._stamped_by)


def _beside(stem: Path, what: str) -> Path:
    return stem.with_name(f"{stem.name}_{what}")
