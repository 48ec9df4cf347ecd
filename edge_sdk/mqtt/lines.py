"""Events as lines: for people on a terminal, as JSON for programs."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import Any

import anyio
import anyio.abc
import click
import msgspec
from msgspec import UNSET

from edge_sdk.contract.envelope import ResultMessage
from edge_sdk.contract.events import Birth, Health, StationEvent, Status
from edge_sdk.mqtt.event import Event, Quarantined
from edge_sdk.mqtt.subscriber import Subscriber


async def print_events(subscriber: Subscriber, kinds: frozenset[str], count: int | None, as_json: bool) -> None:
    """Print events until told to stop, or until `count` lines are printed.

    Args:
        subscriber: Where they come from; not opened yet.
        kinds: Only these; empty = all.
        count: End after so many lines; None = never.
        as_json: One JSON object a line.

    Raises:
        TransportError: The broker cannot be reached the first time.
    """
    # Opened outside of the group: a broker that cannot be reached is then one error, not a group of one.
    async with subscriber, anyio.create_task_group() as group:
        group.start_soon(_stop_on_signal, group.cancel_scope, name="signals")
        left = count
        async for event in subscriber:
            if kinds and event.kind not in kinds:
                continue
            click.echo(_json(event) if as_json else _text(event))
            left = None if left is None else left - 1
            if left == 0:
                break
        group.cancel_scope.cancel()


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def _json(event: Event) -> bytes:
    said: Any = asdict(event.message) if isinstance(event.message, Quarantined) else event.message
    line = {
        "kind": event.kind,
        "site": event.site,
        "station": event.station,
        "retained": event.retained,
        "message": said,
    }
    return msgspec.json.encode(line)


def _text(event: Event) -> str:
    said = event.message
    if isinstance(said, ResultMessage):
        answer = f"{said.label} {said.confidence:.2f}" if said.label is not UNSET else f"{said.value} {said.unit or ''}"
        marks = " ".join(("degraded",) * said.degraded + ("backlog",) * said.backlog + said.flags)
        words = f"{said.t:%H:%M:%S.%f}"[:-3] + f"  {said.stream}  #{said.seq}  {answer}  {marks}"
    elif isinstance(said, Status):
        words = said.state.value
    elif isinstance(said, Birth):
        words = f"version {said.version} on {said.board}, streams {', '.join(said.streams)}"
    elif isinstance(said, Health):
        words = f"{said.outbox_rows} results wait, {said.outbox_bytes} bytes"
    elif isinstance(said, StationEvent):
        words = f"{said.severity.value}: {said.message}"
    else:
        words = f"{said.topic}: {said.detail}"
    return f"{event.site}/{event.station}  {event.kind}  {words}".rstrip()
