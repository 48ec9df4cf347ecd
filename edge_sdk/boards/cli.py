"""``edge-sdk boards``: which boards are known, and what each of them has."""

from __future__ import annotations

import click

from edge_sdk.base import terminal
from edge_sdk.boards.profile import Board, board_names, read_board

_GIB = 1024**3


@click.group(invoke_without_command=True)
@click.pass_context
@terminal.json_option
def boards(ctx: click.Context, json_file: str | None) -> None:
    """List the boards that a model can be converted for.

    \b
    Examples:
      edge-sdk boards
      edge-sdk boards show raspberry-pi-5
    """
    if ctx.invoked_subcommand is not None:
        return
    known = [read_board(name) for name in board_names()]
    if json_file != "-":
        _list(known)
    terminal.write_json(json_file, known)


@boards.command()
@click.argument("name")
@terminal.json_option
def show(name: str, json_file: str | None) -> None:
    """Show what is known of the board NAME, and where each fact comes from."""
    board = read_board(name)
    if json_file != "-":
        terminal.table(f"{board.name}: {board.title}", ("what", "value", "source"), _rows(board))
        for note in board.notes:
            click.echo(f"- {note}")
    terminal.write_json(json_file, board)


def _list(known: list[Board]) -> None:
    terminal.table(
        "Boards",
        ("name", "board", "architecture", "runtimes", "accelerator", "precisions"),
        [
            (
                board.name,
                board.title,
                board.architecture,
                ", ".join(runtime.name for runtime in board.runtimes),
                ", ".join(accelerator.name for accelerator in board.accelerators) or "none",
                ", ".join(board.precisions),
            )
            for board in known
        ],
    )


def _rows(board: Board) -> list[tuple[str, str, str]]:
    values = {
        "architecture": board.architecture,
        "cpu": f"{board.cores} x {board.cpu}{', int8 dot products' if board.cpu_dot_product else ''}",
        "memory_bytes": f"{board.memory_bytes / _GIB:g} GiB",
        "runtimes": "\n".join(
            f"{runtime.name} {runtime.version}"
            + (f" ({', '.join(runtime.delegates)})" if runtime.delegates else "")
            + (f": {runtime.note}" if runtime.note else "")
            for runtime in board.runtimes
        ),
        "accelerators": "\n".join(
            f"{accelerator.name}: {', '.join(accelerator.precisions)} by {accelerator.delegate}"
            + (f", {accelerator.memory_bytes / 1024**2:g} MiB" if accelerator.memory_bytes else "")
            for accelerator in board.accelerators
        )
        or "none",
        "precisions": ", ".join(board.precisions),
        "thermal_zones": "\n".join(
            zone.path + (f", slows down at {zone.throttle_c:g} °C" if zone.throttle_c else "")
            for zone in board.thermal_zones
        ),
    }
    return [(what, value, board.sources.get(what, "")) for what, value in values.items()]
