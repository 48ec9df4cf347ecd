"""The one command, ``edge-sdk``: its sub-commands are entry points, loaded when named."""

from __future__ import annotations

import sys

import click

from edge_sdk import __version__
from edge_sdk.base import plugins, terminal
from edge_sdk.base.errors import EdgeError, nearest

GROUP = "edge_sdk.commands"


class Commands(click.Group):
    """Sub-commands found by entry point."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every installed sub-command, by name."""
        return list(plugins.found(GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one; unknown names get the nearest."""
        if cmd_name not in plugins.found(GROUP):
            ctx.fail(f"No command {cmd_name!r}. {nearest(cmd_name, plugins.found(GROUP))}")
        command: click.Command = plugins.load(GROUP, cmd_name)
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


def main() -> None:
    """Run the command line; an error made on purpose becomes one line and its exit code."""
    try:
        sys.exit(commands(standalone_mode=False) or 0)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except EdgeError as problem:
        terminal.error(str(problem))
        sys.exit(problem.exit_code)
    except (click.Abort, KeyboardInterrupt):
        terminal.error("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
