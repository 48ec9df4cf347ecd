"""The interview: answers for a configuration, from options and from a person."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from edge_sdk.base import plugins
from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.config import schema
from edge_sdk.contract.bundle import read_bundle
from edge_sdk.contract.manifest import Manifest
from edge_sdk.contract.trust import Trust
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.station.setup.draft import Answers, draft

_NOT_IN_AN_ID = re.compile("[^A-Za-z0-9_-]+")


def interview(given: Mapping[str, Any], *, asks: bool, beside: Path) -> Answers:
    """Answers from options; where one is missing, from a person, or the default.

    Args:
        given: Options by name; None or empty = not given.
        asks: Whether there is a person to ask.
        beside: Directory of the configuration: paths are written relative to it.

    Raises:
        ConfigError: An answer cannot be.
        BundleError: A bundle cannot be opened.
    """

    def ask(name: str, question: str, default: str) -> str:
        if given.get(name) is not None:
            return str(given[name])
        return str(click.prompt(question, default=default)) if asks else default

    site = ask("site", "Site, where several stations stand", "home")
    station = ask("name", "Station, its name there", _host_id())
    broker = ask("broker", "MQTT broker", "mqtt://127.0.0.1:1883")
    BrokerAddress.parse(broker)
    username = ask("username", "User name at the broker (empty = anonymous)", "")
    password_file = given.get("password_file") or ""
    if username and not password_file:
        password_file = ask("password_file", "File with the password", "password")
    paths = given.get("bundles") or ()
    if not paths and asks:
        said = click.prompt("Bundles (.edge files, separated by spaces; empty = later)", default="", show_default=False)
        paths = tuple(str(said).split())
    bundles = {_relative(path, beside): _manifest(path) for path in paths}
    return Answers(
        site=site,
        station=station,
        broker=broker,
        username=username,
        password_file=_relative(password_file, beside),
        ca_file=_relative(given.get("ca_file") or "", beside),
        delivery=ask("delivery", "Is there a monitor? 'monitor' waits for its receipts, 'broker' does not", "monitor"),
        state_directory=ask("state_directory", "Where the outbox lives", "/var/lib/edge-sdk"),
        keys=tuple(_relative(path, beside) for path in given.get("keys") or ()),
        bundles=bundles,
        sensors=_sensors(given.get("sensors") or (), bundles, asks=asks),
        status_port=int(ask("status_port", "Port of the status endpoint on 127.0.0.1 (0 = none)", "9120")),
    )


def write(answers: Answers, path: Path, *, with_schema: bool, force: bool) -> Iterator[Path]:
    """Write the configuration, and the schema beside it.

    Raises:
        ConfigError: It is there already, or cannot be written.
    """
    text = draft(answers, path=path, with_schema=with_schema)
    files = {path: text}
    if with_schema:
        files[path.with_name(schema.FILE)] = schema.text()
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already. Give another path, or replace it with --force.")
    for file, content in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error.strerror}. Choose a directory of yours.") from error
        yield file


def _sensors(given: tuple[str, ...], bundles: Mapping[str, Manifest], *, asks: bool) -> dict[str, str]:
    known = plugins.found("edge_sdk.sensors")
    chosen = {}
    for pair in given:
        name, equals, kind = pair.partition("=")
        if not equals:
            raise ConfigError(f"--sensor {pair!r} names no kind. Write NAME=KIND, such as light=iio.")
        chosen[name] = kind
    for name in dict.fromkeys(manifest.sensor for manifest in bundles.values()):
        if name not in chosen and asks:
            question = f"What measures {name}? One of {', '.join(known)}"
            chosen[name] = click.prompt(question, default="simulated")
    for name, kind in chosen.items():
        if kind not in known:
            raise ConfigError(f"Sensor {name}: {kind!r} is not among the sensors. {nearest(kind, known)}")
    return chosen


def _manifest(path: str) -> Manifest:
    """What a bundle says of itself; whose signature it bears is the station's business."""
    return read_bundle(Path(path), Trust(allow_unsigned=True)).manifest


def _relative(path: str, beside: Path) -> str:
    """As it is written into the configuration: what is here, seen from there."""
    if Path(path).is_absolute() or not Path(path).is_file():
        return path
    return os.path.relpath(path, beside)


def _host_id() -> str:
    return _NOT_IN_AN_ID.sub("-", socket.gethostname().partition(".")[0])[:64].strip("-") or "station-1"
