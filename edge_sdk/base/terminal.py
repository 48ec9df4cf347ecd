"""What a person sees: tables, progress bars and errors; and what a program reads instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

_WIDTH_IN_A_FILE = 160
_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Add ``--json FILE``; ``-`` is standard output."""
    return click.option(
        "--json", "json_file", metavar="FILE", help="Also write the result as JSON to FILE ('-' = standard output)."
    )(command)


def write_json(target: str | None, data: Any) -> None:
    """Write `data` where ``--json`` said; nothing without it."""
    if target is None:
        return
    text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"
    if target == "-":
        click.echo(text, nl=False)
    else:
        Path(target).write_text(text, encoding="utf-8")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers stand to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table()
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_IN_A_FILE
    console.print(escape(title), style="bold")  # a title of the table itself would be folded to its width
    console.print(drawn)


def _cell(value: object) -> str:
    from rich.markup import escape

    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def progress(title: str, total: int | None = None) -> Progress:
    """A progress bar on standard error; silent where that is no terminal."""
    return Progress(title, total)


class Progress:
    """A progress bar: ``with progress("training", 40) as bar: bar.advance()``."""

    def __init__(self, title: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            *([MofNCompleteColumn()] if total else []),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """`steps` more are done."""
        self._bar.advance(self._task, steps)

    def at(self, done: int, total: int | None = None) -> None:
        """`done` of `total` are done."""
        self._bar.update(self._task, completed=done, total=total)

    def say(self, title: str) -> None:
        """Change the words beside the bar."""
        self._bar.update(self._task, description=title)


def error(message: str) -> None:
    """Print an error: red on a terminal, plain elsewhere."""
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True, color=sys.stderr.isatty())


def warning(message: str) -> None:
    """Print a warning: yellow on a terminal, plain elsewhere."""
    click.echo(click.style("warning: ", fg="yellow", bold=True) + message, err=True, color=sys.stderr.isatty())
