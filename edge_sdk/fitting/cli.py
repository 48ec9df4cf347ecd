"""``edge-sdk fuse``: fit a fusion to bundles and data, and say how well it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from edge_sdk.base import terminal
from edge_sdk.base.errors import ConfigError

if TYPE_CHECKING:
    from edge_sdk.fusion.file import FusionSpec
    from edge_sdk.inference.model import Model

_PATH = click.Path(path_type=Path, dir_okay=True)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _common(command: _Command) -> _Command:
    """Options of both sub-commands."""
    for option in reversed(
        (
            click.option("--data", required=True, type=_PATH, help="CSV: channels of all bundles, times, the truth."),
            click.option("--group", default="day", show_default=True, help="Column that no split may cut through."),
            click.option(
                "--time",
                default=None,
                help="Column of times, or DATE,TIME. Default: date and time; time, timestamp, datetime or date; "
                "year, month, day, hour; t.",
            ),
            click.option("--trust", multiple=True, type=_PATH, help="Public key whose signatures count; repeatable."),
            click.option("--allow-unsigned", is_flag=True, help="Accept bundles and fusions that nobody signed."),
        )
    ):
        command = option(command)
    return command


@click.group()
def fuse() -> None:
    """Fit how several models become one, and say how well that does.

    \b
    Examples:
      edge-sdk fuse fit --bundles light.edge sound.edge co2.edge --data train.csv --target people -o room.fusion
      edge-sdk fuse evaluate room.fusion --data test.csv --html report.html
    """


@fuse.command(context_settings={"ignore_unknown_options": False})
@click.option("--bundles", "first", required=True, type=_PATH, help="Bundles of the models, one after the other.")
@click.argument("bundles", nargs=-1, type=_PATH)
@_common
@click.option("--target", required=True, help="Column of the truth.")
@click.option("--method", default="auto", show_default=True, help="One fuser, or 'auto' to try all.")
@click.option("--coverage", default=0.9, show_default=True, type=click.FloatRange(0.5, 0.999), help="Of the sets.")
@click.option("--dwell-s", default=0.0, help="Smooth over time: mean time that the truth stays what it is, seconds.")
@click.option(
    "--context",
    multiple=True,
    metavar="NAME=CONDITION",
    help="Learn weights for it, too: 'night=hour < 6'; repeatable.",
)
@click.option("--sign", type=_PATH, help="Signing key; without it the file is unsigned.")
@click.option("-o", "--out", required=True, type=_PATH, help="Where to: NAME.fusion.")
@terminal.json_option
def fit(
    first: Path,
    bundles: tuple[Path, ...],
    data: Path,
    target: str,
    group: str,
    time: str | None,
    trust: tuple[Path, ...],
    allow_unsigned: bool,
    method: str,
    coverage: float,
    dwell_s: float,
    context: tuple[str, ...],
    sign: Path | None,
    out: Path,
    json_file: str | None,
) -> None:
    """Try every method by leaving each group out in turn; write the best.

    The best is the one that does best on average over three cases: all sensors as they are, one absent, and one that
    says what is not so.

    The data must not be what the models were trained on: they are too sure of that.
    """
    from edge_sdk.contract.trust import SigningKey
    from edge_sdk.fitting import fit as fitting
    from edge_sdk.fitting.table import Table, record
    from edge_sdk.fusion.chain import Smoothing
    from edge_sdk.fusion.file import write_fusion

    models = _models((first, *bundles), trust, allow_unsigned)
    with _guards_in_one_line(models):
        given = record(Table.read(data, time=time).apart(group), models, target=target, group=group)
    with terminal.progress("trying methods"):
        found = fitting.fit(
            given,
            method=method,
            coverage=coverage,
            contexts=_contexts(context),
            smoothing=Smoothing(dwell_s=dwell_s) if dwell_s else None,
            bundles={model.name: model.bundle.digest for model in models},
        )
    files = {model.name: path.name for model, path in zip(models, (first, *bundles), strict=True)}
    spec = msgspec.structs.replace(found.spec, provenance=found.spec.provenance | {"target": target, "files": files})
    write_fusion(out, spec, key=SigningKey.read(sign) if sign else None)
    if json_file != "-":
        measure = "accuracy" if given.task == "classification" else "MAE"
        _table(
            f"{len(given)} moments, each {group} left out in turn",
            [(one.title, one.score) for one in found.table],
            given.task,
            {
                f"{measure}, one absent": [one.absent for one in found.table],
                f"{measure}, one astray": [one.astray for one in found.table],
            },
        )
        click.echo(f"{out}: {found.chosen}")
        if sign is None:
            terminal.warning(f"{out} is not signed; stations want `--sign KEY`, or `allow_unsigned: true`.")
    terminal.write_json(json_file, {"file": str(out), "chosen": found.chosen, "rows": found.table})


@fuse.command()
@click.argument("fusion", type=_PATH)
@click.option(
    "--bundles",
    "first",
    type=_PATH,
    help="Bundles of the models, one after the other. Default: those it was fitted with, beside it or in this folder.",
)
@click.argument("bundles", nargs=-1, type=_PATH)
@_common
@click.option("--target", help="Column of the truth. Default: the one that it was fitted to.")
@click.option(
    "--train",
    type=_PATH,
    help="CSV that early fusion and other methods learn from; default: the other groups of --data.",
)
@click.option("--methods/--no-methods", default=True, show_default=True, help="Also every method that `fit` tries.")
@click.option("--html", type=_PATH, help="Also write a page with plots.")
@terminal.json_option
def evaluate(
    fusion: Path,
    first: Path | None,
    bundles: tuple[Path, ...],
    data: Path,
    target: str | None,
    group: str,
    time: str | None,
    trust: tuple[Path, ...],
    allow_unsigned: bool,
    train: Path | None,
    methods: bool,
    html: Path | None,
    json_file: str | None,
) -> None:
    """Score a fusion on test data: whole, and with one or two sensors absent, stale, noisy or stuck.

    Beside it stand each model alone; early fusion, one model on the windows of all sensors, which no station runs;
    and every other method. Figures come with 95 % intervals.
    """
    from edge_sdk.fitting import early
    from edge_sdk.fitting.evaluate import Answers, short
    from edge_sdk.fitting.evaluate import evaluate as scored
    from edge_sdk.fitting.evaluate import methods as every_method
    from edge_sdk.fitting.table import Table, opinion, record
    from edge_sdk.fusion.file import read_fusion

    spec = read_fusion(fusion, _trust(trust, allow_unsigned))
    models = _models((first, *bundles) if first else _fitted_with(fusion, spec), trust, allow_unsigned)
    target = target or str(spec.provenance.get("target", ""))
    if not target:
        raise ConfigError(f"{fusion} does not say what it was fitted to; name the column of the truth: --target NAME.")
    named = {model.name: model.bundle.digest for model in models}
    for name, digest in spec.contributors.items():
        if name not in named:
            raise ConfigError(f"{fusion} was fitted with model {name!r}; name its bundle too.")
        if digest not in {"", named[name]}:
            terminal.warning(f"{fusion} was fitted with another bundle of {name!r}: its weights may not fit this one.")
    table = Table.read(data, time=time).apart(group)
    with _guards_in_one_line(models):
        given = record(table, models, target=target, group=group)
    learned = None
    if train is not None:
        other = Table.read(train, time=time).apart(group)
        with _guards_in_one_line(()):
            seen = record(other, models, target=target, group=group)
        learned = (early.Features.of(other, models, seen), seen)
    by_name = {model.name: model for model in models}
    beside: dict[str, Answers] = {}
    if learned is None and len(set(given.groups.tolist())) == 1:
        terminal.warning(f"{data} is all one {group}: early fusion and other methods learn from --train FILE.")
    else:
        with terminal.progress("fitting what stands beside"):
            beside[early.TITLE] = early.fused(early.Features.of(table, models, given), given, learned=learned)
            if methods:
                beside |= every_method(given, None if learned is None else learned[1])
    with _guards_in_one_line(()), terminal.progress("trying troubles"):
        lines = scored(
            spec,
            given,
            spoilt=lambda name, spoil: opinion(table, by_name[name], spoil, given),
            beside=beside,
        )
    if html is not None:
        from edge_sdk.fitting.page import page

        html.write_text(page(fusion.name, spec, given, lines), encoding="utf-8")
    if json_file != "-":
        _table(f"{fusion.name} ({spec.method}) on {len(given)} moments of {data.name}", short(lines), given.task)
    terminal.write_json(json_file, {"rows": lines})


@contextmanager
def _guards_in_one_line(models: Sequence[Model]) -> Iterator[None]:
    """Say at the end how often each guard refused, instead of each time that one begins to."""
    log = logging.getLogger("edge_sdk.inference.model")

    def keep(record: logging.LogRecord) -> bool:
        return record.msg != "guard refuses"

    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)
    for model in models:
        for name, count in sorted(model.counters.items()):
            if name.startswith("guards."):
                reason = name.split(".")[1]
                terminal.warning(f"{model.name}: {count} windows refused ({reason}); there it counts as rejected.")


def _fitted_with(fusion: Path, spec: FusionSpec) -> list[Path]:
    """The bundles that a fusion was fitted with, by their names as files."""
    files: dict[str, str] = spec.provenance.get("files", {})
    found = []
    for name in spec.contributors:
        places = [folder / files.get(name, f"{name}.edge") for folder in (fusion.parent, Path())]
        there = next((place for place in places if place.exists()), None)
        if there is None:
            raise ConfigError(f"{fusion} was fitted with {places[0].name}, not found; name all with --bundles.")
        found.append(there)
    return found


def _contexts(given: Sequence[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, between, when in pairs:
        if not (name.strip() and between and when.strip()):
            raise ConfigError(
                f"--context is {name + between + when!r}; wanted is NAME=CONDITION, such as 'night=hour < 6'."
            )
    return {name.strip(): when.strip() for name, _, when in pairs}


def _models(paths: Sequence[Path], trust: Sequence[Path], allow_unsigned: bool) -> list[Any]:
    from edge_sdk.inference.model import Model

    believed = _trust(trust, allow_unsigned)
    return [Model.open(path, trust=believed) for path in paths]


def _trust(paths: Sequence[Path], allow_unsigned: bool) -> Any:
    from edge_sdk.contract.trust import Trust

    return Trust.of(paths, allow_unsigned=allow_unsigned)


def _table(
    title: str, rows: Sequence[tuple[str, Any]], task: str, more: Mapping[str, Sequence[float | None]] | None = None
) -> None:
    from edge_sdk.fitting.evaluate import cell, columns

    shown, others = columns(task), more or {}
    terminal.table(
        title,
        ["method", *(heading for _, heading in shown), *others],
        [
            [
                name,
                *(cell(given, attribute) for attribute, _ in shown),
                *(_cell(column[index]) for column in others.values()),
            ]
            for index, (name, given) in enumerate(rows)
        ],
    )


def _cell(value: float | None) -> float | str:
    return "-" if value is None else value
