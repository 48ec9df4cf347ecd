"""The monitor as a program: names turned into objects, ingest, receipts and page as named tasks."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from edge_sdk.base import plugins
from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError
from edge_sdk.base.ids import check_id
from edge_sdk.monitor.accounts import Accounts
from edge_sdk.monitor.alerts.book import AlertBook
from edge_sdk.monitor.alerts.sinks import Sink, open_sink
from edge_sdk.monitor.alerts.survey import Survey
from edge_sdk.monitor.alerts.watch import AlertWatch
from edge_sdk.monitor.commands.book import CommandBook
from edge_sdk.monitor.commands.desk import Desk
from edge_sdk.monitor.config import BrokerConfig, MonitorConfig, accounts_path, parse_listen
from edge_sdk.monitor.ingest import Ingest, filters
from edge_sdk.monitor.retention import Retention
from edge_sdk.monitor.store.base import Store
from edge_sdk.monitor.store.place import open_store
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.mqtt.connect import make_transport
from edge_sdk.mqtt.transport import BrokerAddress, Tls, Transport

if TYPE_CHECKING:
    from edge_sdk.monitor.web.uvicorn import WebServer

log = logging.getLogger(__name__)
_GRACE_S = 8.0
_RESULTS, _COMMANDS = 20_000, 100  # so many may be on their way to us unacknowledged


async def run_monitor(config: MonitorConfig, *, ready_file: Path | None = None, directory: Path | None = None) -> None:
    """Run until SIGTERM or SIGINT; then commit what is in hand, answer what is under way, and close.

    Args:
        config: What to run.
        ready_file: Gets JSON ``{"url", "pid", "store"}`` once the page can be opened and ingest has begun;
            `url` is null without a page.
        directory: Where relative paths among the sinks' options begin; None = the working directory.

    Raises:
        StoreError: The store cannot be opened.
        ConfigError: The page's address cannot be had.
        MissingExtraError: The web framework is not installed.
    """
    clock = SystemClock()
    store = open_store(config.place)
    try:
        ingest = _ingest(config, store)
        with (
            StoreReader(config.place, silent_after_s=config.web.silent_after_s) as reader,
            StoreReader(config.place) as surveyed,
            contextlib.closing(_book(config)) as book,
            contextlib.closing(CommandBook(_beside(config, "commands"))) as commands,
        ):
            sinks = {name: _sink(options, directory or Path()) for name, options in config.alerts.sinks.items()}
            survey = Survey(surveyed, config.alerts.rules)
            watch = AlertWatch(
                book, sinks, reader, clock, config.alerts.interval_s, survey, config.alerts.survey_interval_s
            )
            desk = _desk(config, commands, clock)
            server = _server(config, ingest, reader, book, desk) if config.web.enabled else None
            with _telemetry(config, book, clock):
                await _run(config, ingest, watch, desk, server, ready_file)
    finally:
        store.close()


async def run_worker(config: MonitorConfig, name: str, *, ready_file: Path | None = None) -> None:
    """Take in results beside a monitor, and nothing else, until SIGTERM or SIGINT.

    Args:
        config: The monitor's own; `ingest.share` names the group.
        name: An id; no two workers have the same.
        ready_file: As `run_monitor`.

    Raises:
        ConfigError: The configuration names no group.
        StoreError: The store cannot be opened.
    """
    check_id("worker", name)
    if not config.ingest.share:
        raise ConfigError("A worker divides messages with others: give ingest.share and database in the file.")
    store = open_store(config.place)
    try:
        ingest = _ingest(config, store, worker=name)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as group:
                done = anyio.Event()

                async def work() -> None:
                    await ingest.run()
                    done.set()

                group.start_soon(work, name=ingest.name)
                if ready_file is not None:
                    _write_ready(ready_file, None, config.store)
                log.info("worker is ready", extra={"worker": name, "share": config.ingest.share})
                async for number in signals:
                    log.info("worker stops", extra={"signal": number.name})
                    break
                ingest.stop()
                with anyio.move_on_after(_GRACE_S):
                    await done.wait()
                group.cancel_scope.cancel()
    finally:
        store.close()


def _ingest(config: MonitorConfig, store: Store, *, worker: str = "") -> Ingest:
    broker, share = config.broker, config.ingest.share
    if share:  # what a member that is gone had in hand goes to another, or comes again from the station
        client_id = f"{broker.client_id}-{worker}" if worker else broker.client_id
        broker = msgspec.structs.replace(broker, client_id=client_id, session_expiry_s=0)
    return Ingest(
        store,
        connector(broker),
        SystemClock(),
        max_payload_bytes=config.ingest.max_payload_bytes,
        receipt_interval_s=config.ingest.receipt_interval_s,
        receipts_per_s=config.ingest.receipts_per_s,
        filters=filters(share=share, is_worker=bool(worker)),
    )


@contextlib.contextmanager
def _telemetry(config: MonitorConfig, book: AlertBook, clock: SystemClock) -> Iterator[None]:
    if not config.telemetry.otlp:
        yield
        return
    try:
        from edge_sdk.monitor.opentelemetry import exporting
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("OpenTelemetry", error) from error
    with (
        StoreReader(config.place, silent_after_s=config.web.silent_after_s) as reader,
        exporting(config.telemetry.otlp, config.telemetry.interval_s, reader, book, clock),
    ):
        yield


def _book(config: MonitorConfig) -> AlertBook:
    return AlertBook(_beside(config, "alerts"), config.alerts.rules, config.alerts.sinks)


def _beside(config: MonitorConfig, what: str) -> Path:
    return config.store.with_name(f"{config.store.name}.{what}")


def _desk(config: MonitorConfig, book: CommandBook, clock: SystemClock) -> Desk:
    broker = msgspec.structs.replace(config.broker, client_id=f"{config.broker.client_id}-commands", session_expiry_s=0)
    return Desk(connector(broker, window=_COMMANDS), book, clock, config.web.commands)


def _sink(options: dict[str, Any], directory: Path) -> Sink:
    fields = {name: value for name, value in options.items() if name != "kind"}
    return open_sink(options["kind"], fields, directory=directory)


def _server(config: MonitorConfig, ingest: Ingest, reader: StoreReader, book: AlertBook, desk: Desk) -> WebServer:
    try:
        from edge_sdk.monitor.web.fastapi import make_app
        from edge_sdk.monitor.web.guard import Guard, is_loopback
        from edge_sdk.monitor.web.uvicorn import WebServer
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("The monitor's page", error) from error
    host, port = parse_listen(config.web.listen)
    accounts = Accounts(accounts_path(config))
    if not is_loopback(host) and not accounts.exist():
        raise ConfigError(
            f"The page would listen on {host} for everybody, and nobody has an account. Make one first: "
            f"edge-sdk monitor user add NAME --role admin --store {config.store}"
        )
    if not is_loopback(host) and config.web.certificate_file is None:
        log.warning("page is served without TLS: put a proxy before it, or give certificate_file and key_file")
    app = make_app(
        reader,
        accounts=accounts,
        book=book,
        desk=desk,
        clock=ingest.clock,
        state=ingest.state,
        is_secure=config.web.certificate_file is not None,
        is_stopping=lambda: server.is_stopping,
    )
    guard = Guard(
        app,
        accounts=accounts,
        clock=ingest.clock,
        only_loopback=is_loopback(host),
        requests_per_s=config.web.requests_per_s,
    )
    server = WebServer(guard, host, port, config.web.certificate_file, config.web.key_file)
    return server


async def _run(
    config: MonitorConfig,
    ingest: Ingest,
    watch: AlertWatch,
    desk: Desk,
    server: WebServer | None,
    ready_file: Path | None,
) -> None:
    url = server.url if server else None
    retention = Retention(ingest.store, config.retention, ingest.clock)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as group:
            done = anyio.Event()
            left = 2 if server else 1

            async def owned(work: Callable[[], Awaitable[None]]) -> None:
                nonlocal left
                await work()
                left -= 1
                if not left:
                    done.set()

            group.start_soon(owned, ingest.run, name=ingest.name)
            group.start_soon(watch.run, name=watch.name)
            group.start_soon(retention.run, name=retention.name)
            if server:
                group.start_soon(desk.run, name=desk.name)
                group.start_soon(owned, server.run, name=server.name)
            if ready_file is not None:
                _write_ready(ready_file, url, config.store)
            log.info("monitor is ready", extra={"url": url, "store": str(config.store)})
            async for number in signals:
                log.info("monitor stops", extra={"signal": number.name})
                break
            ingest.stop()
            if server:
                server.stop()
            with anyio.move_on_after(_GRACE_S):
                await done.wait()
            group.cancel_scope.cancel()


def connector(broker: BrokerConfig, *, window: int = _RESULTS) -> Callable[[], Transport]:
    """What makes the monitor's connection: a persistent session, so that the broker keeps what comes meanwhile."""
    tls = Tls(ca_file=broker.ca_file, certificate_file=broker.certificate_file, key_file=broker.key_file)
    addresses = [
        BrokerAddress.parse(
            url, tls=tls, username=broker.username, password_file=broker.password_file, version=broker.mqtt_version
        )
        for url in (broker.url, *broker.fallback_urls)
    ]

    def connect() -> Transport:
        return make_transport(
            addresses,
            client_id=broker.client_id,
            clean_start=False,
            session_expiry_s=broker.session_expiry_s,
            receive_window=window,
        )

    return connect


def _write_ready(path: Path, url: str | None, store: Path) -> None:
    """Written aside and renamed: who sees the file sees all of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(msgspec.json.encode({"url": url, "pid": os.getpid(), "store": str(store)}))
    aside.replace(path)
