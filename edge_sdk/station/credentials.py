"""Credentials: secrets that systemd hands on, so that root alone needs to read their files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_sdk.config.station import StationConfig

NAMES = ("password_file", "key_file")


def with_credentials(config: StationConfig, directory: str) -> StationConfig:
    """The configuration, its secrets taken from `directory` where they are there.

    Args:
        config: What the file says.
        directory: ``CREDENTIALS_DIRECTORY`` of the environment (systemd.exec(5)); empty = there is none.
    """
    if not directory:
        return config
    found = {name: Path(directory) / f"broker.{name}" for name in NAMES}
    given = {name: path for name, path in found.items() if path.exists()}
    return msgspec.structs.replace(config, broker=msgspec.structs.replace(config.broker, **given))
