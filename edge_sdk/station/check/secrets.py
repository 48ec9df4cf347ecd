"""Files with secrets, and what travels in the clear."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import StationConfig
from edge_sdk.contract.trust import PublicKey
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.station.check.finding import Finding, bad, failed, note, well

_CONFIG = 78
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def check(config: StationConfig) -> Iterator[Finding]:
    """Keys, passwords, and whether anybody may read them."""
    yield from _keys(config)
    for what, path in (("password_file", config.broker.password_file), ("key_file", config.broker.key_file)):
        if path is not None:
            yield _secret(f"broker.{what}", path)
    yield from _in_the_clear(config)


def _keys(config: StationConfig) -> Iterator[Finding]:
    for path in config.trust.keys:
        try:
            yield well(f"key {path.name}", f"key {PublicKey.read(path).key_id} is trusted")
        except EdgeError as error:
            yield failed(f"key {path.name}", error)
    if config.trust.allow_unsigned:
        yield note(
            "trust",
            "bundles of anybody are accepted (allow_unsigned)",
            "Sign the bundles, name the key under `trust: keys:`, and remove allow_unsigned.",
        )
    elif not config.trust.keys:
        yield bad(
            "trust",
            "no key is trusted, so no bundle will be opened",
            "Name the .pub file of whoever signs under `trust: keys:`; `edge-sdk keys new` makes a pair.",
            exit_code=_CONFIG,
        )


def _secret(what: str, path: Path) -> Finding:
    try:
        text, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        return bad(
            what,
            f"{path} cannot be read: {error.strerror}",
            "Check the path, and that the service's user may read it; or, where systemd hands it on (LoadCredential), "
            "check with sudo.",
            exit_code=_CONFIG,
        )
    if not text.strip():
        return bad(what, f"{path} is empty", "It holds the secret, on one line.", exit_code=_CONFIG)
    if stat.S_IMODE(mode) & 0o007:
        return note(what, f"{path} can be read by everybody on this machine", f"Run: chmod o-rwx {path}")
    return well(what, f"{path} can be read by its owner{' and group' if mode & 0o040 else ''}")


def _in_the_clear(config: StationConfig) -> Iterator[Finding]:
    try:
        address = BrokerAddress.parse(config.broker.url)
    except EdgeError:  # told with the broker
        return
    if address.tls is None and config.broker.ca_file is not None:
        yield bad(
            "broker.ca_file",
            f"a CA is named, and {config.broker.url} is not encrypted",
            "Write mqtts:// in broker.url, or remove ca_file.",
            exit_code=_CONFIG,
        )
    elif address.tls is None and config.broker.username is not None and address.host not in _LOOPBACK:
        yield note(
            "broker.url",
            "the password travels in the clear",
            "Write mqtts:// where the broker can (docs/how-to/secure-the-broker.md).",
        )
