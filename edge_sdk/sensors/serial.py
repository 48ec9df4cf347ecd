"""Serial ports, by pyserial."""

from __future__ import annotations

import serial

_WAIT_S = 0.4
_AT_MOST = 65_536


class SerialPort:
    """An open serial port, or a socket that a serial server offers; nobody else may open it meanwhile.

    Args:
        url: A device, or a URL that pyserial knows: ``socket://HOST:PORT``, ``rfc2217://HOST:PORT``.
        baud: Bits a second.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, url: str, baud: int) -> None:
        try:
            self._port = serial.serial_for_url(url, baudrate=baud, timeout=_WAIT_S, do_not_open=True)
            if "://" not in url:
                self._port.exclusive = True
            self._port.open()
        except ValueError as error:
            raise OSError(f"{url} cannot be opened at {baud} baud: {error}") from error

    def read(self) -> bytes:
        """Wait for something, for no longer than 0.4 s; give all that is there. Raises OSError when it is gone."""
        came = bytearray(self._port.read(1))
        while came and len(came) < _AT_MOST and (waiting := self._port.in_waiting):
            came += self._port.read(waiting)
        return bytes(came)

    def close(self) -> None:
        """Let go."""
        self._port.close()
