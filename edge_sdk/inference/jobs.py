"""Jobs: what a station and a delegate's own process say to each other, over a pair of sockets."""

from __future__ import annotations

import os
import select
import socket
import struct
import time

import msgspec

from edge_sdk.base import errors
from edge_sdk.base.errors import BackendUnavailableError, EdgeError, TensorMismatchError, UnavailableReason
from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.inference.base import BackendRequest

_HEADER = struct.Struct(">QB")  # bytes that follow, and whether they lie in a file that is handed over
_PIECE = 1 << 18


class Open(msgspec.Struct, frozen=True, kw_only=True, tag="open"):
    """Open a model, and answer the recorded inputs.

    Attributes:
        runtime: Plug-in of ``edge_sdk.backends``.
        variant: What it is.
        request: How it is to be run.
        model: The file.
        checks: Recorded inputs, float32, each in the shape of the first input.
    """

    runtime: str
    variant: Variant
    request: BackendRequest
    model: bytes
    checks: tuple[bytes, ...] = ()


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """The model is open.

    Attributes:
        handle: Its number in this process.
        version: The runtime's.
        coverage: What each delegate took.
        answers: First output of each recorded input, float32.
        slowest_s: The longest of those calls but for the first, seconds.
    """

    handle: int
    version: str
    coverage: tuple[Coverage, ...]
    answers: tuple[bytes, ...]
    slowest_s: float


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Run a model once on float32 inputs."""

    handle: int
    inputs: tuple[bytes, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """Its float32 outputs."""

    outputs: tuple[bytes, ...]


class Close(msgspec.Struct, frozen=True, kw_only=True, tag="close"):
    """Let go of a model; nothing is answered."""

    handle: int


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """An error of ours, as it was there.

    Attributes:
        kind: Name of its class in the error tree.
        parts: What its constructor takes.
    """

    kind: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, error: EdgeError) -> Failed:
        """Write an error down."""
        if isinstance(error, BackendUnavailableError):
            return cls(kind="BackendUnavailableError", parts=(error.what, error.reason.value, error.cure))
        if isinstance(error, TensorMismatchError):
            return cls(kind="TensorMismatchError", parts=(error.name, error.want, error.got))
        kind = type(error).__name__
        simple = kind in {"BundleFormatError", "InferenceError", "PluginError"}
        return cls(kind=kind if simple else "BackendError", parts=(str(error),))

    def error(self) -> EdgeError:
        """The error again."""
        if self.kind == "BackendUnavailableError":
            what, reason, cure = self.parts
            return BackendUnavailableError(what, reason=UnavailableReason(reason), cure=cure)
        if self.kind == "TensorMismatchError":
            name, want, got = self.parts
            return TensorMismatchError(name, want=want, got=got)
        kind: type[EdgeError] = getattr(errors, self.kind)
        return kind(*self.parts)


Message = Open | Opened | Run | Answer | Close | Failed
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_ENCODER = msgspec.msgpack.Encoder()


class Wire:
    """One end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end, self._buffer, self._files = end, bytearray(), []  # type: tuple[socket.socket, bytearray, list[int]]

    def send(self, message: Message, *, timeout_s: float, as_file: bool = False) -> None:
        """Send a message.

        Args:
            message: What to say.
            timeout_s: How long the other end may take to read it.
            as_file: Hand it over in a file in memory: does not wait for the other end, whatever its size.

        Raises:
            TimeoutError: The other end does not read.
            OSError: The other end is gone.
        """
        content = _ENCODER.encode(message)
        if not as_file:
            self._write(_HEADER.pack(len(content), 0) + content, time.monotonic() + timeout_s)
            return
        file = os.memfd_create("job")
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(content)
            socket.send_fds(self._end, [_HEADER.pack(len(content), 1)], [file])
        finally:
            os.close(file)

    def receive(self, timeout_s: float | None) -> Message | None:
        """The next message; None when it is not here in time, and then it is not lost either.

        Raises:
            EOFError: The other end is gone.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (message := self._complete()) is None:
            if not self._wait(select.POLLIN, deadline):
                return None
            try:
                piece, files, *_ = socket.recv_fds(self._end, _PIECE, 4)
            except ConnectionError as error:
                raise EOFError("the other end is gone") from error
            if not piece:
                raise EOFError("the other end is gone")
            self._buffer += piece
            self._files += files
        return message

    def close(self) -> None:
        """Hang up."""
        self._end.close()
        for file in self._files:
            os.close(file)
        self._files = []

    def _complete(self) -> Message | None:
        if len(self._buffer) < _HEADER.size:
            return None
        size, in_file = _HEADER.unpack_from(self._buffer)
        if in_file:
            del self._buffer[: _HEADER.size]
            file = self._files.pop(0)
            os.lseek(file, 0, os.SEEK_SET)
            with os.fdopen(file, "rb") as reader:
                return _DECODER.decode(reader.read())
        if len(self._buffer) < _HEADER.size + size:
            return None
        content = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
        del self._buffer[: _HEADER.size + size]
        return _DECODER.decode(content)

    def _write(self, content: bytes, deadline: float) -> None:
        left = memoryview(content)
        while left:
            try:
                left = left[self._end.send(left) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, deadline):
                    raise TimeoutError("the other end does not read") from None

    def _wait(self, events: int, deadline: float | None) -> bool:
        poll = select.poll()
        poll.register(self._end, events)
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1e3
        return bool(poll.poll(left_ms))
