"""The proof: every variant runs on the runtime that serves, and is compared with the float source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.evaluate.interval import auc, mean_interval, wilson
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
_MANY_LABELS = 32
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}


class ProofJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be proved.

    Attributes:
        recipe: The completed recipe.
        schemes: Variants in the job's folder; the float32 ones of their formats are there too.
        is_held_out: The evaluation windows are none of the calibration's.
        may_fail: A variant that answers wrongly is named in the answer instead of ending the work.
        truth: Whether ``truth.npy`` holds what the evaluation windows are.
    """

    recipe: Recipe
    schemes: tuple[Scheme, ...]
    truth: bool
    is_held_out: bool = False
    may_fail: bool = False


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
            worst = _compare(scheme, answers, source)
            lost = None if source_features is None else _lost(scheme, features, source_features)
        except ConversionError as error:
            if not job.may_fail:
                raise
            failed[str(scheme)] = str(error)
            continue
        one = inputs[0]
        times = side_by_side([_call(floats[scheme.format].backend, one), _call(opened.backend, one)])
        np.save(folder / "check_input.npy", np.concatenate([inputs[index] for index in checks]))
        np.save(folder / f"{scheme.file}.check.npy", answers[checks])
        told = _told(job.recipe, answers, data)
        if job.recipe.task == "regression" and truth is not None and error_std is None and not job.recipe.reconstructs:
            error_std = float(np.std(told[:, 0] - truth))
        if not proven and truth is not None and job.recipe.task == "classification":
            confusion = _confusion(answers, truth, len(job.recipe.labels))
        if wants_temper and truth is not None and not proven:
            temper = fit_temperature(answers, truth)
        proven.append(
            Proven(
                inputs=opened.variant.inputs,
                outputs=opened.variant.outputs,
                metric=_metric(job.recipe, told, _told(job.recipe, source, data), truth),
                latency_ms=median_ms(times[1]),
                float_latency_ms=median_ms(times[0]),
                tolerance=_tolerance(opened, [inputs[index] for index in checks], answers[checks], answers),
                worst=worst,
                runtime=f"{opened.backend.runtime} {opened.backend.version}",
                layers=_layers(scheme, folder, [inputs[index] for index in checks]),
                features_error=lost,
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


def _call(backend: Backend, window: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: backend.run([window])


def _run(opened: _Opened, inputs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The answers ``(n, n_answers)``, then the features where there are any."""
    try:
        answers = [opened.backend.run([window]) for window in inputs]
        return [np.stack([output.reshape(-1) for output in outputs]) for outputs in zip(*answers, strict=True)]
    except EdgeError as error:
        raise ConversionError(f"The {opened.scheme.precision} model fails where it should serve: {error}") from error


def _compare(scheme: Scheme, answers: NDArray[np.float32], source: NDArray[np.float32]) -> float:
    """The largest difference from the source; refuses what is no model any more.

    Raises:
        ConversionError: NaN, constant output, another shape, or a float32 model that differs from its source.
    """
    what = f"The {scheme.precision} {scheme.format} model"
    if answers.shape != source.shape:
        raise ConversionError(f"{what} answers {answers.shape[1]} values, its source {source.shape[1]}.")
    if not np.isfinite(answers).all():
        raise ConversionError(f"{what} answers NaN or infinity where its source does not. It must not be deployed.")
    spread, wanted = np.ptp(answers, axis=0).max(), np.ptp(source, axis=0).max()
    if len(answers) > 1 and wanted > 1e-6 and spread < 1e-3 * wanted:
        raise ConversionError(
            f"{what} answers the same to every window (spread {spread:.3g}, its source {wanted:.3g}): quantization "
            "destroyed it. Check that the calibration data is what the model was trained on, preprocessed alike, "
            "or take --precision float16."
        )
    worst = float(np.abs(answers - source).max())
    if scheme.precision == "float32" and worst > 1e-3 * max(1.0, float(np.abs(source).max())):
        raise ConversionError(f"{what} differs from its source by {worst:.3g}: the conversion itself is wrong.")
    return worst


def _lost(scheme: Scheme, features: list[NDArray[np.float32]], source: NDArray[np.float32]) -> float:
    """How far the features are from the source's, as a share of their spread.

    Raises:
        ConversionError: They are missing, of another length, not finite, or a float32 model's differ.
    """
    what = f"The features of the {scheme.precision} {scheme.format} model"
    if len(features) != 1 or features[0].shape != source.shape:
        raise ConversionError(f"{what} are {[f.shape[1] for f in features]} values, its source's {source.shape[1]}.")
    if not np.isfinite(features[0]).all():
        raise ConversionError(f"{what} hold NaN or infinity where its source's do not. It must not be deployed.")
    spread = float((source - source.mean(axis=0)).std())
    error = float(np.sqrt(np.square(features[0].astype(np.float64) - source).mean()))
    lost = error / spread if spread > 0 else error
    if scheme.precision == "float32" and lost > 1e-3:
        raise ConversionError(f"{what} differ from its source's by {lost:.1%}: the conversion itself is wrong.")
    return lost


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


def _confusion(answers: NDArray[np.float32], truth: NDArray[Any], n_labels: int) -> tuple[tuple[int, ...], ...]:
    if n_labels > _MANY_LABELS:
        return ()
    counts = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(counts, (truth.astype(np.int64), answers.argmax(axis=1)), 1)
    return tuple(tuple(int(n) for n in row) for row in counts)


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


def _told(recipe: Recipe, answers: NDArray[np.float32], data: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a station will tell of the answers: of a reconstruction, its mean squared difference from the input."""
    if not recipe.reconstructs:
        return answers
    return np.asarray(np.square(answers - data.reshape(answers.shape)).mean(axis=1, keepdims=True), np.float32)


def _metric(
    recipe: Recipe, answers: NDArray[np.float32], source: NDArray[np.float32], truth: NDArray[Any] | None
) -> Metric:
    n = len(answers)
    if recipe.reconstructs and truth is not None:
        value, low, high = auc(answers[:, 0], truth > 0.5)
        float_value = auc(source[:, 0], truth > 0.5)[0]
        return Metric(name="auc", value=value, low=low, high=high, float_value=float_value, n=n)
    if recipe.task == "classification":
        wanted = source.argmax(axis=1) if truth is None else truth
        hits = int((answers.argmax(axis=1) == wanted).sum())
        low, high = wilson(hits, n)
        source_hits = int((source.argmax(axis=1) == wanted).sum())
        name = "agreement" if truth is None else "accuracy"
        return Metric(name=name, value=hits / n, low=low, high=high, float_value=source_hits / n, n=n)
    reference = source[:, 0] if truth is None else truth
    errors = np.abs(answers[:, 0].astype(np.float64) - reference)
    low, high = mean_interval(errors)
    return Metric(
        name="mae_to_float" if truth is None else "mae",
        value=float(errors.mean()),
        low=max(0.0, low),
        high=high,
        float_value=float(np.abs(source[:, 0].astype(np.float64) - reference).mean()),
        n=n,
    )


if __name__ == "__main__":
    serve(ProofJob, prove)
