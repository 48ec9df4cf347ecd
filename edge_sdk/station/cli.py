"""``edge-sdk station``: check a configuration, run it."""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.base import terminal


@click.group()
def station() -> None:
    """The program on the board with the sensors.

    \b
    Examples:
      edge-sdk station check station.yaml
      edge-sdk station plan station.yaml
      edge-sdk station run station.yaml
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
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--drain-s", type=float, default=5.0, show_default=True, help="Seconds to drain the outbox when stopped.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--log-json", is_flag=True, help="One JSON object a line.")
@terminal.json_option
def run(config: Path, drain_s: float, log_level: str, log_json: bool, json_file: str | None) -> None:
    """Run CONFIG until told to stop, or until every sensor has ended.

    SIGTERM and SIGINT stop it in order; what is not delivered by then stays in the outbox. SIGHUP reads CONFIG again:
    when it is refused, the station goes on as before. With --json, the counters are written at the end.

    \b
    Examples:
      edge-sdk station run station.yaml
      edge-sdk station run station.yaml --log-json
    """
    import logging
    import os

    import anyio

    from edge_sdk.base import logs
    from edge_sdk.base.clock import SystemClock
    from edge_sdk.config.station import read_station
    from edge_sdk.station.assembly import Assembly
    from edge_sdk.station.credentials import with_credentials
    from edge_sdk.station.notify import Notifier
    from edge_sdk.station.station import Station

    logs.configure(log_level, as_json=log_json)
    tail = logs.Tail()
    logging.getLogger().addHandler(tail)
    clock = SystemClock()

    def read() -> Assembly:
        settings = with_credentials(read_station(config), os.environ.get("CREDENTIALS_DIRECTORY", ""))
        return Assembly(settings, config, clock=clock)

    assembled = Station(read(), clock=clock, notifier=Notifier.of(os.environ), tail=tail, reread=read)

    async def work() -> None:
        await assembled.run(drain_s=drain_s)

    anyio.run(work)
    terminal.write_json(json_file, assembled.final_counters)
