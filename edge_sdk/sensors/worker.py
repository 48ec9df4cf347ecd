"""The worker: what blocks is done in a thread, one call at a time, and never holds the event loop or the others."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
import anyio.lowlevel

from edge_sdk.base.errors import EdgeError, SensorError
from edge_sdk.contract.reading import Reading
from edge_sdk.sensors.base import Emit

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_IDLE_S = 10.0


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
    """Does blocking calls of one sensor in a thread of its own, one at a time.

    The threads of the process (anyio's) are left to the others: forty slow sensors would take them all, and the outbox
    would wait. And a call that hangs for ever, as on a dead bus, must not keep the process from ending: the thread is
    a daemon, and is left behind with what it has open, since closing a file descriptor under a thread that reads it
    could let it read another file.

    Args:
        name: The sensor's name, for errors.
        patience_s: How long a call may go on after the sensor was cancelled.
    """

    def __init__(self, name: str, *, patience_s: float = 2.0) -> None:
        self._name, self._patience_s = name, patience_s
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._call: _Call[Any] | None = None

    async def do(self, work: Callable[[], _T]) -> _T:
        """Call it in the thread and wait for it.

        Raises:
            SensorError: An OSError came out of it.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._call = call = _Call(work, asyncio.get_running_loop())
        self._submit(call)
        try:
            await call.over.wait()
        finally:
            call.revoke()
        try:
            return call.answer()
        except OSError as error:
            if isinstance(error, EdgeError):
                raise
            raise SensorError(f"Sensor {self._name!r}: {error}. Check cable, power and permissions.") from error

    async def close(self, close: Callable[[], None] = lambda: None) -> None:
        """Close what was opened and end the thread, even while being cancelled, unless a call still hangs."""
        last = self._call
        with anyio.move_on_after(self._patience_s, shield=True):
            if last is not None:
                await last.over.wait()
            await self.do(close)
            self._calls.put(None)
            return
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
            self._calls.put(None)
            raise
        return opened[0]

    def _submit(self, call: _Call[Any]) -> None:
        with self._lock:
            self._calls.put(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"sensor {self._name}", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """In the thread: call after call, until it is told to end or has nothing to do."""
        while True:
            try:
                call = self._calls.get(timeout=_IDLE_S)
            except queue.Empty:
                call = None
            if call is not None:
                call.run()
                continue
            with self._lock:
                if self._calls.empty():
                    self._thread = None
                    return


class _Call(Generic[_T]):
    """One call, which runs at most once, and not at all when it was revoked before it began.

    Attributes:
        over: Set, on the event loop, when it has run or never will.
    """

    def __init__(self, work: Callable[[], _T], loop: asyncio.AbstractEventLoop) -> None:
        self.over = anyio.Event()
        self._work, self._loop = work, loop
        self._lock = threading.Lock()
        self._begun = False
        self._given: _T | None = None
        self._raised: BaseException | None = None

    def run(self) -> None:
        """Run it, in the thread."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
        try:
            self._given = self._work()
        except BaseException as error:  # noqa: BLE001 (given to whoever waits for it)
            self._raised = error
        try:
            self._loop.call_soon_threadsafe(self.over.set)
        except RuntimeError:  # the event loop has ended: nobody waits any more
            return

    def revoke(self) -> None:
        """Let it not begin any more."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self.over.set()

    def answer(self) -> _T:
        """What came out of it, once it is over."""
        if self._raised is not None:
            raise self._raised
        return cast("_T", self._given)
