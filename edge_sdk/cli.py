"""The one command, ``edge-sdk``: a station is run at once, all else is a sub-command of `edge_sdk.commands.group`."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from edge_sdk import __version__
from edge_sdk.base.errors import EdgeError, leaves

if TYPE_CHECKING:
    from edge_sdk.commands.group import GROUP as GROUP
    from edge_sdk.commands.group import commands as commands

FAULT = 70  # EX_SOFTWARE of sysexits.h


def main() -> None:
    """Run the command line; an error made on purpose becomes one line and its exit code."""
    try:
        code = _run(sys.argv[1:])
    except BaseException as problem:  # noqa: BLE001 - the outermost of all: whatever comes out is told
        code = tell(problem)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments[:2] == ["station", "run"]:
        from edge_sdk.station.run import Run

        if run := Run.plain(arguments[2:]):
            run.work()
            return 0
    from edge_sdk.commands import group

    return group.run()


def __getattr__(name: str) -> Any:
    """The group of sub-commands, loaded when it is asked for: a station runs without it."""
    if name not in {"GROUP", "commands"}:
        raise AttributeError(f"module 'edge_sdk.cli' has no attribute {name!r}")
    from edge_sdk.commands import group

    return getattr(group, name)


def tell(problem: BaseException) -> int:
    """Say what went wrong, and give the exit code.

    Tasks that fail together come as a group: each of its errors is told by itself. Only what nobody raised on purpose
    is shown with its traceback, because that is a fault of ours.

    Raises:
        SystemExit: It was one.
    """
    from edge_sdk.base import terminal

    errors = leaves(problem)
    for error in errors:
        if isinstance(error, SystemExit):
            raise error
    if any(isinstance(error, BrokenPipeError) for error in errors):  # `edge-sdk … | head` has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - flushed once more when we exit
        return 141
    if any(isinstance(error, KeyboardInterrupt) for error in errors):
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
