"""``station check``: everything short of starting, each finding with its remedy."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio

from edge_sdk.base.clock import ClockState, SystemClock
from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import ModelConfig, StationConfig, StreamConfig, read_station
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.station.assembly import Assembly, broker_address

_LEAST_FREE_BYTES = 64_000_000
_BROKER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: What was tried.
        ok: Whether it is well.
        detail: What was found; when not well, what to do.
        must: Whether the station cannot work without it.
    """

    what: str
    ok: bool
    detail: str
    must: bool = True


def check_station(path: Path, *, broker: bool = True) -> Iterator[Finding]:
    """Try everything that `station run` will need; findings come as they are made, nothing is raised."""
    try:
        config = read_station(path)
    except EdgeError as error:
        yield Finding("configuration", False, str(error))
        return
    yield Finding("configuration", True, f"{config.site}/{config.station}")
    assembly = Assembly(config, path, clock=SystemClock())
    yield from _sensors(assembly)
    yield from _streams(assembly)
    yield _disk(config.state_directory)
    yield _clock()
    if broker:
        yield from _broker(config)


def _try(what: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, attempt())
    except EdgeError as error:
        return Finding(what, False, str(error))


def _sensors(assembly: Assembly) -> Iterator[Finding]:
    for name in assembly.config.sensors:
        finding = _try(f"sensor {name}", lambda name=name: ", ".join(assembly.sensor(name).channels))  # type: ignore[misc]
        yield Finding(finding.what, finding.ok, f"channels {finding.detail}") if finding.ok else finding


def _streams(assembly: Assembly) -> Iterator[Finding]:
    for stream, settings in assembly.config.streams.items():
        models = [
            _try(f"model {model.bundle.name}", lambda model=model: _model(assembly, model))  # type: ignore[misc]
            for model in settings.models
        ]
        yield from models
        if all(finding.ok for finding in models):
            yield _try(f"stream {stream}", lambda: _stream(assembly, stream, settings))  # noqa: B023


def _model(assembly: Assembly, settings: ModelConfig) -> str:
    model = assembly.model(settings)
    try:
        used, worst = model.in_use(), model.check()
        fallback = f"; FALLBACK, asked for {used.fallback}" if used.fallback else ""
        delegates = ", ".join(used.delegates) or "no delegate"
        return f"{used.variant} on {used.runtime}, {delegates}, recorded answers within {worst:.2g}{fallback}"
    finally:
        model.close()


def _stream(assembly: Assembly, stream: str, settings: StreamConfig) -> str:
    pipeline = assembly.pipeline(stream, settings)
    for model in pipeline.models:
        model.close()
    how = settings.fusion.file.name if settings.fusion.file else settings.fusion.method
    return f"{how} of {', '.join(model.name for model in pipeline.models)}"


def _disk(directory: Path) -> Finding:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".write-probe"
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        return Finding("disk", False, f"{directory} cannot be written: {error.strerror}. Name another state_directory.")
    free = shutil.disk_usage(directory).free
    if free < _LEAST_FREE_BYTES:
        return Finding("disk", False, f"{directory} has {free / 1e6:.0f} MB free; make room for the outbox.")
    return Finding("disk", True, f"{directory}, {free / 1e6:.0f} MB free")


def _clock() -> Finding:
    if SystemClock().state() is ClockState.SYNCED:
        return Finding("clock", True, "synchronised", must=False)
    advice = "not set by a time source, results will say so; install chrony or systemd-timesyncd"
    return Finding("clock", False, advice, must=False)


def _broker(config: StationConfig) -> Iterator[Finding]:
    try:
        address = broker_address(config.broker)
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except EdgeError as error:
        yield Finding("broker", False, str(error))
        return
    except OSError as error:
        advice = f"{config.broker.url}: the name is not known ({error}). Check broker.url and the network's DNS."
        yield Finding("broker name", False, advice)
        return
    yield Finding("broker name", True, f"{address.host} is {found[0][4][0]}")
    try:
        socket.create_connection((address.host, address.port), timeout=_BROKER_TIMEOUT_S).close()
    except OSError as error:
        advice = f"{address.host}:{address.port}: {error}. Is the broker running, and does a firewall let us through?"
        yield Finding("broker TCP", False, advice)
        return
    yield Finding("broker TCP", True, f"{address.host}:{address.port} answers")
    yield _try("broker MQTT", lambda: anyio.run(_connect, address, f"check-{config.station}"))


async def _connect(address: BrokerAddress, client_id: str) -> str:
    with anyio.fail_after(_BROKER_TIMEOUT_S):
        async with PahoTransport(address, client_id=client_id):
            return "accepts us" + (" over TLS" if address.tls else "")
