"""The worker: what blocks is done in a thread, one call at a time, and never holds the event loop or the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from edge_sdk.base.errors import EdgeError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Closable(Protocol):
    """Something that is open."""

    def close(self) -> None:
        """Let go; must not raise."""


class Device(Closable, Protocol):
    """A blocking source, used by one thread at a time."""

    def read(self) -> Iterable[Reading]:
        """Wait for no longer than about half a second; give what came, perhaps nothing.

        Raises:
            SensorError: It does not answer. An OSError is taken for one.
            EOFError: It has ended.
        """


_Closable = TypeVar("_Closable", bound=Closable)


class Worker:
    """Does blocking calls of one sensor in a thread, one at a time.

    Each sensor has a limiter of its own: forty slow sensors would otherwise take all threads of the process, and the
    outbox would wait for them. A call that hangs when the sensor is cancelled is left behind after a while, with
    what it has open: closing a file descriptor under a thread that reads it could let it read another file.

    Args:
        name: The sensor's name, for errors.
        patience_s: How long a call may go on after the sensor was cancelled.
    """

    def __init__(self, name: str, *, patience_s: float = 2.0) -> None:
        self._name, self._patience_s = name, patience_s
        self._limiter = anyio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self._call: _Call[Any] | None = None

    async def do(self, work: Callable[[], _T]) -> _T:
        """Call it in the thread and wait for it.

        Raises:
            SensorError: An OSError came out of it.
        """
        self._call = call = _Call(work)
        try:
            return await anyio.to_thread.run_sync(call.run, limiter=self._limiter, abandon_on_cancel=True)
        except OSError as error:
            if isinstance(error, EdgeError):
                raise
            raise SensorError(
                f"Sensor {self._name!r}: {error}. Check the cable, the power, the permissions."
            ) from error
        finally:
            call.revoke()

    async def close(self, close: Callable[[], None]) -> None:
        """Close what was opened, even while being cancelled, unless a call still hangs."""
        with anyio.CancelScope(shield=True):
            if self._call is None or await anyio.to_thread.run_sync(self._call.over.wait, self._patience_s):
                await anyio.to_thread.run_sync(close)
            else:
                log.error("sensor hangs and is left behind", extra={"sensor": self._name})

    async def pump(self, open_device: Callable[[], Device], emit: Emit) -> None:
        """Open a device and hand on what it gives, until it ends or we are cancelled; then close it.

        Raises:
            SensorError: It does not answer.
        """
        device = await self.open(open_device)
        try:
            while True:
                try:
                    blocks = await self.do(device.read)
                except EOFError:
                    return
                for block in blocks:
                    await emit(block)
        finally:
            await self.close(device.close)

    async def open(self, open_device: Callable[[], _Closable]) -> _Closable:
        """Open something in the thread; if we are cancelled meanwhile, it is closed there when it is open at last.

        Raises:
            SensorError: An OSError came out of it.
        """
        opened: list[_Closable] = []
        given_up = False

        def work() -> None:
            device = open_device()
            with self._lock:
                if not given_up:
                    opened.append(device)
                    return
            device.close()

        try:
            await self.do(work)
        except BaseException:
            with self._lock:
                given_up = True
            for device in opened:
                await self.close(device.close)
            raise
        return opened[0]


class _Call(Generic[_T]):
    """One call, which runs at most once, and not at all when it was revoked before it began."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self.over = threading.Event()
        self._work = work
        self._lock = threading.Lock()
        self._begun = False

    def run(self) -> _T:
        with self._lock:
            if self._begun:
                raise SensorError("This call was revoked.")  # nobody waits for it any more
            self._begun = True
        try:
            return self._work()
        finally:
            self.over.set()

    def revoke(self) -> None:
        with self._lock:
            if not self._begun:
                self._begun = True
                self.over.set()
