"""``edge-sdk sensors``: which kinds there are, what each takes, and what one says at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edge_sdk.base import terminal

if TYPE_CHECKING:
    from edge_sdk.contract.reading import Reading
    from edge_sdk.sensors.keeper import Keeper

GROUP = "edge_sdk.sensors"


@click.group()
def sensors() -> None:
    """What can measure, and what it says.

    \b
    Examples:
      edge-sdk sensors list
      edge-sdk sensors show sds011
      edge-sdk sensors read sds011 port=/dev/ttyUSB0
    """


@sensors.command("list")
@terminal.json_option
def list_kinds(json_file: str | None) -> None:
    """List the kinds of sensors that are installed.

    \b
    Examples:
      edge-sdk sensors list
      edge-sdk sensors list --json -
    """
    from edge_sdk.base import plugins

    kinds = {name: _first_line(plugins.load(GROUP, name)) for name in plugins.found(GROUP)}
    terminal.write_json(json_file, kinds)
    if json_file != "-":
        width = max(map(len, kinds))
        for name, words in kinds.items():
            click.echo(f"{name:<{width}}  {words}")


@sensors.command()
@click.argument("kind")
@terminal.json_option
def show(kind: str, json_file: str | None) -> None:
    """Show the options of KIND, as JSON Schema with --json.

    \b
    Examples:
      edge-sdk sensors show modbus
      edge-sdk sensors show modbus --json -
    """
    import msgspec

    from edge_sdk.base import plugins

    plugin = plugins.load(GROUP, kind)
    schema = msgspec.json.schema(plugin.Options, schema_hook=lambda of: {"type": "string", "format": "path"})
    terminal.write_json(json_file, schema)
    if json_file == "-":
        return
    click.echo(_first_line(plugin))
    for struct in _structs(schema):
        required = set(struct.get("required", ()))
        rows = [
            [name, "must be given" if name in required else _default(field), field.get("description", "")]
            for name, field in struct["properties"].items()
        ]
        terminal.table(struct["title"], ["option", "default", "what"], rows)


@sensors.command()
@click.argument("kind")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long to listen.")
@terminal.json_option
def read(kind: str, options: tuple[str, ...], seconds: float, json_file: str | None) -> None:
    """Read a sensor of KIND for a while and print what comes; options as in station.yaml.

    A value may be any YAML: a list, a mapping. It is an error when nothing came.

    \b
    Examples:
      edge-sdk sensors read thermal zones=[cpu-thermal]
      edge-sdk sensors read serial_csv port=/dev/ttyUSB0 columns=[t,rh] --seconds 5
      edge-sdk sensors read mqtt topic=tele/porch/SENSOR channels='{t: AM2301.Temperature}'
    """
    import anyio

    from edge_sdk.base import plugins
    from edge_sdk.base.clock import SystemClock
    from edge_sdk.base.errors import ConfigError, SensorError
    from edge_sdk.base.yaml import parse_yaml
    from edge_sdk.sensors.keeper import Keeper

    if wrong := [option for option in options if "=" not in option]:
        raise ConfigError(f"{wrong[0]!r} is no option; wanted is OPTION=VALUE, as port=/dev/ttyUSB0.")
    plugin, clock = plugins.load(GROUP, kind), SystemClock()
    text = "\n".join(": ".join(option.split("=", 1)) for option in options)
    given = parse_yaml(text or "{}", plugin.Options, source="command line")
    keeper = Keeper(plugin(kind, given, clock=clock), clock=clock)
    listener = _Listener(keeper, quiet=json_file == "-")
    anyio.run(listener.listen, seconds)
    terminal.write_json(json_file, listener.record())
    if not listener.n_samples:
        raise SensorError(f"Nothing came within {seconds:g} s. {listener.why}".strip())


class _Listener:
    """Prints what a sensor says, and sums it up."""

    def __init__(self, keeper: Keeper, *, quiet: bool) -> None:
        self._keeper, self._quiet = keeper, quiet
        self.n_samples = self.n_blocks = 0
        self.why = ""
        self._last: list[float] = []
        self._began_s = self._ended_s = 0.0

    async def listen(self, seconds: float) -> None:
        """Listen for so long, or until it ends."""
        import anyio

        with anyio.move_on_after(seconds):
            await self._keeper.run(self._heard, self._turned)
        counted = ", ".join(f"{name} {count}" for name, count in self._keeper.counters.items())
        self._say(f"{self.n_samples} samples in {self.n_blocks} blocks{self._rate()}; counted: {counted or 'nothing'}")

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "channels": dict(zip(self._keeper.channels, self._keeper.units, strict=True)),
            "samples": self.n_samples,
            "blocks": self.n_blocks,
            "last": [None if value != value else value for value in self._last],
            "state": self._keeper.state.value,
            "counters": self._keeper.counters,
        }

    async def _heard(self, reading: Reading) -> None:
        from edge_sdk.base.clock import to_datetime

        self.n_blocks += 1
        self.n_samples += len(reading.samples)
        self._ended_s = reading.monotonic_ns / 1e9
        if self.n_blocks == 1:
            self._began_s, self.n_first = self._ended_s, len(reading.samples)
        self._last = [round(value, 6) for value in reading.samples[-1].tolist()]
        moment = to_datetime(int(reading.sample_times_ns[-1])).strftime("%H:%M:%S.%f")[:-3]
        values = zip(self._keeper.channels, self._last, self._keeper.units, strict=True)
        words = "  ".join(f"{name} {value:g} {unit}".strip() for name, value, unit in values)
        self._say(f"{moment}  {words}" + (f"  ({len(reading.samples)} samples)" if len(reading.samples) > 1 else ""))

    def _turned(self, state: Any, why: str) -> None:
        self.why = why or self.why
        if why or state.value != "running":
            self._say(f"{state.value}: {why}" if why else state.value)

    def _rate(self) -> str:
        span_s = self._ended_s - self._began_s
        return f", {(self.n_samples - self.n_first) / span_s:.3g} a second" if self.n_blocks > 2 and span_s > 0 else ""

    def _say(self, words: str) -> None:
        if not self._quiet:
            click.echo(words)


def _first_line(plugin: Any) -> str:
    words = " ".join((plugin.__doc__ or "").split("\n\n")[0].split())
    return words.replace("``", "")


def _structs(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The struct itself, then those in it."""
    parts = schema.get("$defs", {})
    top = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return [top, *(part for part in parts.values() if part is not top)]


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return (
        "none" if default in (None, [], {}, "") else str(default).lower() if isinstance(default, bool) else str(default)
    )
