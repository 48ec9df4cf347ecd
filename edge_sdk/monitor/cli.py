"""``edge-sdk monitor``: run the centre, and ask its store."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import click
import msgspec

from edge_sdk.base import terminal
from edge_sdk.base.yaml import read_yaml
from edge_sdk.monitor.config import MonitorConfig, parse_listen


@click.group()
def monitor() -> None:
    """The central monitor: every result once, the whole fleet at a glance."""


@monitor.command()
@click.argument("config_file", metavar="[MONITOR.yaml]", required=False, type=click.Path(path_type=Path))
@click.option("--broker", metavar="URL", help="mqtt://HOST[:PORT] or mqtts://…; default mqtt://127.0.0.1:1883.")
@click.option("--store", type=click.Path(path_type=Path), help="The SQLite file; default monitor.db.")
@click.option("--listen", metavar="HOST:PORT", help="Where the page is served; default 127.0.0.1:8080, port 0 = free.")
@click.option("--no-web", is_flag=True, help="Ingest alone, no page.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write JSON with the page's URL when it serves.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def run(
    config_file: Path | None,
    broker: str | None,
    store: Path | None,
    listen: str | None,
    no_web: bool,
    ready_file: Path | None,
    verbose: bool,
) -> None:
    r"""Take in results, store each once, send receipts, show the page. Options win over the file.

    \b
    Examples:
      edge-sdk monitor run
      edge-sdk monitor run monitor.yaml
      edge-sdk monitor run --broker mqtts://broker.example --store /var/lib/edge/monitor.db
    """
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(levelname)s %(name)s %(message)s")
    for chatty in ("uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    config = read_yaml(config_file, MonitorConfig) if config_file else MonitorConfig()
    replace = msgspec.structs.replace
    if broker:
        config = replace(config, broker=replace(config.broker, url=broker))
    if store:
        config = replace(config, store=store)
    if listen:
        config = replace(config, web=replace(config.web, listen=listen))
    if no_web:
        config = replace(config, web=replace(config.web, enabled=False))
    parse_listen(config.web.listen)
    from edge_sdk.monitor.program import run_monitor

    async def program() -> None:
        await run_monitor(config, ready_file=ready_file)

    anyio.run(program)


@monitor.command()
@click.option("--store", type=click.Path(path_type=Path), default=Path("monitor.db"), show_default=True)
@terminal.json_option
def status(store: Path, json_file: str | None) -> None:
    """Print what a store holds; its monitor may be running."""
    from edge_sdk.base.clock import SystemClock
    from edge_sdk.monitor.store.reader import StoreReader

    with StoreReader(store) as reader:
        counters = reader.counters()
        fleet = reader.fleet(now_ns=SystemClock().wall_ns())
    terminal.write_json(json_file, {"counters": counters, "stations": fleet.stations})
    if json_file != "-":
        terminal.table(
            "Store", ["what", "count"], [[name, getattr(counters, name)] for name in counters.__struct_fields__]
        )
        terminal.table(
            "Stations",
            ["station", "state", "label", "confidence", "backlog", "backends"],
            [
                [
                    f"{one.site}/{one.station}",
                    one.state,
                    ", ".join(
                        last.label or (f"{last.value:g}" if last.value is not None else "-") for last in one.streams
                    ),
                    ", ".join(f"{last.confidence:.2f}" for last in one.streams if last.confidence is not None),
                    "-" if one.backlog is None else one.backlog,
                    one.backends,
                ]
                for one in fleet.stations
            ],
        )
