"""``edge-sdk bench``: what a bundle costs on the machine you are on, alone or against another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from edge_sdk.base import plugins, terminal
from edge_sdk.base.errors import BackendError, BundleError, InferenceError

if TYPE_CHECKING:
    from edge_sdk.contract.bundle import Bundle
    from edge_sdk.contract.manifest import Coverage, Variant
    from edge_sdk.inference.base import Backend, BackendRequest

_RUNTIMES = {"litert": "litert", "tflite": "tflite", "onnx": "onnxruntime", "onnxruntime": "onnxruntime"}
_READS = {"litert": "tflite", "tflite": "tflite", "onnxruntime": "onnx"}


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One variant on this machine.

    Attributes:
        bundle: File name.
        precision: The scheme's name.
        format: ``tflite`` or ``onnx``.
        runtime: With its version.
        delegates: Delegates or providers that really took operations, with the share of each, 0 to 1.
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
    delegates: dict[str, float]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    calls: int
    cold_ms: float
    rss_bytes: int


class Refusal(NamedTuple):
    """A variant that could not be run as asked.

    Attributes:
        what: Which.
        why: The error.
    """

    what: str
    why: BackendError


@click.command()
@click.argument("bundle", type=click.Path(), required=False)
@click.option("--plan", type=click.Path(), metavar="STATION.YAML", help="Instead: how a station would share the cores.")
@click.option("--against", type=click.Path(), metavar="BUNDLE", help="Time another bundle in turn with it.")
@click.option("--runtime", type=click.Choice(["litert", "tflite", "onnx"]), help="Force it; default: what serves each.")
@click.option(
    "--delegate",
    "delegates",
    multiple=True,
    metavar="NAME|LIBRARY",
    help="Force it: none, xnnpack, edgetpu, gpu, cuda, tensorrt … or a delegate's .so; may be given several times.",
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the first delegate.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads for one call.")
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True, help="Turns of about 20 ms each.")
@terminal.json_option
@click.pass_context
def bench(
    context: click.Context,
    bundle: str | None,
    plan: str | None,
    against: str | None,
    runtime: str | None,
    delegates: tuple[str, ...],
    options: tuple[str, ...],
    threads: int,
    rounds: int,
    json_file: str | None,
) -> None:
    """Time every variant of BUNDLE here: p50, p95, p99, cold start, memory.

    With --runtime or --delegate, what is named runs or nothing does: it is never replaced by the CPU. What really took
    the operations is read back and shown; a variant that it refuses, or answers wrongly, is named with the reason.

    \b
    Examples:
      edge-sdk bench new.edge --against old.edge
      edge-sdk bench light.edge --runtime litert --delegate none
      edge-sdk bench light.edge --runtime onnx --delegate cuda
      edge-sdk bench --plan station.yaml
    """
    if (bundle is None) == (plan is None):
        raise click.UsageError("Give a BUNDLE to time, or --plan with a station's configuration.")
    if bundle is None:
        station: click.Group = plugins.load("edge_sdk.commands", "station")
        context.invoke(station.commands["plan"], config=Path(plan or ""), json_file=json_file)
        return
    from edge_sdk.inference.base import BackendRequest

    try:
        request = BackendRequest(threads=threads, delegates=_delegates(delegates, options))
        paths = [bundle, *([against] if against else [])]
        timings, refusals = measure(paths, request, runtime=runtime, rounds=rounds)
    except ModuleNotFoundError as error:
        raise plugins.missing_extra("edge-sdk bench", error) from error
    if not timings:
        raise refusals[0].why
    for refusal in refusals:
        terminal.warning(f"{refusal.what}: {refusal.why}")
    terminal.write_json(json_file, timings)
    if json_file != "-":
        _show(timings, threads)


def _show(timings: list[Timing], threads: int) -> None:
    first = timings[0]
    terminal.table(
        f"On this machine, {threads} thread(s)",
        ("bundle", "variant", "runtime", "ran on", "p50 ms", "p95", "p99", "cold start ms", "RSS MiB", "to the first"),
        [
            (
                each.bundle, f"{each.precision} {each.format}", each.runtime,
                ", ".join(f"{name} {share:.0%}" for name, share in each.delegates.items()) or "no delegate",
                f"{each.p50_ms:.4f}", f"{each.p95_ms:.4f}", f"{each.p99_ms:.4f}",
                f"{each.cold_ms:.0f}", f"{each.rss_bytes / 2**20:.0f}", f"{each.p50_ms / first.p50_ms:.2f}",
            )
            for each in timings
        ],
    )  # fmt: skip


def measure(
    paths: list[str], request: BackendRequest, *, runtime: str | None = None, rounds: int
) -> tuple[list[Timing], list[Refusal]]:
    """Time every variant that runs here as asked, all in turn; cold start and memory each in a fresh process.

    Args:
        paths: Bundles.
        request: How each is run.
        runtime: ``litert``, ``tflite`` or ``onnx``; None = for each variant what serves it by default.
        rounds: Turns of each.

    Raises:
        BundleError: None of them has a variant for that runtime.
    """
    import numpy as np

    from converters.evaluate.latency import side_by_side
    from converters.stage import scratch
    from edge_sdk.contract.bundle import read_bundle
    from edge_sdk.contract.trust import Trust

    bundles = [read_bundle(path, Trust(allow_unsigned=True)) for path in paths]
    jobs = [
        (bundle, variant, name)
        for bundle in bundles
        for variant in bundle.manifest.variants
        if _READS[name := _RUNTIMES[runtime or _default(variant)]] == variant.format
    ]
    if not jobs:
        raise BundleError(
            f"{bundles[0].path.name} has no variant that {runtime} reads. Leave --runtime out, or convert with "
            f"--format {'onnx' if runtime == 'onnx' else 'tflite'}."
        )
    opened, refusals = [], []
    with scratch() as folder, terminal.progress("opening in fresh processes") as bar:
        for bundle, variant, name in jobs:
            what = f"{variant.precision} {variant.format}"
            bar.say(what)
            try:
                opened.append((bundle, *_open(bundle, variant, name, request, Path(folder))))
            except BackendError as error:
                refusals.append(Refusal(f"{bundle.path.name}, {what}", error))

    def call(backend: Backend) -> Any:
        window = np.zeros(backend.variant.inputs[0].shape, np.float32)
        return lambda: backend.run([window])

    times = side_by_side([call(backend) for _, backend, *_ in opened], rounds=rounds)
    timings = [
        Timing(
            bundle=bundle.path.name,
            precision=backend.variant.precision,
            format=backend.variant.format,
            runtime=f"{backend.runtime} {backend.version}",
            delegates=_shares(backend.coverage),
            p50_ms=float(np.quantile(found, 0.50)),
            p95_ms=float(np.quantile(found, 0.95)),
            p99_ms=float(np.quantile(found, 0.99)),
            calls=len(found),
            cold_ms=cold_ms,
            rss_bytes=rss_bytes,
        )
        for (bundle, backend, cold_ms, rss_bytes), found in zip(opened, times, strict=True)
        if not _lost(backend)
    ]
    for bundle, backend, *_ in opened:
        if why := _lost(backend):
            what = f"{bundle.path.name}, {backend.variant.precision} {backend.variant.format}"
            refusals.append(Refusal(what, InferenceError(f"The delegate failed while it was timed: {why}")))
        backend.close()
    return timings, refusals


def _open(
    bundle: Bundle, variant: Variant, runtime: str, request: BackendRequest, folder: Path
) -> tuple[Backend, float, int]:
    """Open a variant; with the milliseconds and the resident memory of a fresh process that does."""
    import numpy as np

    from converters.evaluate.trial import Trial, TrialJob, peak_bytes
    from converters.stage import run_stage
    from edge_sdk.inference.opening import open_variant
    from edge_sdk.inference.standby import Standby

    begun = time.perf_counter()
    backend = open_variant(bundle, runtime, variant, request)
    if isinstance(backend, Standby):  # a fresh process it is already
        backend.run([np.zeros(variant.inputs[0].shape, np.float32)])
        return backend, (time.perf_counter() - begun) * 1e3, peak_bytes(backend.host)
    (folder / variant.file).write_bytes(bundle.files[variant.file])
    job = TrialJob(runtime=runtime, variant=variant, threads=request.threads, delegates=request.delegates)
    trial = run_stage("converters.evaluate.trial", job, folder, Trial, say=lambda _: None)
    return backend, trial.cold_ms, trial.rss_bytes


def _lost(backend: Backend) -> str:
    """Why the CPU took over from a delegate; empty when it did not, or there is none."""
    from edge_sdk.inference.standby import Standby

    return backend.last_loss if isinstance(backend, Standby) else ""


def _shares(coverage: tuple[Coverage, ...]) -> dict[str, float]:
    return {part.delegate: round(part.share_of_operations, 4) for part in coverage if part.share_of_operations}


def _default(variant: Variant) -> str:
    from converters.evaluate.explanation import RUNTIME

    return RUNTIME[variant.format]


def _delegates(names: tuple[str, ...], options: tuple[str, ...]) -> Any:
    from edge_sdk.inference.delegates import wanted

    chosen = wanted(names)
    if not options:
        return chosen
    if not chosen:
        raise click.BadOptionUsage("--option", "An option is one of a delegate: name it with --delegate.")
    pairs = [option.partition("=") for option in options]
    if wrong := next((option for option, (_, equals, _) in zip(options, pairs, strict=True) if not equals), None):
        raise click.BadOptionUsage("--option", f"{wrong!r} is no KEY=VALUE.")
    return (msgspec.structs.replace(chosen[0], options={key: value for key, _, value in pairs}), *chosen[1:])
