"""``edge-sdk remote``: commands to a station, from afar."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.base import terminal

if TYPE_CHECKING:
    from edge_sdk.contract.command import Answer
    from edge_sdk.station.remote.client import RemoteStation

_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    site: str
    station: str
    username: str | None
    password_file: Path | None
    ca_file: Path | None
    json_file: str | None

    def do(self, work: Callable[[RemoteStation], Awaitable[Answer]]) -> None:
        """Connect, do it, show the answer."""
        import anyio

        from edge_sdk.contract.topics import Topics
        from edge_sdk.mqtt.transport import BrokerAddress, Tls
        from edge_sdk.station.remote.client import commanding

        address = BrokerAddress.parse(
            self.url, tls=Tls(ca_file=self.ca_file), username=self.username, password_file=self.password_file
        )

        async def run() -> Answer:
            async with commanding(address, Topics(self.site, self.station), begun=_say) as station:
                return await work(station)

        answer = anyio.run(run)
        terminal.write_json(self.json_file, answer)
        if self.json_file != "-":
            click.echo(f"{answer.verb}: {answer.state.value}")
            for name, value in answer.result.items():
                click.echo(f"  {name}: {value}")


def _say(message: str) -> None:
    click.echo(message, err=True)


@click.group()
@click.option("--broker", "url", default="mqtt://127.0.0.1", show_default=True, help="mqtt://HOST or mqtts://HOST.")
@click.option("--site", required=True, help="The station's site.")
@click.option("--station", required=True, help="The station.")
@click.option("--username", help="Who we are at the broker.")
@click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), help="File with the password.")
@click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False), help="Whom to believe, for mqtts.")
@terminal.json_option
@click.pass_context
def remote(ctx: click.Context, /, **given: Any) -> None:
    """Command a station whose configuration allows it (`remote: allow:`); each command has an id, and is obeyed once.

    \b
    Examples:
      edge-sdk remote --site hall --station press-4 ping
      edge-sdk remote --broker mqtts://broker.lan --site hall --station press-4 bundle-install light.edge
    """
    ctx.obj = _Target(**given)


@remote.command()
@click.pass_obj
def ping(target: _Target) -> None:
    """Ask whether it is there, and how it does."""
    from edge_sdk.station.remote.client import PING_S

    target.do(lambda station: station.ask("ping", within_s=PING_S))


@remote.command()
@click.pass_obj
def rebirth(target: _Target) -> None:
    """Let it say anew who it is and what really runs on it."""
    target.do(lambda station: station.ask("rebirth"))


@remote.command()
@click.option("--stream", help="Only of this stream.")
@click.pass_obj
def snapshot(target: _Target, stream: str | None) -> None:
    """Get the last window of each model: float32 in base64."""
    target.do(lambda station: station.ask("snapshot", {"stream": stream}))


@remote.command("log-level")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--for-s", type=float, default=600.0, show_default=True, help="Then it is as before.")
@click.pass_obj
def log_level(target: _Target, level: str, for_s: float) -> None:
    """Log more or less for a while; waits until that is over."""
    arguments = {"level": level, "for_s": for_s}
    target.do(lambda station: station.ask("log-level", arguments, within_s=for_s + _SLACK_S))


@remote.command()
@click.argument("stream")
@click.option("--for-s", type=float, required=True, help="How long; 0 = go on at once.")
@click.pass_obj
def pause(target: _Target, stream: str, for_s: float) -> None:
    """Let STREAM predict nothing for a while."""
    target.do(lambda station: station.ask("pause", {"stream": stream, "for_s": for_s}))


@remote.command("config-set")
@click.argument("patch")
@click.option("--healthy-within-s", type=float, default=30.0, show_default=True, help="Else it is taken back.")
@click.pass_obj
def config_set(target: _Target, patch: str, healthy_within_s: float) -> None:
    """Change the configuration by PATCH: a JSON merge patch, or @FILE, or - for standard input.

    \b
    Examples:
      edge-sdk remote --site hall --station press-4 config-set '{"health_every_s": 60}'
      edge-sdk remote --site hall --station press-4 config-set @patch.json
    """
    import msgspec

    from edge_sdk.base.errors import ConfigError

    try:
        text = sys.stdin.read() if patch == "-" else Path(patch[1:]).read_text() if patch.startswith("@") else patch
        given = msgspec.json.decode(text, type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"The patch is no JSON object: {error}.") from error
    arguments = {"patch": given, "healthy_within_s": healthy_within_s}
    target.do(lambda station: station.ask("config-set", arguments, within_s=2 * healthy_within_s + _SLACK_S))


@remote.command("bundle-install")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--url", default="", help="Let the station fetch the same file from there, in place of sending it.")
@click.option("--canary-s", type=float, default=120.0, show_default=True, help="Beside the old one, unheard.")
@click.option("--least-agreement", type=float, default=0.0, show_default=True, help="With the old one, 0 to 1.")
@click.option("--healthy-within-s", type=float, default=60.0, show_default=True, help="Else it is taken back.")
@click.pass_obj
def bundle_install(
    target: _Target, bundle: Path, url: str, canary_s: float, least_agreement: float, healthy_within_s: float
) -> None:
    """Put BUNDLE in the place of the model of the same name: verified, tried as a canary, swapped, watched."""
    from edge_sdk.base.errors import ConfigError

    try:
        raw = bundle.read_bytes()
    except OSError as error:
        raise ConfigError(f"Bundle {bundle} cannot be read: {error.strerror}. Check the path.") from error
    arguments = {"canary_s": canary_s, "least_agreement": least_agreement, "healthy_within_s": healthy_within_s}
    within_s = canary_s + 2 * healthy_within_s + 5 * _SLACK_S
    target.do(lambda station: station.install(raw, url=url, within_s=within_s, **arguments))
