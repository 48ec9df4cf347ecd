"""The pipeline: from a trained model to a bundle, in five lines or one command."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.artifact import Artifact
from converters.dataset import Dataset, Given
from converters.evaluate.proof import Proof, ProofJob, Proven
from converters.forge import Forged, ForgeJob
from converters.package import Seal, package, provenance, runtimes
from converters.recipe import Recipe
from converters.report import VariantReport
from converters.scheme import Scheme, schemes
from converters.stage import run_stage, scratch
from converters.targets.fit import check_runtimes, fit
from converters.targets.seen import seen_on_xnnpack
from edge_sdk.base import terminal
from edge_sdk.base.errors import CalibrationError, ConversionError
from edge_sdk.boards.profile import Board, read_board
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.manifest import Manifest
from edge_sdk.contract.trust import SigningKey


@dataclass(frozen=True, slots=True, eq=False)
class Conversion(Bundle):
    """The bundle that was written, and what was measured on the way.

    Attributes:
        report: One row for each variant, in the bundle's order.
        notes: What the user should know.
    """

    report: tuple[VariantReport, ...] = ()
    notes: tuple[str, ...] = ()


def convert(
    model: Path | str,
    recipe: Recipe | Path | str | None = None,
    *,
    out: Path | str,
    calibration: Given | None = None,
    evaluate: Given | None = None,
    precision: Sequence[str] = ("int8",),
    formats: Sequence[str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    board: str | Path | None = None,
    require_delegated: float | None = None,
    key: SigningKey | Path | str | None = None,
) -> Conversion:
    """Convert a trained model to a bundle that is proved on the runtimes that will serve it.

    Args:
        model: ``.keras``, ``.h5``, a SavedModel folder, a float ``.tflite`` or ``.onnx``.
        recipe: What the model file cannot know, or a path to ``recipe.yaml``; None = everything by default.
        out: Where the bundle goes; replaced in whole, or left as it was.
        calibration: Windows ``(n, …)`` in physical units, before preprocessing: a ``.npz`` path with ``x``, or arrays.
        evaluate: The same with their truth ``y``, unseen in training; None = agreement with the float model on the
            calibration data is measured instead.
        precision: ``float32``, ``float16``, ``dynamic``, ``int8``, ``int16x8``; the first is the bundle's first.
        formats: ``tflite``, ``onnx``; None = what the source can become, and the board can run.
        shapes: Open dimensions, fixed: ``{"input": (1, 128, 6)}``.
        board: A name of `edge-sdk boards` or your own profile: its runtimes' versions bound what is written, and
            what its delegates take is recorded; None = any.
        require_delegated: Refuse a model of which the board's first delegate takes less of the operations, 0 to 1.
        key: Who signs, or a path to the key; None = unsigned.

    Returns:
        The bundle as a reader will see it, with `report`.

    Raises:
        ConversionError: The model cannot become that; nothing was written.
        CalibrationError: The data contradicts the recipe or the model; nothing was written.
        ConfigError: The recipe or the key is wrong.
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe() if recipe is None else Recipe.read(recipe)
    if key is not None and not isinstance(key, SigningKey):
        key = SigningKey.read(Path(key))
    artifact = Artifact.of(model)
    profile = None if board is None else read_board(board)
    wanted = schemes(formats or _formats(artifact, profile), precision)
    calibration_data = None if calibration is None else Dataset.of(calibration, name="calibration")
    evaluation_data = None if evaluate is None else Dataset.of(evaluate, name="evaluation")
    if calibration_data is None and any(scheme.needs_calibration for scheme in wanted):
        raise CalibrationError(
            f"{'/'.join(sorted({s.precision for s in wanted if s.needs_calibration}))} needs calibration data: windows "
            "as the sensor gives them. Give --calibration train.npz with x (n, samples, channels)."
        )
    with scratch() as name, terminal.progress("preparing the data", len(wanted) * 2 + 4) as bar:
        folder = Path(name)
        prepared = _prepare(folder, recipe, calibration_data, evaluation_data)

        def say(step: str) -> None:
            bar.advance()
            bar.say(step)

        floats = tuple(dict.fromkeys(Scheme(scheme.format, "float32") for scheme in wanted))
        made = tuple(dict.fromkeys((*floats, *wanted)))
        job = ForgeJob(
            path=str(artifact.path.resolve()),
            kind=artifact.kind,
            name=artifact.name,
            recipe=recipe,
            schemes=made,
            shapes=dict(shapes or {}),
        )
        forged = run_stage("converters.forge", job, folder, Forged, say=say)
        truth = _truth(folder, forged.recipe, prepared)
        proof = run_stage(
            "converters.evaluate.proof",
            ProofJob(recipe=forged.recipe, schemes=wanted, truth=truth),
            folder,
            Proof,
            say=say,
        )
        origin = provenance(artifact, forged, calibration_data, evaluation_data)
        seals = [_seal(folder, scheme, profile, require_delegated) for scheme in wanted]
        manifest, files = package(folder, forged, proof, seals, origin, profile.name if profile else "")
        bundle = _write(out, manifest, files, key)
    report = tuple(_row(bundle, scheme, proven) for scheme, proven in zip(wanted, proof.variants, strict=True))
    notes = [*forged.notes, *_notes(recipe, evaluation_data)]
    return Conversion(
        bundle.path, bundle.digest, bundle.manifest, bundle.files, bundle.signer, report=report, notes=tuple(notes)
    )


def _formats(artifact: Artifact, board: Board | None) -> tuple[str, ...]:
    able = ("onnx",) if artifact.kind == "onnx" else ("tflite", "onnx")
    if board is None:
        return able
    if not (both := tuple(name for name in board.formats if name in able)):
        raise ConversionError(
            f"{board.title} runs {', '.join(board.formats)}; {artifact.path} can become {', '.join(able)} alone."
        )
    return both


def _seal(folder: Path, scheme: Scheme, board: Board | None, share: float | None) -> Seal:
    """What is recorded of a variant besides its proof: the runtimes it needs, and what delegates take of it."""
    model = (folder / scheme.file).read_bytes()
    needed = runtimes(scheme, model)
    found = [seen_on_xnnpack(model).coverage] if scheme.format == "tflite" else []
    if board is not None:
        check_runtimes(board, scheme, needed)
        fitting = fit(model, board, precision=scheme.precision)
        if share is not None:
            fitting.require(share)
        found = [each.coverage for each in fitting.delegations if each.delegate != "xnnpack"] + found
    return Seal(scheme, needed, tuple(found))


def _prepare(folder: Path, recipe: Recipe, calibration: Dataset | None, evaluation: Dataset | None) -> Dataset | None:
    """Preprocess what there is into the job's folder; give back what the variants are compared on."""
    for data, name in ((calibration, "calibration"), (evaluation, "evaluation")):
        if data is not None:
            np.save(folder / f"{name}.npy", data.inputs(recipe))
    if calibration is not None and evaluation is not None:
        _check_alike(calibration.windows(recipe), evaluation.windows(recipe))
    return evaluation


def _check_alike(calibration: NDArray[np.float32], evaluation: NDArray[np.float32]) -> None:
    """Refuse two data sets that cannot be in the same units.

    Raises:
        CalibrationError: Their shapes differ, or one's values spread a hundred times wider than the other's.
    """
    if calibration.shape[1:] != evaluation.shape[1:]:
        raise CalibrationError(
            f"Calibration data has windows of {calibration.shape[1:]}, evaluation data of {evaluation.shape[1:]}."
        )
    spans = [float(np.quantile(data, 0.99) - np.quantile(data, 0.01)) for data in (calibration, evaluation)]
    if min(spans) > 0 and max(spans) / min(spans) > 100:
        raise CalibrationError(
            f"Calibration data runs from {calibration.min():.6g} to {calibration.max():.6g}, evaluation data from "
            f"{evaluation.min():.6g} to {evaluation.max():.6g}: not the same units. Give both in physical units."
        )


def _truth(folder: Path, recipe: Recipe, data: Dataset | None) -> bool:
    if data is None or data.y is None:
        return False
    if recipe.task == "classification":
        np.save(folder / "truth.npy", data.classes(len(recipe.labels)))
    else:
        np.save(folder / "truth.npy", np.asarray(data.y, dtype=np.float64))
    return True


def _write(out: Path | str, manifest: Manifest, files: Mapping[str, bytes], key: SigningKey | None) -> Bundle:
    try:
        return write_bundle(out, manifest, files, key=key)
    except OSError as error:
        total = sum(len(data) for data in files.values())
        folder = Path(out).parent
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        raise ConversionError(
            f"{out} cannot be written: {error.strerror or error}. It needs {total} bytes, free are {free}."
        ) from error


def _row(bundle: Bundle, scheme: Scheme, proven: Proven) -> VariantReport:
    variant = bundle.variant(format=scheme.format, precision=scheme.precision)
    metric = proven.metric
    return VariantReport(
        name=bundle.manifest.name,
        precision=scheme.precision,
        format=scheme.format,
        bytes=bundle.manifest.files[scheme.file].bytes,
        metric=metric.name,
        float_value=metric.float_value,
        quantized=metric.value,
        interval=(metric.low, metric.high),
        n=metric.n,
        worst=proven.worst,
        latency_ms=proven.latency_ms,
        float_latency_ms=proven.float_latency_ms,
        coverage=variant.delegates,
        runtimes=dict(variant.runtimes),
        proved_on=proven.runtime,
    )


def _notes(recipe: Recipe, evaluation: Dataset | None) -> list[str]:
    notes = []
    if recipe.windowing is None and recipe.rate_hz is None:
        notes.append("No sample rate was given: the bundle says 1 Hz. Give --rate HZ, or windowing in the recipe.")
    if evaluation is None or evaluation.y is None:
        notes.append(
            "No evaluation data with y was given: agreement with the float model is measured, not accuracy. "
            "Give --evaluate test.npz."
        )
    return notes


def replaced(recipe: Recipe, **given: object) -> Recipe:
    """The recipe with what was given besides it; None leaves a field as it is."""
    return msgspec.structs.replace(recipe, **{name: value for name, value in given.items() if value is not None})
