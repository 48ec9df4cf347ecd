"""The draft: a commented ``station.yaml`` from a few answers; text, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge_sdk.base import plugins
from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.base.ids import check_id
from edge_sdk.base.yaml import parse_yaml
from edge_sdk.config.schema import FILE as SCHEMA_FILE
from edge_sdk.config.station import StationConfig
from edge_sdk.contract.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Answers:
    """What `station init` asks.

    Attributes:
        site: The site's id.
        station: The station's id.
        broker: URL of the broker.
        username: Who we are there; empty = anonymous.
        password_file: File with the password; empty = none.
        ca_file: Certificates to believe; empty = the system's.
        delivery: Whose word lets a result leave the station.
        state_directory: Where the outbox lives.
        keys: Public key files whose bundles are accepted; none = unsigned ones are, too.
        bundles: Manifest of each bundle, by path.
        sensors: Kind of plug-in, by sensor name; what is not named is simulated.
        status_port: Port of the status endpoint on 127.0.0.1; 0 = none.
    """

    site: str
    station: str
    broker: str = "mqtt://127.0.0.1:1883"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    delivery: str = "monitor"
    state_directory: str = "/var/lib/edge-sdk"
    keys: Sequence[str] = ()
    bundles: Mapping[str, Manifest] = field(default_factory=dict)
    sensors: Mapping[str, str] = field(default_factory=dict)
    status_port: int = 9120


def draft(answers: Answers, *, path: Path, with_schema: bool = True) -> str:
    """The file's text; it is read back before it is given.

    Args:
        answers: What was said.
        path: Where the file will be: named in errors.
        with_schema: Name the schema beside it, for editors.

    Raises:
        ConfigError: The answers make no configuration.
    """
    check_id("site", answers.site)
    check_id("station", answers.station)
    wanted = {manifest.sensor for manifest in answers.bundles.values()}
    if wanted and (odd := sorted(answers.sensors.keys() - wanted)):
        raise ConfigError(f"No bundle reads a sensor {odd[0]!r}. {nearest(odd[0], wanted)}")
    lines = [
        *_head(answers, with_schema),
        *_broker(answers),
        *_trust(answers),
        *_sensors(answers),
        *_streams(answers),
        *_rest(answers),
    ]
    text = "\n".join(lines) + "\n"
    parse_yaml(text, StationConfig, source=str(path))
    return text


def _head(answers: Answers, with_schema: bool) -> Iterator[str]:
    if with_schema:
        yield f"# yaml-language-server: $schema={SCHEMA_FILE}"
    yield "# Try it:  edge-sdk station check station.yaml"
    yield f"site: {_scalar(answers.site)}"
    yield f"station: {_scalar(answers.station)}"
    yield f"state_directory: {_scalar(answers.state_directory)}  # the outbox; on a disk or card, not in memory"
    yield "# location: {latitude: 47.37, longitude: 8.54}"
    yield "health_every_s: 10"


def _broker(answers: Answers) -> Iterator[str]:
    yield ""
    yield "broker:"
    yield f"  url: {_scalar(answers.broker)}  # mqtts:// encrypts"
    if answers.username:
        yield f"  username: {_scalar(answers.username)}"
        password = _scalar(answers.password_file) if answers.password_file else "password"
        yield f"  {'' if answers.password_file else '# '}password_file: {password}  # one line; chmod 600"
    else:
        yield "  # username: NAME"
        yield "  # password_file: password  # one line; chmod 600"
    yield f"  {'' if answers.ca_file else '# '}ca_file: {_scalar(answers.ca_file or 'ca.crt')}"
    yield f"  delivery: {answers.delivery}  # monitor: kept until it has stored them; broker: until that has them"
    yield "  # home_assistant: true"


def _trust(answers: Answers) -> Iterator[str]:
    yield ""
    yield "trust:"
    if answers.keys:
        yield f"  keys: [{', '.join(map(_scalar, answers.keys))}]  # whose bundles are accepted"
    else:
        yield "  allow_unsigned: true  # for a workshop; on a roof name keys instead: keys: [release.pub]"


def _sensors(answers: Answers) -> Iterator[str]:
    yield ""
    yield "sensors:"
    needed = {manifest.sensor: manifest for manifest in answers.bundles.values()}
    for name in [*needed, *(name for name in answers.sensors if name not in needed)]:
        kind = answers.sensors.get(name, "simulated")
        manifest = needed.get(name)
        channels = ", ".join(f"{one.name} {one.unit}".strip() for one in manifest.channels) if manifest else ""
        yield f"  {name}:" + (f"  # {channels}" if channels else "")
        yield f"    kind: {kind}" + ("  # simulated until you name the real one" if kind == "simulated" else "")
        if kind == "simulated" and manifest is not None:
            yield f"    options: {{rate_hz: {manifest.windowing.rate_hz:g}, channels: {len(manifest.channels)}}}"
        elif kind != "simulated":
            yield from _options(kind)
    if not needed and not answers.sensors:
        yield "  light:"
        yield "    kind: simulated"
        yield "    options: {rate_hz: 1, channels: 1}"


def _options(kind: str) -> Iterator[str]:
    """What a kind of sensor must be told, and may be told."""
    options = plugins.load("edge_sdk.sensors", kind).Options
    properties = msgspec.json.schema(options, schema_hook=lambda _: {"type": "string"})
    described = next(iter(properties["$defs"].values()))
    required = described.get("required", [])
    yield "    options:" if required else "    options: {}"
    for name, about in described["properties"].items():
        says = about.get("description", "").replace("\n", " ")
        if name in required:
            yield f"      {name}:  # must be given. {says}"
        else:
            default = msgspec.json.encode(about.get("default")).decode()
            yield f"      # {name}: {default}  # {says}"


def _streams(answers: Answers) -> Iterator[str]:
    yield ""
    yield "streams:"
    if not answers.bundles:
        yield "  level:"
        yield "    models:"
        yield "      - bundle: light.edge  # made by `edge-sdk convert`"
        yield "        sensor: light"
        return
    groups: dict[tuple[object, ...], list[tuple[str, Manifest]]] = {}
    for path, manifest in answers.bundles.items():
        groups.setdefault((manifest.task, manifest.labels, manifest.unit), []).append((path, manifest))
    for number, group in enumerate(groups.values(), start=1):
        first = group[0][1]
        says = ", ".join(first.labels) if first.labels else first.unit
        yield f"  stream{number}:  # {says}"
        yield "    models:"
        for path, manifest in group:
            yield f"      - bundle: {_scalar(path)}"
            yield f"        sensor: {manifest.sensor}"
        if len(group) > 1:
            yield "    fusion: {method: log_opinion_pool}" if first.labels else "    fusion: {method: trimmed_mean}"


def _rest(answers: Answers) -> Iterator[str]:
    yield ""
    yield "outbox:"
    yield "  quota_mb: 256"
    yield "  on_full: drop_oldest"
    yield ""
    if answers.status_port:
        yield "status:"
        yield f"  port: {answers.status_port}  # http://127.0.0.1:{answers.status_port}/metrics"
    else:
        yield "# status: {port: 9120}  # numbers for Prometheus on 127.0.0.1"
    yield ""
    yield "# remote: {allow: [ping, rebirth, snapshot]}  # commands over MQTT; what is not named here is refused"


def _scalar(text: str) -> str:
    """A word as YAML, in quotes where it needs them."""
    return msgspec.yaml.encode(text).decode().removesuffix("\n...\n").strip()
