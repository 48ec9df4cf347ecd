"""The group of all sub-commands: they are entry points, loaded when named."""

from __future__ import annotations

import click

from edge_sdk import __version__
from edge_sdk.base import plugins
from edge_sdk.base.errors import PluginError, nearest

GROUP = "edge_sdk.commands"


class Commands(click.Group):
    """Sub-commands found by entry point."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every installed sub-command, by name."""
        return list(plugins.found(GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one; unknown names get the nearest."""
        try:
            command: click.Command = plugins.load(GROUP, cmd_name)
        except PluginError:
            ctx.fail(f"No command {cmd_name!r}. {nearest(cmd_name, plugins.found(GROUP))}")
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-sdk")
def commands() -> None:
    """Models to edge boards, sensor fusion on the board, every result delivered.

    \b
    Examples:
      edge-sdk demo                                   the whole of it, on this machine
      edge-sdk convert model.keras --calibration train.npz -o model.edge
      edge-sdk station check station.yaml             everything short of starting
      edge-sdk station run station.yaml
      edge-sdk monitor run monitor.yaml

    Completion: eval "$(_EDGE_SDK_COMPLETE=bash_source edge-sdk)"  (or zsh_source, fish_source)
    """


def run() -> int:
    """Do what the command line says; the exit code.

    Raises:
        KeyboardInterrupt: Somebody has interrupted it.
        EdgeError: As the sub-command.
    """
    try:
        return commands(standalone_mode=False) or 0
    except click.Abort as interrupted:
        raise KeyboardInterrupt from interrupted
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
