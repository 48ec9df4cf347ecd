"""``edge-sdk outbox``: look into a station's outbox, and carry results out of one and into another."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click

from edge_sdk.base.clock import SystemClock, to_datetime
from edge_sdk.base.errors import OutboxError, PayloadError
from edge_sdk.base.terminal import json_option, progress, table, write_json
from edge_sdk.outbox.identity import read_identity
from edge_sdk.outbox.meta import read_meta

_PATH = click.Path(path_type=Path, dir_okay=False, exists=True)
_CHUNK = 1000
_CARD_BYTES_PER_GB = 1000 * 10**9
"""An ordinary SD card takes about 1,000 full rewrites: so many bytes per gigabyte of its size."""
_WRITTEN_PER_BYTE = 2.7
_WRITTEN_PER_COMMIT = 8500
"""Measured on ext4 with results that are kept after their receipt: log, file and journal together."""


@click.group()
def outbox() -> None:
    """Look into a station's outbox; carry results out of it, or into another.

    \b
    Examples:
      edge-sdk outbox stats /var/lib/edge-sdk/outbox.db
      edge-sdk outbox peek /var/lib/edge-sdk/outbox.db --limit 3
      edge-sdk outbox export /var/lib/edge-sdk/outbox.db -o results.jsonl
      edge-sdk outbox import new/outbox.db results.jsonl
    """


@outbox.command()
@click.argument("path", type=_PATH)
@click.option("--results-per-s", type=click.FloatRange(min=0, min_open=True), help="To estimate how long a card lives.")
@click.option(
    "--results-per-commit",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    help="How many share a commit, see `commit_within_ms` in station.yaml.",
)
@click.option("--card-gb", type=click.FloatRange(min=0, min_open=True), default=32.0, show_default=True)
@json_option
def stats(
    path: Path, results_per_s: float | None, results_per_commit: float, card_gb: float, json_file: str | None
) -> None:
    """Numbers of an outbox, also while its station runs."""
    with _reading(path) as db:
        low, high, count = db.execute("SELECT min(seq), max(seq), count(*) FROM results").fetchone()
        size, age = db.execute("SELECT sum(length(body)), min(accepted_ns) FROM results").fetchone()
        meta = read_meta(db)
        kept = sum(
            db.execute("SELECT count(*) FROM results WHERE seq BETWEEN ? AND ?", span).fetchone()[0]
            for span in meta.receipted
        )
    identity = read_identity(path)
    numbers: dict[str, Any] = {
        "epoch": meta.epochs[-1][1] if meta.epochs else "",
        "rows": count - kept,
        "kept": kept,
        "oldest": low,
        "newest": max(high or 0, meta.newest),
        "oldest_accepted": to_datetime(age).isoformat() if age else None,
        "body_bytes": size or 0,
        "file_bytes": path.stat().st_size,
        "dropped": meta.dropped,
        "damaged": meta.damaged,
        "identity": "sound" if identity and identity.epochs == meta.epochs else "missing or damaged",
    }
    each = _WRITTEN_PER_BYTE * ((size or 0) / count if count else 800) + _WRITTEN_PER_COMMIT / results_per_commit
    numbers["written_bytes_per_result"] = round(each)
    if results_per_s:
        written = results_per_s * 86_400 * each
        numbers["written_bytes_per_day"] = round(written)
        numbers["card_life_years"] = round(card_gb * _CARD_BYTES_PER_GB / written / 365, 1)
    write_json(json_file, numbers)
    if json_file != "-":
        table(f"Outbox {path}", ["", "value"], [[name.replace("_", " "), value] for name, value in numbers.items()])


@outbox.command()
@click.argument("path", type=_PATH)
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option("--after", type=int, default=0, help="Only rows above this one of the file.")
def peek(path: Path, limit: int, after: int) -> None:
    """Print the oldest waiting results, one JSON object a line, as they will be sent."""
    for line in _lines(path, after, limit):
        click.echo(line)


@outbox.command("export")
@click.argument("path", type=_PATH)
@click.option("-o", "--output", type=click.File("wb"), default="-", help="Where to; '-' = standard output.")
def export_rows(path: Path, output: BinaryIO) -> None:
    """Write every waiting result, one JSON object a line; the outbox keeps them."""
    with progress("exporting") as bar:
        for line in _lines(path, 0, sys.maxsize):
            output.write(line + b"\n")
            bar.advance()


@outbox.command("import")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("source", type=click.File("rb"))
@json_option
def import_rows(path: Path, source: BinaryIO, json_file: str | None) -> None:
    """Put results that `export` wrote into another outbox, whose station is stopped, under its own numbers.

    A result that the monitor had already stored under its old number is stored once more under the new one.
    """
    from edge_sdk.contract.envelope import decode_result
    from edge_sdk.contract.result import FusedResult
    from edge_sdk.outbox.quota import Quota
    from edge_sdk.outbox.sqlite import SqliteOutbox

    accepted, unreadable = 0, 0
    refusing = Quota(on_full="refuse")
    with closing(SqliteOutbox.open(path, clock=SystemClock(), quota=refusing)) as box, progress("importing") as bar:
        group: list[FusedResult] = []
        for line in source:
            try:
                message = decode_result(line)
            except PayloadError:
                unreadable += 1
                continue
            fields = {name: getattr(message, name) for name in FusedResult.__struct_fields__}
            group.append(FusedResult(**fields))
            if len(group) == _CHUNK:
                accepted += len(box.put(group))
                bar.advance(len(group))
                group = []
        accepted += len(box.put(group))
    write_json(json_file, {"imported": accepted, "unreadable": unreadable})
    click.echo(f"{accepted} results imported, {unreadable} lines unreadable", err=json_file == "-")


def _lines(path: Path, after: int, limit: int) -> Iterator[bytes]:
    from edge_sdk.contract.envelope import OutboxRow, encode_result
    from edge_sdk.contract.receipt import Ranges
    from edge_sdk.outbox.body import expanded
    from edge_sdk.outbox.epochs import Epochs
    from edge_sdk.outbox.salvage import is_sound

    with _reading(path) as db:
        meta = read_meta(db)
        receipted = Ranges(meta.receipted)
        rows = db.execute(
            "SELECT seq, stream, body, accepted_ns, crc FROM results WHERE seq > ? ORDER BY seq", (after,)
        )
        sound = (OutboxRow(*found[:4]) for found in rows if found[0] not in receipted and is_sound(*found))
        epochs = Epochs(meta.epochs or ((0, ""),))
        for row in islice(sound, limit):
            epoch = epochs.of(row.seq)
            row = row._replace(body=expanded(row.body))
            yield encode_result(row, station="", epoch=epoch.id, before=epoch.before, backlog=True)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; the station may go on writing."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")
            yield db
    except sqlite3.Error as error:
        cure = "Is it an outbox? If it is, and damaged, the station saves what can be read when it starts."
        raise OutboxError(f"Outbox {path} cannot be read: {error}. {cure}") from error
