"""Credentials: the files that say who we are at a broker and whom we believe, read at each connection anew."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

from edge_sdk.base.errors import ConfigError
from edge_sdk.mqtt.transport import BrokerAddress, Tls

log = logging.getLogger(__name__)


class Credentials:
    """Password and certificates of one connection, and whether their files have changed since it was made."""

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._read_from = self._state()
        self._refused = self._read_from

    def password(self) -> str | None:
        """The password; None = there is none. Raises ConfigError when its file cannot be read."""
        path = self._address.password_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            raise ConfigError(f"The password file {path} cannot be read: {error}. It holds one line.") from error

    def tls_context(self) -> ssl.SSLContext | None:
        """What checks the broker's certificate and shows ours; None = plain TCP. Raises ConfigError."""
        tls = self._address.tls
        if tls is None:
            return None
        try:
            context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
            if tls.certificate_file is not None:
                context.load_cert_chain(tls.certificate_file, tls.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The TLS files {tls.ca_file}, {tls.certificate_file}, {tls.key_file} cannot be used: {error}."
            ) from error
        return context

    def have_changed(self) -> bool:
        """Whether the files are others than those that were read, and can be used.

        While a certificate and its key are being replaced one after the other they do not fit: then this connection
        is kept.
        """
        state = self._state()
        if state in (self._read_from, self._refused):
            return False
        try:
            self.password()
            self.tls_context()
        except ConfigError as error:
            self._refused = state
            log.warning("new credentials cannot be used", extra={"reason": str(error)})
            return False
        return True

    def _state(self) -> tuple[tuple[str, int, int], ...]:
        return tuple(_stamp(path) for path in self._files())

    def _files(self) -> Iterator[Path]:
        tls = self._address.tls or Tls()
        for path in (self._address.password_file, tls.ca_file, tls.certificate_file, tls.key_file):
            if path is not None:
                yield path


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size
