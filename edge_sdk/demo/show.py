"""The show: the fleet, live in the terminal; a plain line now and then where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from edge_sdk.contract.result import FusedResult
from edge_sdk.demo.people import STREAM, Person
from edge_sdk.demo.play import Scene
from edge_sdk.monitor.store.views import StationView

if TYPE_CHECKING:
    from typing_extensions import Self

_PLAIN_EVERY_S = 5.0
_COLUMNS = ("station", "person does", "fused", "confidence", "accelerometer says", "gyroscope says", "backlog", "state")


class Show:
    """Draws scenes as they come."""

    def __init__(self, people: Sequence[Person], start_ns: dict[str, int], seconds: float) -> None:
        self._people = {person.station: person for person in people}
        self._start_ns, self._seconds = start_ns, seconds
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._said_s = -_PLAIN_EVERY_S

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def watch(self, scene: Scene) -> None:
        """Draw one scene."""
        stored = scene.reader.counters().results
        broker = "broker CUT OFF" if scene.broker_is_cut else "broker up"
        line = f"{scene.elapsed_s:5.1f} of {self._seconds:g} s   {stored} results stored   {broker}   {scene.url}"
        if self._live:
            self._live.update(self._table(scene, line), refresh=True)
        elif scene.elapsed_s >= self._said_s + _PLAIN_EVERY_S:
            self._said_s = scene.elapsed_s
            click.echo(line, err=True)

    def _table(self, scene: Scene, line: str) -> Table:
        table = Table(title=line, title_justify="left", title_style="red bold" if scene.broker_is_cut else "bold")
        for column in _COLUMNS:
            table.add_column(column, min_width=9)
        for station in scene.reader.fleet(now_ns=0).stations:
            if station.station in self._people:
                table.add_row(*self._row(scene, station))
        return table

    def _row(self, scene: Scene, station: StationView) -> list[str]:
        newest = list(scene.reader.results(station=station.station, stream=STREAM, limit=1))
        state = [str(station.backlog or 0), station.state]
        if not newest:
            return [station.station, "", "", "", "", "", *state]
        result = msgspec.json.decode(newest[0].body, type=FusedResult)
        at_s = (newest[0].t_ns - self._start_ns[station.station]) / 1e9
        truth = self._people[station.station].timeline.truth(at_s) or "between two"
        said = {one.model: _colour(one.label, truth) for one in result.contributors}
        confidence = "" if result.confidence is msgspec.UNSET else f"{result.confidence:.2f}"
        fused = _colour(result.label, truth)
        return [station.station, truth, fused, confidence, *(said.get(name, "") for name in _SAYS), *state]


_SAYS = ("accelerometer", "gyroscope")


def _colour(label: str | msgspec.UnsetType, truth: str) -> str:
    if label is msgspec.UNSET:
        return "[dim]no answer[/]"
    return f"[green]{label}[/]" if label == truth else f"[yellow]{label}[/]"
