"""``edge-sdk demo``: the main job, end to end, on real recordings."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.base import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_sdk.demo.score import Score
    from edge_sdk.demo.workshop import Workpiece

_RUNTIMES = ("litert", "litert", "onnxruntime")


@click.command()
@click.option("--seconds", type=click.FloatRange(min=5), default=60, show_default=True, help="How long it is played.")
@click.option("--no-browser", is_flag=True, help="Do not open the monitor's page.")
@click.option("--evaluate", is_flag=True, help="Instead: five folds of leaving people out; takes minutes.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep store, outboxes and logs in DIR.")
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Where trained networks are kept.")
@terminal.json_option
def demo(
    seconds: float, no_browser: bool, evaluate: bool, keep: Path | None, cache: Path | None, json_file: str | None
) -> None:
    """Train, convert, run three stations with two models each, fuse, deliver, monitor: on this machine.

    Ten people wore a smartwatch and did seven exercises. One network per sensor learns from seven of them;
    the other three are the stations. Half-way the broker is killed for some seconds; watch the backlog drain.
    Exit code 0 only if nothing was lost or doubled, and the fused answer beats the best single sensor.

    \b
    Examples:
      edge-sdk demo
      edge-sdk demo --seconds 30 --no-browser --json demo.json
      edge-sdk demo --evaluate
    """
    from edge_sdk.demo.exercises import load_recordings

    recordings = load_recordings()
    if evaluate:
        _evaluate(json_file)
        return
    from edge_sdk.demo import people as cast
    from edge_sdk.demo import workshop
    from edge_sdk.demo.exercises import SEED, UNSEEN_PEOPLE
    from edge_sdk.demo.play import play
    from edge_sdk.demo.score import judge
    from edge_sdk.demo.show import Show

    with _Telling() as telling:
        made = workshop.cached(cache or cache_directory(), recordings, progress=telling.tell)
    rows = _bundle_rows(made)
    _show_bundles(rows, made)
    directory = keep or Path(tempfile.mkdtemp(prefix="edge-sdk-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    if keep and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty. Name another directory.")
    try:
        persons = [
            cast.prepare(number, recordings, directory, runtime=runtime, seed=SEED)
            for number, runtime in zip(UNSEEN_PEOPLE, _RUNTIMES, strict=True)
        ]
        start_ns: dict[str, int] = {}
        with Show(persons, start_ns, seconds) as show:
            played = play(
                directory,
                persons,
                {name: piece.bundle for name, piece in made.items()},
                next(iter(made.values())).key_file,
                seconds=seconds,
                start_ns=start_ns,
                opened=lambda url: _open(url, no_browser),
                watch=show.watch,
            )
        score = judge(
            played.stored,
            persons,
            start_ns=start_ns,
            accepted=played.accepted,
            epochs=played.epochs,
            bundles=rows,
            seconds=played.seconds,
            broker=played.broker,
        )
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    terminal.write_json(json_file, score)
    if json_file != "-":
        _show_score(score)
    if not score.holds:
        terminal.error("the promise does not hold: something was lost or doubled, or fusion did not beat one sensor")
        sys.exit(1)


class _Telling:
    """A progress bar that changes its words as the work goes on."""

    def __enter__(self) -> _Telling:
        self._bar = terminal.progress("loading").__enter__()
        self._title = ""
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def tell(self, title: str, done: int, total: int) -> None:
        """Say what is being done, and how far it is."""
        if title != self._title:
            self._title = title
            self._bar.say(title)
            if not sys.stderr.isatty():
                click.echo(f"{title} …", err=True)
        self._bar.at(done, total or None)


def cache_directory() -> Path:
    """Where trained networks and their bundles are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-sdk" / "demo"


def _open(url: str, no_browser: bool) -> None:
    click.echo(f"The monitor's page: {url}", err=True)
    if not no_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        import webbrowser

        webbrowser.open(url)


def _bundle_rows(made: Mapping[str, Workpiece]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "format": row["format"],
            "precision": row["precision"],
            "bytes": row["bytes"],
            "accuracy_float": row["float"],
            "accuracy": row["quantized"],
            "interval": row["interval"],
            "latency_ms": row["latency_ms"],
            "float_latency_ms": row["float_latency_ms"],
        }
        for name, piece in made.items()
        for row in piece.report
    ]


def _show_bundles(rows: list[dict[str, Any]], made: Mapping[str, Workpiece]) -> None:
    columns = [
        "bundle",
        "format",
        "precision",
        "bytes",
        "accuracy float",
        "accuracy",
        "95 % interval",
        "float ms",
        "ms",
    ]
    cells = []
    for row in rows:
        low, high = row["interval"]
        cells.append(
            [
                f"{row['name']}.edge",
                *(row[key] for key in ("format", "precision", "bytes", "accuracy_float", "accuracy")),
                f"{low:.3f} to {high:.3f}",
                *(row[key] for key in ("float_latency_ms", "latency_ms")),
            ]
        )
    signer = next(iter(made.values())).bundle.signer
    signed = f"signed by {signer.key_id}" if signer else "not signed"
    terminal.table(f"Bundles, calibrated on seven people, measured on three others, {signed}", columns, cells)


def _show_score(score: Score) -> None:
    rows = []
    for name, value in score.accuracy.items():
        low, high = score.accuracy_interval[name]
        rows.append([name, value, f"{low:.3f} to {high:.3f}"])
    title = f"Accuracy on {score.windows} windows of three unseen people, from the monitor's store"
    terminal.table(title, ["", "accuracy", "95 % interval"], rows)
    counts = [score.results[name] for name in ("made", "stored", "lost", "duplicated", "backlog")]
    terminal.table("Results", ["made", "stored", "lost", "duplicated", "waited in a backlog"], [counts])
    latency = score.latency_ms
    terminal.table(
        f"Latency from last sample to stored, ms ({score.broker}, away for a while)",
        ["", "p50", "p99"],
        [
            ["all results", latency.get("p50", "-"), latency.get("p99", "-")],
            ["without those that waited in a backlog", latency.get("live_p50", "-"), latency.get("live_p99", "-")],
        ],
    )


def _evaluate(json_file: str | None) -> None:
    from edge_sdk.demo.evaluation import Fold, evaluate, mean
    from edge_sdk.demo.exercises import load_recordings

    def said(fold: Fold) -> None:
        click.echo(
            f"without {fold.people}: " + ", ".join(f"{name} {value:.3f}" for name, value in fold.accuracy.items())
        )

    with _Telling() as telling:
        folds = evaluate(load_recordings(), progress=telling.tell, done=said)
    average = mean(folds)
    terminal.write_json(json_file, {"folds": folds, "mean": average})
    if json_file != "-":
        names = list(average)
        rows: list[list[object]] = [
            [", ".join(map(str, fold.people)), fold.n, *(fold.accuracy[name] for name in names)] for fold in folds
        ]
        rows.append(["mean", sum(fold.n for fold in folds), *(average[name] for name in names)])
        terminal.table("int8 bundles on people they never saw", ["people left out", "windows", *names], rows)
