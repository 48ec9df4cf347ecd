"""``edge-sdk subscribe``: what stations publish, one JSON object a line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edge_sdk.mqtt.transport import MqttVersion

KINDS = ("result", "birth", "status", "health", "event", "quarantined")


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
@click.option("--mqtt-version", type=click.Choice(["5", "3.1.1"]), default="5", help="That the broker speaks.")
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
    mqtt_version: MqttVersion,
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
    """
    import anyio

    from edge_sdk.mqtt.lines import print_events
    from edge_sdk.mqtt.subscriber import Subscriber
    from edge_sdk.mqtt.transport import Tls

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
        mqtt_version=mqtt_version,
    )
    anyio.run(print_events, subscriber, frozenset(kinds), count, as_json or not sys.stdout.isatty())
