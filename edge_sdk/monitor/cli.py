"""``edge-sdk monitor``: run the centre, and ask its store."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_sdk.base import terminal
from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.backtest.cli import backtest

if TYPE_CHECKING:
    from edge_sdk.monitor.accounts import Accounts, Role


@click.group()
def monitor() -> None:
    """The central monitor: every result once, the whole fleet at a glance.

    \b
    Examples:
      edge-sdk monitor run
      edge-sdk monitor run monitor.yaml
      edge-sdk monitor status --store monitor.db
    """


@monitor.command()
@click.argument("config_file", metavar="[MONITOR.yaml]", required=False, type=click.Path(path_type=Path))
@click.option("--broker", metavar="URL", help="mqtt://HOST[:PORT] or mqtts://…; default mqtt://127.0.0.1:1883.")
@click.option("--store", type=click.Path(path_type=Path), help="The SQLite file; default monitor.db.")
@click.option("--database", metavar="URL", help="postgresql://USER@HOST/NAME: keep results there instead.")
@click.option("--listen", metavar="HOST:PORT", help="Where the page is served; default 127.0.0.1:8080, port 0 = free.")
@click.option("--no-web", is_flag=True, help="Ingest alone, no page.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write JSON with the page's URL when it serves.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def run(
    config_file: Path | None,
    broker: str | None,
    store: Path | None,
    database: str | None,
    listen: str | None,
    no_web: bool,
    ready_file: Path | None,
    verbose: bool,
) -> None:
    """Take in results, store each once, send receipts, show the page. Options win over the file.

    \b
    Examples:
      edge-sdk monitor run
      edge-sdk monitor run monitor.yaml
      edge-sdk monitor run --broker mqtts://broker.example --store /var/lib/edge/monitor.db
    """
    import anyio
    import msgspec

    from edge_sdk.base.yaml import read_yaml
    from edge_sdk.monitor.config import MonitorConfig, parse_listen

    _log(verbose)
    config = read_yaml(config_file, MonitorConfig) if config_file else MonitorConfig()
    replace = msgspec.structs.replace
    if broker:
        config = replace(config, broker=replace(config.broker, url=broker))
    if store:
        config = replace(config, store=store)
    if database:
        try:
            config = replace(config, database=database)
        except ValueError as error:
            raise ConfigError(f"{error}.") from error
    if listen:
        config = replace(config, web=replace(config.web, listen=listen))
    if no_web:
        config = replace(config, web=replace(config.web, enabled=False))
    parse_listen(config.web.listen)
    from edge_sdk.monitor.program import run_monitor

    async def program() -> None:
        await run_monitor(config, ready_file=ready_file, directory=config_file.parent if config_file else None)

    anyio.run(program)


def _log(verbose: bool) -> None:
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(levelname)s %(name)s %(message)s")
    for chatty in ("alembic", "uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@monitor.command()
@click.argument("name")
@click.argument("config_file", metavar="MONITOR.yaml", type=click.Path(path_type=Path))
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write JSON when it takes in results.")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
def worker(name: str, config_file: Path, ready_file: Path | None, verbose: bool) -> None:
    """Take in results beside a monitor, as one of several that share the messages (ingest.share).

    \b
    Examples:
      edge-sdk monitor worker second monitor.yaml
    """
    import anyio

    from edge_sdk.base.yaml import read_yaml
    from edge_sdk.monitor.config import MonitorConfig
    from edge_sdk.monitor.program import run_worker

    _log(verbose)
    config = read_yaml(config_file, MonitorConfig)

    async def program() -> None:
        await run_worker(config, name, ready_file=ready_file)

    anyio.run(program)


_DATABASE = click.option("--database", metavar="URL", help="postgresql://USER@HOST/NAME instead of --store.")


@monitor.command()
@click.option("--store", type=click.Path(path_type=Path), default=Path("monitor.db"), show_default=True)
@_DATABASE
@terminal.json_option
def status(store: Path, database: str | None, json_file: str | None) -> None:
    """Print what a store holds; its monitor may be running.

    \b
    Examples:
      edge-sdk monitor status --store monitor.db
      edge-sdk monitor status --database postgresql://edge@db.example/edge --json -
    """
    from edge_sdk.base.clock import SystemClock
    from edge_sdk.monitor.store.reader import StoreReader

    with StoreReader(database or store) as reader:
        counters = reader.counters()
        now_ns = SystemClock().wall_ns()
        fleet = reader.fleet(now_ns=now_ns)
    terminal.write_json(json_file, {"counters": counters, "stations": fleet.stations})
    if json_file != "-":
        terminal.table(
            "Store", ["what", "count"], [[name, getattr(counters, name)] for name in counters.__struct_fields__]
        )
        terminal.table(
            "Stations",
            ["station", "state", "heard", "label", "confidence", "backlog", "backends"],
            [
                [
                    f"{one.site}/{one.station}",
                    one.state,
                    _ago(now_ns - one.last_seen_ns),
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


def _ago(span_ns: int) -> str:
    seconds = span_ns // 10**9
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{max(0, seconds)} s ago"


_ROLES = click.Choice(["viewer", "operator", "admin"])
_store = click.option("--store", type=click.Path(path_type=Path), default=Path("monitor.db"), show_default=True)


@monitor.group()
def user() -> None:
    """Who may log in to the page. The first one made closes the page to everybody else."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=_ROLES, default="viewer", show_default=True)
@click.option("--password-file", type=click.Path(path_type=Path), help="Read the password here instead of asking.")
@_store
def add_user(name: str, role: str, password_file: Path | None, store: Path) -> None:
    """Make a user, or give one a new password."""
    if password_file is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        try:
            password = password_file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The password file {password_file} cannot be read: {error}.") from error
    accounts, role_of = _accounts(store)
    accounts.add_user(name, role_of[role.upper()], password)
    click.echo(f"{name} may log in as {role}.")


@user.command("list")
@_store
@terminal.json_option
def list_users(store: Path, json_file: str | None) -> None:
    """Say who may log in, and which API keys there are."""
    accounts, _ = _accounts(store)
    users, keys = accounts.users(), accounts.keys()
    rows = [[kind, one.name, one.role.name.lower()] for kind, many in (("user", users), ("key", keys)) for one in many]
    terminal.write_json(json_file, [dict(zip(("kind", "name", "role"), row, strict=True)) for row in rows])
    if json_file != "-":
        terminal.table("Accounts", ["kind", "name", "role"], rows)


@user.command("remove")
@click.argument("name")
@_store
def remove_user(name: str, store: Path) -> None:
    """Remove a user and end their sessions."""
    _accounts(store)[0].remove_user(name)


@monitor.group()
def key() -> None:
    """API keys: for scripts, as ``Authorization: Bearer KEY``."""


@key.command("add")
@click.argument("name")
@click.option("--role", type=_ROLES, default="viewer", show_default=True)
@_store
def add_key(name: str, role: str, store: Path) -> None:
    """Make an API key and print it, this once."""
    accounts, role_of = _accounts(store)
    click.echo(accounts.add_key(name, role_of[role.upper()]))


@key.command("remove")
@click.argument("name")
@_store
def remove_key(name: str, store: Path) -> None:
    """Make an API key useless."""
    _accounts(store)[0].remove_key(name)


def _accounts(store: Path) -> tuple[Accounts, type[Role]]:
    from edge_sdk.monitor.accounts import Accounts, Role
    from edge_sdk.monitor.config import MonitorConfig, accounts_path

    return Accounts(accounts_path(MonitorConfig(store=store))), Role


@monitor.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--format", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True)
@click.option("--site", help="Only this site.")
@click.option("--station", help="Only stations of this name.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Event time at or after, UTC.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Event time before, UTC.")
@_store
@_DATABASE
@terminal.json_option
def export(
    directory: Path,
    format: str,
    site: str | None,
    station: str | None,
    since: datetime | None,
    until: datetime | None,
    store: Path,
    database: str | None,
    json_file: str | None,
) -> None:
    """Write stored results as files below DIRECTORY, by site and day; the monitor may be running.

    \b
    Examples:
      edge-sdk monitor export results --since 2026-11-01
      edge-sdk monitor export results --format parquet --site north
    """
    from edge_sdk.base.clock import from_datetime
    from edge_sdk.monitor.export import export_results
    from edge_sdk.monitor.store.reader import StoreReader

    since_ns, until_ns = (
        None if at is None else from_datetime(at.replace(tzinfo=timezone.utc)) for at in (since, until)
    )
    with StoreReader(database or store) as reader, terminal.progress("exporting") as bar:
        results = reader.results(site=site, station=station, since_ns=since_ns, until_ns=until_ns)
        written = export_results(results, directory, format=format, advance=bar.advance)
    terminal.write_json(json_file, {"written": written, "directory": str(directory)})
    if json_file != "-":
        click.echo(f"{written} results written below {directory}.")


monitor.add_command(backtest)
