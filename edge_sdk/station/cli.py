"""``edge-sdk station``: check a configuration, run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.base import terminal

if TYPE_CHECKING:
    from edge_sdk.station.run import LogLevel


@click.group()
def station() -> None:
    """The program on the board with the sensors.

    \b
    Examples:
      edge-sdk station init
      edge-sdk station check station.yaml
      edge-sdk station plan station.yaml
      edge-sdk station run station.yaml
      edge-sdk station status
      sudo edge-sdk station install /etc/edge-sdk/station.yaml
    """


@station.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--no-broker", is_flag=True, help="Leave the broker alone.")
@click.option("--sensor-s", type=float, default=10.0, show_default=True, help="Seconds to a sensor's first reading.")
@terminal.json_option
def check(config: Path, no_broker: bool, sensor_s: float, json_file: str | None) -> None:
    """Try everything that CONFIG needs, short of starting; each finding comes with its remedy.

    Notes do not hinder the station. Otherwise the exit code is that of the first bad finding: 78 for the
    configuration, 65 or 77 for a bundle, 69 for a backend, a sensor or the broker, 74 for the disk.

    \b
    Examples:
      edge-sdk station check station.yaml
      edge-sdk station check station.yaml --no-broker --json -
    """
    from edge_sdk.station.check.plan import check_station

    findings = []
    for finding in check_station(config, with_broker=not no_broker, sensor_s=sensor_s):
        findings.append(finding)
        if json_file != "-":
            mark, colour = ("ok  ", "green") if finding.ok else ("BAD ", "red") if finding.must else ("note", "yellow")
            click.echo(f"{click.style(mark, fg=colour)} {finding.what}: {finding.detail}")
            if finding.remedy:
                click.echo(f"     -> {finding.remedy}")
    terminal.write_json(json_file, findings)
    bad = [finding for finding in findings if finding.must and not finding.ok]
    if bad:
        terminal.error(f"{config}: {len(bad)} of {len(findings)} checks failed; the lines above say what to do.")
        raise click.exceptions.Exit(bad[0].exit_code)


@station.command()
@click.argument("config", type=click.Path(path_type=Path))
@terminal.json_option
def plan(config: Path, json_file: str | None) -> None:
    """Measure the models of CONFIG and show how this machine's cores would be shared out among them.

    Tiny models (less than 1 ms a call) run where their window was cut; large ones side by side, each with as many
    threads as pay, together never more than there are cores. The station does the same at its start.

    \b
    Examples:
      edge-sdk station plan station.yaml
      edge-sdk bench --plan station.yaml
    """
    from edge_sdk.base.clock import SystemClock
    from edge_sdk.config.station import read_station
    from edge_sdk.runtime.plan import usable_cores
    from edge_sdk.station.assembly import Assembly
    from edge_sdk.station.planning import plan_streams

    assembly = Assembly(read_station(config), config, clock=SystemClock())
    pipelines = assembly.pipelines()
    try:
        plans = plan_streams(assembly, pipelines)
    finally:
        for pipeline in pipelines:
            pipeline.close()
    terminal.write_json(json_file, {"cores": usable_cores(), "streams": plans})
    if json_file == "-":
        return
    rows: list[list[object]] = [
        [
            stream,
            one.model,
            "beside others" if one.pooled else "in turn",
            one.threads,
            ", ".join(f"{taken * 1e3:.2f} ms with {n}" for n, taken in one.seconds.items()),
        ]
        for stream, models in plans.items()
        for one in models.values()
    ]
    terminal.table(f"{usable_cores()} cores", ["stream", "model", "runs", "threads", "one call"], rows)


@station.command()
@click.argument("config", type=click.Path())
@click.option("--drain-s", type=float, default=5.0, show_default=True, help="Seconds to drain the outbox when stopped.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--log-json", is_flag=True, help="One JSON object a line.")
@terminal.json_option
def run(config: str, drain_s: float, log_level: LogLevel, log_json: bool, json_file: str | None) -> None:
    """Run CONFIG until told to stop, or until every sensor has ended.

    SIGTERM and SIGINT stop it in order; what is not delivered by then stays in the outbox. SIGHUP reads CONFIG again:
    when it is refused, the station goes on as before. With --json, the counters are written at the end.

    \b
    Examples:
      edge-sdk station run station.yaml
      edge-sdk station run station.yaml --log-json
    """
    from edge_sdk.station.run import Run

    Run(config, drain_s, log_level, log_json, json_file).work()


@station.command()
@click.argument("config", type=click.Path(path_type=Path), default="station.yaml")
@click.option("--site", help="The site's id.")
@click.option("--station", "name", help="The station's id; default: this machine's name.")
@click.option("--broker", help="mqtt://HOST[:PORT] or mqtts://HOST[:PORT].")
@click.option("--username", help="Who we are at the broker; default: anonymous.")
@click.option("--password-file", help="File with the password, one line.")
@click.option("--ca-file", help="Certificates to believe; default: the system's.")
@click.option(
    "--delivery", type=click.Choice(["monitor", "broker"]), help="Whose word lets a result leave the station."
)
@click.option("--state-directory", help="Where the outbox lives.")
@click.option("--key", "keys", multiple=True, help="Public key file whose bundles are accepted; may be repeated.")
@click.option("--bundle", "bundles", multiple=True, help="A .edge file; may be repeated.")
@click.option("--sensor", "sensors", multiple=True, metavar="NAME=KIND", help="Plug-in of a sensor; may be repeated.")
@click.option("--status-port", type=int, help="Port of the status endpoint on 127.0.0.1; 0 = none.")
@click.option("--no-input", is_flag=True, help="Ask nothing: what is not given is the default.")
@click.option("--no-schema", is_flag=True, help="Leave out the JSON Schema for editors beside it.")
@click.option("--force", is_flag=True, help="Replace CONFIG if it is there.")
def init(config: Path, no_input: bool, no_schema: bool, force: bool, **given: Any) -> None:
    """Ask a few questions and write CONFIG, with comments; sensors that you do not name yet are simulated.

    \b
    Examples:
      edge-sdk station init
      edge-sdk station init /etc/edge-sdk/station.yaml --bundle light.edge --key release.pub --sensor light=iio
      edge-sdk station init --no-input --site hall --station press-4 --broker mqtts://broker.lan
    """
    from edge_sdk.station.setup.interview import interview, write

    answers = interview(given, asks=not no_input, beside=config.parent)
    for path in write(answers, config, with_schema=not no_schema, force=force):
        click.echo(f"wrote {path}")
    click.echo(f"next: edge-sdk station check {config}")


@station.command()
@click.argument("config", type=click.Path(path_type=Path), default="/etc/edge-sdk/station.yaml")
@click.option("--name", default="edge-station", show_default=True, help="Name of the unit.")
@click.option("--user", default="edge", show_default=True, help="Who it runs as; made if missing.")
@click.option("--memory-mb", type=int, default=256, show_default=True, help="Memory that it may use, 10⁶ bytes.")
@click.option("--program", type=click.Path(path_type=Path), help="The edge-sdk of the service; default: this one.")
@click.option("--root", type=click.Path(path_type=Path, exists=True), default="/", help="Install into an image there.")
@click.option("--no-start", is_flag=True, help="Start it at the next boot, not now.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
def install(
    config: Path, name: str, user: str, memory_mb: int, program: Path | None, root: Path, no_start: bool, dry_run: bool
) -> None:
    """Make CONFIG a service of systemd: a user, a hardened unit with a watchdog, started at every boot.

    \b
    Examples:
      edge-sdk station install /etc/edge-sdk/station.yaml --dry-run
      sudo edge-sdk station install /etc/edge-sdk/station.yaml
    """
    from edge_sdk.config.station import read_station
    from edge_sdk.station.setup import install as installing
    from edge_sdk.station.setup.unit import Service

    service = Service(
        config_file=config.absolute(),
        config=read_station(config),
        program=program or installing.program(),
        user=user,
        memory_mb=memory_mb,
    )
    steps = list(installing.plan(service, name, root=root, start=not no_start))
    if dry_run:
        for step in steps:
            click.echo(f"# {step.says}: {step.file or ' '.join(step.command)}")
            if step.text:
                click.echo(step.text)
        return
    for step in installing.install(steps):
        click.echo(f"done: {step.says} ({step.file or ' '.join(step.command)})")


@station.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it there; default: standard output.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of station.yaml, with the options of every plug-in that is installed here.

    \b
    Examples:
      edge-sdk station schema -o station.schema.json
    """
    from edge_sdk.config.schema import text

    if output is None:
        click.echo(text(), nl=False)
    else:
        output.write_text(text(), encoding="utf-8")


@station.command()
@click.argument("port", type=int, default=9120)
@terminal.json_option
def status(port: int, json_file: str | None) -> None:
    """Ask the station on this machine, at PORT of 127.0.0.1, how it does; exit code 69 when nothing moves in it.

    \b
    Examples:
      edge-sdk station status
      edge-sdk station status 9121 --json -
    """
    from edge_sdk.station.status.client import ask

    told = ask(port)
    terminal.write_json(json_file, told)
    if json_file != "-":
        terminal.table(f"{told['birth']['site']}/{told['birth']['station']}", ["what", "how"], list(_rows(told)))
    if not told["working"]:
        terminal.error("Nothing has moved in the station for a while; systemd's watchdog will start it anew.")
        raise click.exceptions.Exit(69)


def _rows(told: dict[str, Any]) -> Iterator[tuple[str, object]]:
    health, vitals = told["health"], told["vitals"]
    yield "since", told["birth"]["started"]
    yield "broker", told["link"]
    yield "waiting results", told["outbox"]["results"]
    for name, state in health["sensors"].items():
        yield f"sensor {name}", state
    for name, latency in health["latencies"].items():
        yield (
            f"model {name}",
            f"{latency['windows']} windows, {latency['p50_ms']} ms, of 99 in 100 {latency['p99_ms']} ms",
        )
    for zone, degrees in vitals["temperatures_c"].items():
        yield f"temperature {zone}", f"{degrees:.1f} °C"
    yield "memory", f"{(vitals['rss_bytes'] or 0) / 1e6:.0f} MB"
    yield "flags", ", ".join(health["flags"]) or "none"
