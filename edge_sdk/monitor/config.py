"""The monitor's configuration: a strict YAML file; every field has a default that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.base.ids import check_id
from edge_sdk.monitor.alerts.rules import Rule
from edge_sdk.monitor.store.base import Limits
from edge_sdk.monitor.store.database import is_url

QuickVerb = Literal["ping", "rebirth", "snapshot", "log-level", "pause"]
"""What the page may command; changes of configuration and bundles are for `edge-sdk remote`."""


class BrokerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is and who we are there.

    Attributes:
        url: ``mqtt://HOST[:PORT]``, or ``mqtts://…`` for TLS.
        username: None = anonymous.
        password_file: File that holds the password, one line.
        ca_file: Whom to believe; None = the system's store.
        certificate_file: Our certificate, for mutual TLS.
        key_file: Its private key.
        client_id: Our name at the broker: under it the broker keeps what comes while we are away.
        session_expiry_s: How long the broker keeps it.
        fallback_urls: Brokers to try in order when it is away; they pass messages on to it.
        mqtt_version: ``5``, or ``3.1.1`` for a broker that knows no newer one.
    """

    url: str = "mqtt://127.0.0.1:1883"
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_id: str = "edge-monitor"
    session_expiry_s: int = 86_400
    fallback_urls: tuple[str, ...] = ()
    mqtt_version: Literal["5", "3.1.1"] = "5"


class IngestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How messages are taken in.

    Attributes:
        max_payload_bytes: Longer messages go to the quarantine unread.
        receipt_interval_s: Receipts of one station are at least this far apart.
        receipts_per_s: Bound on the receipts of all stations together.
        share: Name of the group of workers that divide the messages between them, by MQTT 5 shared subscriptions;
            empty = this monitor takes in everything alone. Needs `database`.
    """

    max_payload_bytes: int = 1 << 20
    receipt_interval_s: float = 0.05
    receipts_per_s: int = 2000
    share: str = ""

    def __post_init__(self) -> None:
        if not (self.max_payload_bytes >= 1024 and self.receipt_interval_s > 0 and self.receipts_per_s >= 1):
            raise ValueError(
                "Wanted are max_payload_bytes of at least 1024, and receipt_interval_s and receipts_per_s above 0"
            )
        if self.share:
            check_id("share", self.share)


class WebConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The web page.

    Attributes:
        enabled: False = ingest alone.
        listen: ``HOST:PORT``; port 0 takes a free one.
        certificate_file: Serve by TLS with this certificate; without it by plain HTTP, for a proxy or for loopback.
        key_file: Its private key.
        accounts: The file with users and API keys; None = the store's name with ``.accounts`` behind it.
        silent_after_s: A station that should be online and said nothing for so long is shown as silent.
        requests_per_s: A user, a key or an address may ask the API so often in the long run; 0 = no bound.
        commands: What operators may command stations from the page; each station must allow it too. Empty = nothing.
    """

    enabled: bool = True
    listen: str = "127.0.0.1:8080"
    certificate_file: Path | None = None
    key_file: Path | None = None
    accounts: Path | None = None
    silent_after_s: float = 90.0
    requests_per_s: float = 100.0
    commands: tuple[QuickVerb, ...] = ("ping", "rebirth", "snapshot", "log-level", "pause")

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("Wanted are certificate_file and key_file together, or neither")


class AlertsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is worth telling somebody, and whom.

    Attributes:
        rules: See `Rule`.
        sinks: By name; each has a `kind` (``webhook``, ``ntfy``, ``email``, ``mqtt``) and that kind's fields.
        interval_s: How often the fleet is judged.
        survey_interval_s: How often rules of drift and disagreement look back over hours and days.
    """

    rules: tuple[Rule, ...] = ()
    sinks: dict[str, dict[str, Any]] = {}
    interval_s: float = 1.0
    survey_interval_s: float = 60.0

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("Two rules have the same name")
        for rule in self.rules:
            for sink in rule.sinks:
                if sink not in self.sinks:
                    raise ValueError(f"Rule {rule.name!r} names sink {sink!r}. {nearest(sink, self.sinks)}")
        for name, sink_options in self.sinks.items():
            if not isinstance(sink_options.get("kind"), str):
                raise ValueError(f"Sink {name!r} has no kind. Known: email, mqtt, ntfy, webhook")


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers for an OpenTelemetry collector; those for Prometheus are at ``/metrics`` always.

    Attributes:
        otlp: The collector, ``http://HOST:4318``; empty = none.
        interval_s: How often they are sent.
    """

    otlp: str = ""
    interval_s: float = 60.0

    def __post_init__(self) -> None:
        if self.otlp and not self.otlp.startswith(("http://", "https://")):
            raise ValueError(f"otlp is {self.otlp!r}; wanted is http:// or https://")
        if self.interval_s <= 0:
            raise ValueError(f"interval_s is {self.interval_s}, wanted is above 0")


class MonitorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``monitor.yaml``.

    Attributes:
        store: The SQLite file; relative to this file. Accounts and alerts lie beside it.
        database: ``postgresql://USER@HOST/NAME``: keep results there instead. Accounts and alerts stay beside `store`.
        database_password_file: File that holds the user's password there, one line; None = none, or libpq's own ways.
        broker: Where results come from.
        ingest: How they are taken in.
        web: The web page.
        alerts: What is worth telling somebody, and whom.
        retention: How long things are kept.
        telemetry: Numbers for an OpenTelemetry collector.
    """

    store: Path = Path("monitor.db")
    database: str = ""
    database_password_file: Path | None = None
    broker: BrokerConfig = BrokerConfig()
    ingest: IngestConfig = IngestConfig()
    web: WebConfig = WebConfig()
    alerts: AlertsConfig = AlertsConfig()
    retention: Limits = Limits()
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        if self.database and not is_url(self.database):
            raise ValueError(f"database is {self.database!r}; wanted is postgresql://USER@HOST/NAME")
        if self.database and urlsplit(self.database).password:
            raise ValueError("The database URL holds a password. Name a file as database_password_file")
        if self.ingest.share and not self.database:
            raise ValueError("Workers that share (ingest.share) need a database; one SQLite file has one writer")

    @property
    def place(self) -> Path | str:
        """Where results are kept; with the password, if there is one.

        Raises:
            ConfigError: The password's file cannot be read.
        """
        if not self.database or self.database_password_file is None:
            return self.database or self.store
        try:
            password = self.database_password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The password file {self.database_password_file} cannot be read: {error}.") from error
        parts = urlsplit(self.database)
        where = f"{parts.username or ''}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit((parts.scheme, where, *parts[2:]))


def accounts_path(config: MonitorConfig) -> Path:
    """Where the accounts are."""
    return config.web.accounts or config.store.with_name(config.store.name + ".accounts")


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; IPv6 in brackets.

    Raises:
        ConfigError: It is no such thing.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"listen is {text!r}; wanted is HOST:PORT, like 127.0.0.1:8080.")
    return host, int(port)
