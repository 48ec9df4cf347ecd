"""The local engine: one station after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_sdk.monitor.archive import Archive, Found
from edge_sdk.monitor.backtest.replay import Bench, Question, Replay
from edge_sdk.monitor.backtest.tally import Tally


def run_local(
    question: Question,
    archive: Archive,
    *,
    keep: Callable[[Iterator[Found]], None] | None = None,
    advance: Callable[[int], None] = lambda stations: None,
) -> Tally:
    """Try a question on an archive.

    Args:
        question: What is to be tried.
        archive: The samples, and what was deployed.
        keep: Takes the results; None = they are counted alone.
        advance: Told how many more stations are done.

    Raises:
        BundleError: A bundle must not be used.
        ConfigError: The archive cannot be read.
    """
    bench, total = Bench(question), Tally()

    def results() -> Iterator[Found]:
        for site, station in archive.stations():
            replay = Replay(bench)
            for rows in archive.rows(site, station, question.stream):
                yield from (Found(site, station, *said) for said in replay.feed(rows))
            yield from (Found(site, station, *said) for said in replay.finish())
            total.add(replay.tally)
            advance(1)

    if keep is not None:
        keep(results())
    else:
        for _ in results():
            pass
    return total
