"""The one command, ``edge-sdk``: its sub-commands are entry points, loaded when named."""

from __future__ import annotations

import os
import sys
import traceback

import click

from edge_sdk import __version__
from edge_sdk.base import plugins, terminal
from edge_sdk.base.errors import EdgeError, PluginError, leaves, nearest

GROUP = "edge_sdk.commands"
FAULT = 70  # EX_SOFTWARE of sysexits.h


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


def main() -> None:
    """Run the command line; an error made on purpose becomes one line and its exit code."""
    try:
        code = commands(standalone_mode=False) or 0
    except click.ClickException as problem:
        problem.show()
        code = problem.exit_code
    except BaseException as problem:  # noqa: BLE001 - the outermost of all: whatever comes out is told
        code = tell(problem)
    sys.exit(code)


def tell(problem: BaseException) -> int:
    """Say what went wrong, and give the exit code.

    Tasks that fail together come as a group: each of its errors is told by itself. Only what nobody raised on purpose
    is shown with its traceback, because that is a fault of ours.

    Raises:
        SystemExit: It was one.
    """
    errors = leaves(problem)
    for error in errors:
        if isinstance(error, SystemExit):
            raise error
    if any(isinstance(error, BrokenPipeError) for error in errors):  # `edge-sdk … | head` has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - flushed once more when we exit
        return 141
    if any(isinstance(error, KeyboardInterrupt | click.Abort) for error in errors):
        terminal.error("interrupted")
        return 130
    for message in dict.fromkeys(str(error) for error in errors if isinstance(error, EdgeError)):
        terminal.error(message)
    faults = [error for error in errors if not isinstance(error, EdgeError)]
    for fault in faults:
        traceback.print_exception(fault)
        terminal.error(f"This is a fault in edge-sdk {__version__}, or in a plug-in; please report the lines above.")
    return FAULT if faults else next(error.exit_code for error in errors if isinstance(error, EdgeError))


if __name__ == "__main__":
    main()
