"""The client: asks the station of this machine how it does, through its status endpoint."""

from __future__ import annotations

import http.client
from typing import Any

import msgspec

from edge_sdk.base.errors import TransportError
from edge_sdk.station.status.server import HOST

_PATIENCE_S = 10.0


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
        raise TransportError(
            f"No station answers on {HOST}:{port} ({error}). Is it running, with `status: {{}}` in its configuration?"
        ) from error
    except msgspec.DecodeError as error:
        raise TransportError(f"What answers on {HOST}:{port} is no station: {error}. Check status.port.") from error
    finally:
        connection.close()
    if answer.status != http.client.OK or "working" not in said:
        raise TransportError(f"What answers on {HOST}:{port} is no station, or a broken one: {said}. See its log.")
    return said
