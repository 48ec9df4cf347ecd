"""``edge-sdk subscribe``: what stations publish, one JSON object a line."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import click
import msgspec
from msgspec import UNSET

from edge_sdk.contract.envelope import ResultMessage
from edge_sdk.contract.events import Birth, Health, StationEvent, Status
from edge_sdk.mqtt.subscriber import KINDS, Event, Quarantined, Subscriber
from edge_sdk.mqtt.transport import Tls


@click.command()
@click.argument("url", default="mqtt://127.0.0.1")
@click.option("--site", metavar="ID", help="Only this site.")
@click.option("--station", metavar="ID", help="Only this station.")
@click.option("--stream", metavar="ID", help="Only results of this stream.")
@click.option("--only", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this kind; may be repeated.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@click.option("--share", metavar="GROUP", help="Divide the messages with the other members of this group.")
@click.option("--client-id", metavar="ID", help="Keep a session: after a restart, go on where it ended.")
@click.option("--repeat", is_flag=True, help="Also show a result that comes again, as after a resend.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on a terminal too; elsewhere they are the default.")
@click.option("--username", metavar="NAME", help="Who we are at the broker.")
@click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), help="File with the password.")
@click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe, for mqtts.")
@click.option("--certificate-file", type=click.Path(path_type=Path, dir_okay=False), help="Our certificate.")
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="Its private key.")
def subscribe(
    url: str,
    site: str | None,
    station: str | None,
    stream: str | None,
    kinds: tuple[str, ...],
    count: int | None,
    share: str | None,
    client_id: str | None,
    repeat: bool,
    as_json: bool,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    certificate_file: Path | None,
    key_file: Path | None,
) -> None:
    """Print what stations publish; into a pipe one JSON object a line: kind, site, station, retained, message.

    URL is mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; without it, mqtt://127.0.0.1.

    \b
    Examples:
      edge-sdk subscribe
      edge-sdk subscribe mqtt://broker.lan --site hall --only result
      edge-sdk subscribe mqtts://broker.lan --ca-file ca.crt --username reader --password-file secret
      edge-sdk subscribe --count 10 --only result | jq -r .message.label
    """  # noqa: D301 (click wants the backspace itself)
    subscriber = Subscriber(
        url,
        site=site,
        station=station,
        stream=stream,
        dedupe=not repeat,
        share=share,
        client_id=client_id,
        tls=Tls(ca_file, certificate_file, key_file),
        username=username,
        password_file=password_file,
    )
    anyio.run(_print, subscriber, frozenset(kinds), count, as_json or not sys.stdout.isatty())


async def _print(subscriber: Subscriber, kinds: frozenset[str], count: int | None, as_json: bool) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_stop_on_signal, group.cancel_scope, name="signals")
        async with subscriber:
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
