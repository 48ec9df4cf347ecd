"""The proof: every variant runs on the runtime that serves, and is compared with the float source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.evaluate.elsewhere import answers_there
from converters.evaluate.judgement import as_told, confusions, features_lost, measured, worst_difference
from converters.evaluate.latency import median_ms, side_by_side
from converters.evaluate.layers import LayerError, layer_errors
from converters.evaluate.temperature import Temper, fit_temperature
from converters.recipe import Recipe
from converters.scheme import Scheme
from converters.stage import at, serve
from converters.targets.outputs import answer_first
from edge_sdk.base import plugins
from edge_sdk.base.errors import ConversionError, EdgeError
from edge_sdk.contract.manifest import Metric, Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.base import Backend, BackendRequest

N_CHECKS = 8
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}
FORMAT = {"litert": "tflite", "tflite": "tflite", "onnxruntime": "onnx"}


class ProofJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be proved.

    Attributes:
        recipe: The completed recipe.
        schemes: Variants in the job's folder; the float32 ones of their formats are there too.
        is_held_out: The evaluation windows are none of the calibration's.
        may_fail: A variant that answers wrongly is named in the answer instead of ending the work.
        truth: Whether ``truth.npy`` holds what the evaluation windows are.
        pythons: Interpreters of other environments, by the runtime that each has: the variants run there, too.
    """

    recipe: Recipe
    schemes: tuple[Scheme, ...]
    truth: bool
    is_held_out: bool = False
    may_fail: bool = False
    pythons: dict[str, str] = {}


class There(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant answered on a runtime of another environment.

    Attributes:
        runtime: ``tflite`` …
        version: Of the runtime.
        metric: On the evaluation data.
        worst: Largest difference of any output from the float source's.
    """

    runtime: str
    version: str
    metric: Metric
    worst: float


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one variant.

    Attributes:
        inputs: Its input tensors.
        outputs: Its output tensors.
        metric: On the evaluation data.
        latency_ms: p50 of one call, one thread, on this machine.
        float_latency_ms: The same of float32 in the same format, in turn with it.
        tolerance: Largest difference from its recorded answers that is still right elsewhere.
        worst: Largest difference of any output from the float source's.
        runtime: ``litert 2.3.0`` …
        layers: Error of each layer against the float32 model of the same format, on the check inputs.
        features_error: Root mean square difference of the features from the float source's, as a share of their own
            spread; None where the model hands on none.
        elsewhere: The same on runtimes of other environments.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metric: Metric
    latency_ms: float
    float_latency_ms: float
    tolerance: float
    worst: float
    runtime: str
    layers: tuple[LayerError, ...] = ()
    features_error: float | None = None
    elsewhere: tuple[There, ...] = ()


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of all, in the order of the job; check vectors lie in the job's folder.

    Attributes:
        variants: One for each scheme that did not fail.
        failed: Why a variant must not be deployed, by its scheme's name.
        error_std: Standard deviation of the first variant's error against the truth (regression).
        confusion: Of the first variant: rows are the truth, columns its answers; empty without truth or classes.
        temper: The temperature of the first variant's probabilities; None where none was fitted.
    """

    variants: tuple[Proven, ...]
    failed: dict[str, str] = {}
    error_std: float | None = None
    confusion: tuple[tuple[int, ...], ...] = ()
    temper: Temper | None = None


class _Opened(NamedTuple):
    scheme: Scheme
    backend: Backend
    variant: Variant


def prove(job: ProofJob, folder: Path) -> Proof:
    """Open, run, compare, time."""
    path = folder / "evaluation.npy"
    data: NDArray[np.float32] = np.load(path if path.is_file() else folder / "calibration.npy", allow_pickle=False)
    source: NDArray[np.float32] = np.load(folder / "source_answers.npy", allow_pickle=False)
    truth = np.load(folder / "truth.npy", allow_pickle=False) if job.truth else None
    path = folder / "source_features.npy"
    source_features = np.load(path, allow_pickle=False) if path.is_file() else None
    checks = _choose_checks(source)
    floats = {scheme.format: _open(Scheme(scheme.format, "float32"), folder) for scheme in job.schemes}
    proven: list[Proven] = []
    failed: dict[str, str] = {}
    error_std, temper = None, None
    confusion: tuple[tuple[int, ...], ...] = ()
    wants_temper = job.recipe.task == "classification" and job.recipe.temperature is None and job.is_held_out
    for scheme in job.schemes:
        at(f"proving {scheme} on {RUNTIME[scheme.format]}")
        try:
            opened = _open(scheme, folder)
            shape = opened.variant.inputs[0].shape
            inputs = [np.ascontiguousarray(window.reshape(shape)) for window in data]
            answers, *features = _run(opened, inputs)
            worst = worst_difference(scheme, answers, source)
            lost = None if source_features is None else features_lost(scheme, features, source_features)
            told = as_told(job.recipe, answers, data)
            told_source = as_told(job.recipe, source, data)
            elsewhere = tuple(
                There(
                    runtime=runtime,
                    version=version,
                    metric=measured(job.recipe, as_told(job.recipe, found, data), told_source, truth),
                    worst=worst_difference(scheme, found, source, where=f" on {runtime} {version}"),
                )
                for runtime, found, version in _elsewhere(job, opened, folder, inputs)
            )
        except ConversionError as error:
            if not job.may_fail:
                raise
            failed[str(scheme)] = str(error)
            continue
        one = inputs[0]
        times = side_by_side([_call(floats[scheme.format].backend, one), _call(opened.backend, one)])
        np.save(folder / "check_input.npy", np.concatenate([inputs[index] for index in checks]))
        np.save(folder / f"{scheme.file}.check.npy", answers[checks])
        if job.recipe.task == "regression" and truth is not None and error_std is None and not job.recipe.reconstructs:
            error_std = float(np.std(told[:, 0] - truth))
        if not proven and truth is not None and job.recipe.task == "classification":
            confusion = confusions(answers, truth, len(job.recipe.labels))
        if wants_temper and truth is not None and not proven:
            temper = fit_temperature(answers, truth)
        proven.append(
            Proven(
                inputs=opened.variant.inputs,
                outputs=opened.variant.outputs,
                metric=measured(job.recipe, told, told_source, truth),
                latency_ms=median_ms(times[1]),
                float_latency_ms=median_ms(times[0]),
                tolerance=_tolerance(opened, [inputs[index] for index in checks], answers[checks], answers),
                worst=worst,
                runtime=f"{opened.backend.runtime} {opened.backend.version}",
                layers=_layers(scheme, folder, [inputs[index] for index in checks]),
                features_error=lost,
                elsewhere=elsewhere,
            )
        )
        opened.backend.close()
    return Proof(variants=tuple(proven), failed=failed, error_std=error_std, confusion=confusion, temper=temper)


def _open(scheme: Scheme, folder: Path) -> _Opened:
    """Open a variant as a station would."""
    content = (folder / scheme.file).read_bytes()
    if scheme.format == "tflite":
        from edge_sdk.inference.litert import tensors
    else:
        from edge_sdk.inference.onnxruntime import tensors
    try:
        inputs, outputs = tensors(content)
        if scheme.format == "tflite":
            outputs = answer_first(content, outputs)
        variant = Variant(
            file=scheme.file, format=scheme.format, precision=scheme.precision, inputs=inputs, outputs=outputs
        )
        opener: Any = plugins.load("edge_sdk.backends", RUNTIME[scheme.format])
        return _Opened(scheme, opener(content, variant, BackendRequest()), variant)
    except EdgeError as error:
        raise ConversionError(f"{RUNTIME[scheme.format]} cannot run the {scheme.precision} model: {error}") from error


def _elsewhere(
    job: ProofJob, opened: _Opened, folder: Path, inputs: list[NDArray[np.float32]]
) -> Iterator[tuple[str, NDArray[np.float32], str]]:
    """Each other environment's runtime that reads the format, the answers there, and its version."""
    for runtime, python in job.pythons.items():
        if FORMAT[runtime] == opened.scheme.format:
            at(f"proving {opened.scheme} on {runtime} of {python}")
            content = (folder / opened.scheme.file).read_bytes()
            yield runtime, *answers_there(python, runtime, content, opened.variant.outputs[0].name, inputs)


def _call(backend: Backend, window: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: backend.run([window])


def _run(opened: _Opened, inputs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The answers ``(n, n_answers)``, then the features where there are any."""
    try:
        answers = [opened.backend.run([window]) for window in inputs]
        return [np.stack([output.reshape(-1) for output in outputs]) for outputs in zip(*answers, strict=True)]
    except EdgeError as error:
        raise ConversionError(f"The {opened.scheme.precision} model fails where it should serve: {error}") from error


def _choose_checks(source: NDArray[np.float32]) -> NDArray[np.intp]:
    """Windows whose answers differ: for each class its surest, then evenly spread ones."""
    surest = [int(source[:, column].argmax()) for column in range(source.shape[1])] if source.shape[1] > 1 else []
    ordered = np.argsort(source[:, 0], kind="stable")
    spread = ordered[np.linspace(0, len(source) - 1, min(N_CHECKS, len(source))).round().astype(int)]
    chosen = list(dict.fromkeys([*surest[: N_CHECKS - 2], *(int(index) for index in spread)]))
    return np.asarray(chosen[:N_CHECKS], dtype=np.intp)


def _layers(scheme: Scheme, folder: Path, checks: list[NDArray[np.float32]]) -> tuple[LayerError, ...]:
    if scheme.precision == "float32":
        return ()
    floating = (folder / Scheme(scheme.format, "float32").file).read_bytes()
    return layer_errors(floating, (folder / scheme.file).read_bytes(), checks)


def _tolerance(
    opened: _Opened, inputs: list[NDArray[np.float32]], answers: NDArray[np.float32], every: NDArray[np.float32]
) -> float:
    """How far the same model may be off on another processor.

    Kernels of x86 and arm round differently by single quanta; what that does to the output is seen by nudging the
    input by one quantum (float: by 2⁻⁹ of its range, which is half precision on an accelerator). At most half of
    what the answers spread over, so that an output of zeros never passes.
    """
    spec, out = opened.variant.inputs[0], opened.variant.outputs[0]
    rng = np.random.default_rng(0)
    worst = 0.0
    for window, answer in zip(inputs, answers, strict=True):
        step = spec.scale or float(np.ptp(window)) * 2.0**-9
        for _ in range(4):
            nudged = (window + step * rng.choice([-1.0, 0.0, 1.0], window.shape)).astype(np.float32)
            worst = max(worst, float(np.abs(opened.backend.run([nudged])[0].reshape(-1) - answer).max()))
    spread = float(np.ptp(every, axis=0).max())
    return float(min(max(4 * out.scale, 3 * worst, 1e-3 * max(spread, 1e-3)), max(0.5 * spread, 4 * out.scale)))


if __name__ == "__main__":
    serve(ProofJob, prove)
