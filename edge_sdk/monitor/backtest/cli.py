"""``edge-sdk monitor backtest``: a new bundle over what the stations measured, beside what they said then."""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.base import plugins, terminal
from edge_sdk.base.errors import ConfigError

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--bundle", "bundles", multiple=True, required=True, type=_PATH, help="A new bundle; repeatable.")
@click.option("--fusion", type=_PATH, help="Fusion file; default: log-opinion pool.")
@click.option("--data", required=True, help="Parquet of samples: a directory, or a URL like s3://…")
@click.option("--deployed", help="Parquet of results to compare with, as `monitor export --format parquet` writes it.")
@click.option("--stream", help="Only deployed results of this stream.")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True)
@click.option("--master", default="local[*]", show_default=True, help="Of Spark: local[2], spark://HOST:7077 …")
@click.option("--tolerance-s", default=0.5, show_default=True, help="So near in time is the same moment.")
@click.option("--trust", multiple=True, type=_PATH, help="Public key whose signatures count; repeatable.")
@click.option("--allow-unsigned", is_flag=True, help="Accept bundles and fusions that nobody signed.")
@click.option("--out", type=_PATH, help="Keep the results: a new directory.")
@terminal.json_option
def backtest(
    bundles: tuple[Path, ...],
    fusion: Path | None,
    data: str,
    deployed: str | None,
    stream: str | None,
    engine: str,
    master: str,
    tolerance_s: float,
    trust: tuple[Path, ...],
    allow_unsigned: bool,
    out: Path | None,
    json_file: str | None,
) -> None:
    """Run new bundles through the stations' own pipeline code over archived samples, and compare.

    \b
    Examples:
      edge-sdk monitor backtest --bundle new.edge --trust key.pub --data samples
      edge-sdk monitor backtest --bundle light.edge --bundle sound.edge --fusion room.fusion --trust key.pub \\
          --data samples --deployed results --engine spark --master spark://spark.example:7077
    """
    try:
        from edge_sdk.monitor.backtest.replay import Question

        question = Question(
            bundles=tuple(str(path.resolve()) for path in bundles),
            fusion=None if fusion is None else str(fusion.resolve()),
            keys=tuple(_read(path) for path in trust),
            allow_unsigned=allow_unsigned,
            stream=stream,
            tolerance_s=tolerance_s,
        )
        if out is not None and out.exists():
            raise ConfigError(f"{out} is there already. Give a new directory.")
        if engine == "spark":
            from edge_sdk.monitor.backtest.pyspark import run_spark

            total = run_spark(question, _absolute(data), deployed and _absolute(deployed), master=master, keep=out)
        else:
            from edge_sdk.monitor.archive import Archive, write_results
            from edge_sdk.monitor.backtest.local import run_local

            archive = Archive(data, deployed)
            with terminal.progress("replaying") as bar:
                keep = None if out is None else lambda found: write_results(out / "part-00000.parquet", found)
                total = run_local(question, archive, keep=keep, advance=bar.advance)
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("A back-test", error) from error
    report = total.report()
    terminal.write_json(json_file, {**report, "tally": total})
    if json_file != "-":
        rows = [
            [name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else value]
            for name, value in report.items()
            if value is not None
        ]
        terminal.table("Back-test", ["what", "value"], rows)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).resolve())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The key {path} cannot be read: {error}.") from error
