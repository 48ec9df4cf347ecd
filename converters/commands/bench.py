"""``edge-sdk bench``: what a bundle costs on the machine you are on, alone or against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edge_sdk.base import plugins, terminal

if TYPE_CHECKING:
    from edge_sdk.contract.bundle import Bundle


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on this machine.

    Attributes:
        bundle: File name.
        precision: The scheme's name.
        format: ``tflite`` or ``onnx``.
        runtime: With its version.
        p50_ms: Median of one call.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        calls: How many were timed.
        cold_ms: From a process without the runtime to the first answer.
        rss_bytes: Highest resident memory of that process.
    """

    bundle: str
    precision: str
    format: str
    runtime: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    calls: int
    cold_ms: float
    rss_bytes: int


@click.command()
@click.argument("bundle", type=click.Path())
@click.option("--against", type=click.Path(), metavar="BUNDLE", help="Time another bundle in turn with it.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads for one call.")
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True, help="Turns of about 20 ms each.")
@terminal.json_option
def bench(bundle: str, against: str | None, threads: int, rounds: int, json_file: str | None) -> None:
    """Time every variant of BUNDLE here: p50, p95, p99, cold start, memory.

    \b
    Examples:
      edge-sdk bench new.edge --against old.edge
    """
    try:
        timings = measure([bundle, *([against] if against else [])], threads=threads, rounds=rounds)
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("edge-sdk bench", error) from error
    first = timings[0]
    terminal.table(
        f"On this machine, {threads} thread(s)",
        ("bundle", "variant", "runtime", "p50 ms", "p95", "p99", "cold start ms", "RSS MiB", "to the first"),
        [
            (
                each.bundle, f"{each.precision} {each.format}", each.runtime, f"{each.p50_ms:.4f}",
                f"{each.p95_ms:.4f}", f"{each.p99_ms:.4f}", f"{each.cold_ms:.0f}", f"{each.rss_bytes / 2**20:.0f}",
                f"{each.p50_ms / first.p50_ms:.2f}",
            )
            for each in timings
        ],
    )  # fmt: skip
    terminal.write_json(json_file, timings)


def measure(paths: list[str], *, threads: int, rounds: int) -> list[Timing]:
    """Time every variant that has its runtime here, all in turn; cold start and memory each in a fresh process."""
    import numpy as np

    from converters.evaluate.explanation import RUNTIME
    from converters.evaluate.latency import side_by_side
    from converters.evaluate.trial import Trial, TrialJob
    from converters.stage import run_stage, scratch
    from edge_sdk.contract.bundle import read_bundle
    from edge_sdk.contract.trust import Trust
    from edge_sdk.inference.base import BackendRequest

    opened: list[tuple[Bundle, Any, Trial]] = []
    with scratch() as name, terminal.progress("opening in fresh processes") as bar:
        for path in paths:
            bundle = read_bundle(path, Trust(allow_unsigned=True))
            for variant in bundle.manifest.variants:
                runtime = RUNTIME[variant.format]
                (Path(name) / variant.file).write_bytes(bundle.files[variant.file])
                job = TrialJob(runtime=runtime, variant=variant, threads=threads)
                bar.say(f"{variant.precision} {variant.format}")
                trial = run_stage("converters.evaluate.trial", job, Path(name), Trial, say=bar.say)
                opener: Any = plugins.load("edge_sdk.backends", runtime)
                backend = opener(bundle.files[variant.file], variant, BackendRequest(threads=threads))
                opened.append((bundle, backend, trial))

    def call(backend: Any) -> Any:
        window = np.zeros(backend.variant.inputs[0].shape, np.float32)
        return lambda: backend.run([window])

    times = side_by_side([call(backend) for _, backend, _ in opened], rounds=rounds)
    return [
        Timing(
            bundle=bundle.path.name,
            precision=backend.variant.precision,
            format=backend.variant.format,
            runtime=f"{backend.runtime} {backend.version}",
            p50_ms=float(np.quantile(found, 0.50)),
            p95_ms=float(np.quantile(found, 0.95)),
            p99_ms=float(np.quantile(found, 0.99)),
            calls=len(found),
            cold_ms=trial.cold_ms,
            rss_bytes=trial.rss_bytes,
        )
        for (bundle, backend, trial), found in zip(opened, times, strict=True)
    ]
