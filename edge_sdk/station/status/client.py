"""The client: asks the station of this machine how it does, through its status endpoint."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.config.station import read_station
from edge_sdk.station.status.server import HOST

_PATIENCE_S = 10.0


def port_of(path: Path) -> int:
    """Where the station of that configuration tells its status.

    Raises:
        ConfigError: The file is wrong, or names no port that could be known here.
    """
    status = read_station(path).status
    if status is None:
        raise ConfigError(f"{path} has no status endpoint. Write `status: {{}}` into it, and start the station anew.")
    if status.port == 0:
        raise ConfigError(f"{path}: status.port 0 is another one at each start. Name a port.")
    return status.port


def ask(port: int, *, timeout_s: float = _PATIENCE_S) -> dict[str, Any]:
    """What ``GET /`` answers: `working`, `link`, `birth`, `health`, `vitals`, `outbox`.

    Args:
        port: Where it listens on 127.0.0.1.
        timeout_s: How long it may be silent.

    Raises:
        TransportError: Nobody answers there, or somebody who is no station.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        said = msgspec.json.decode(answer.read(), type=dict[str, Any])
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(f"No station answers on {HOST}:{port} ({error}). Is it running?") from error
    except msgspec.DecodeError as error:
        raise TransportError(f"What answers on {HOST}:{port} is no station: {error}. Check status.port.") from error
    finally:
        connection.close()
    if answer.status != http.client.OK or "working" not in said:
        raise TransportError(f"What answers on {HOST}:{port} is no station, or a broken one: {said}. See its log.")
    return said
