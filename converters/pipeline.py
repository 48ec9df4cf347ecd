"""The pipeline: from a trained model to a bundle, in five lines or one command."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from msgspec.structs import replace

from converters.artifact import Artifact
from converters.auto import choose
from converters.cache import Cache
from converters.custom import digests
from converters.dataset import Dataset, Given
from converters.evaluate.layers import blame
from converters.evaluate.proof import Proof, ProofJob
from converters.forge import Forged, ForgeJob
from converters.package import Seal, compiled_file, evidence, package, provenance, runtimes
from converters.preparation import prepare, shared_windows, write_truth
from converters.recipe import Recipe
from converters.report import VariantReport, row, unproved
from converters.scheme import Scheme, every_scheme, schemes
from converters.stage import StageCrashError, run_cached, scratch
from converters.targets.fit import check_runtimes, fit
from converters.targets.graph import read_graph
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
    max_drop: float = 0.5,
    formats: Sequence[str] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    board: str | Path | None = None,
    require_delegated: float | None = None,
    key: SigningKey | Path | str | None = None,
    cache: bool = True,
    custom_objects: Sequence[str] = (),
    pythons: Mapping[str, str] | None = None,
) -> Conversion:
    """Convert a trained model to a bundle that is proved on the runtimes that will serve it.

    Args:
        model: ``.keras``, ``.h5``, a SavedModel folder, a float ``.tflite``, ``.onnx``, or scikit-learn ``.joblib``.
        recipe: What the model file cannot know, or a path to ``recipe.yaml``; None = everything by default.
        out: Where the bundle goes; replaced in whole, or left as it was.
        calibration: Windows ``(n, …)`` in physical units, before preprocessing: a ``.npz`` path with ``x``, or arrays.
        evaluate: The same with their truth ``y``, unseen in training; None = agreement with the float model on the
            calibration data is measured instead.
        precision: Names of `converters.scheme.WORDS`, which say what they are; the first is the bundle's first.
            ``("auto",)`` makes all of them and keeps the best within `max_drop`.
        max_drop: What ``auto`` may lose against float: percentage points (classification), percent of the mean
            absolute error (regression).
        formats: ``tflite``, ``onnx``; None = what the source can become, and the board can run.
        shapes: Open dimensions, fixed: ``{"input": (1, 128, 6)}``.
        board: A name of `edge-sdk boards` or your own profile: its runtimes' versions bound what is written, and
            what its delegates take is recorded; None = any.
        require_delegated: Refuse a model of which the board's first delegate takes less of the operations, 0 to 1.
        key: Who signs, or a path to the key; None = unsigned.
        cache: Take a stage's work from the user's cache where nothing that it depends on has changed, and keep it
            there.
        custom_objects: Modules that define layers which a Keras file names: ``module``, or ``module:Name``. They are
            imported, that is run.
        pythons: Interpreters of other environments, by the runtime that each has (``litert``, ``onnxruntime``,
            ``tflite``): every variant is proved there, too.

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
    _check_place(Path(out))
    artifact = Artifact.of(model)
    profile = None if board is None else read_board(board)
    able = formats or _formats(artifact, profile)
    is_auto = tuple(precision) == ("auto",)
    wanted = every_scheme(able) if is_auto else schemes(able, precision)
    calibration_data = None if calibration is None else Dataset.of(calibration, name="calibration")
    evaluation_data = None if evaluate is None else Dataset.of(evaluate, name="evaluation")
    if calibration_data is None and any(scheme.needs_calibration for scheme in wanted):
        raise CalibrationError(
            f"{'/'.join(sorted({s.precision for s in wanted if s.needs_calibration}))} needs calibration data: windows "
            "as the sensor gives them. Give --calibration train.npz with x (n, samples, channels)."
        )
    with scratch() as name, terminal.progress("preparing the data", len(wanted) * 2 + 4) as bar:
        folder = Path(name)
        prepared = prepare(folder, recipe, calibration_data, evaluation_data)
        shared = shared_windows(calibration_data, evaluation_data)

        def say(step: str) -> None:
            bar.advance()
            bar.say(step)

        floats = tuple(dict.fromkeys(Scheme(scheme.format, "float32") for scheme in wanted))
        job = ForgeJob(
            path=str(artifact.path.resolve()),
            kind=artifact.kind,
            name=artifact.name,
            recipe=recipe,
            schemes=tuple(dict.fromkeys((*floats, *wanted))),
            shapes=dict(shapes or {}),
            may_fail=is_auto,
            symmetric=profile is not None and "tensorrt" in profile.rules,
            custom_objects=digests(custom_objects),
        )
        stages = Cache.of_user() if cache else None
        forged = _forge(job, folder, say, stages, artifact.digest)
        made = tuple(scheme for scheme in wanted if str(scheme) not in forged.failed)
        proof = run_cached(
            "converters.evaluate.proof",
            ProofJob(
                recipe=forged.recipe,
                schemes=made,
                truth=write_truth(folder, forged.recipe, prepared),
                is_held_out=shared == 0,
                may_fail=is_auto,
                pythons=dict(pythons or {}),
            ),
            folder,
            Proof,
            cache=None if pythons else stages,  # what another environment holds is not known here
            source=artifact.digest,
            say=say,
        )
        proved = [scheme for scheme in made if str(scheme) not in proof.failed]
        sealed = [_seal(folder, scheme, profile, require_delegated) for scheme in proved]
        rows = [row(forged.recipe.name, *pair) for pair in zip(sealed, proof.variants, strict=True)]
        is_kept = [True] * len(rows)
        if is_auto:
            rows = choose(rows, max_drop)
            is_kept = [row.is_in_bundle for row in rows]
        origin = provenance(artifact, forged, calibration_data, evaluation_data)
        shown = calibration_data or evaluation_data
        kept = replace(proof, variants=tuple(compress(proof.variants, is_kept)))
        seals = list(compress(sealed, is_kept))
        origin |= evidence(kept, seals, shown, forged.recipe)
        manifest, files = package(
            folder,
            forged,
            kept,
            seals,
            origin,
            profile.name if profile else "",
        )
        bundle = _write(out, manifest, files, key)
    chance = 1 / max(2, len(forged.recipe.labels))
    if rows[0].metric == "accuracy" and rows[0].n >= 30 and rows[0].float_value <= 1.2 * chance:
        forged = replace(
            forged,
            notes=(
                *forged.notes,
                f"The float model itself is right in {rows[0].float_value:.1%} of the evaluation windows, chance is "
                f"{chance:.1%}. Check that preprocessing in the recipe is that of training, and the order of labels.",
            ),
        )
    failures = {**forged.failed, **proof.failed}
    notes = [
        *forged.notes,
        *_notes(recipe, evaluation_data, shared),
        *unproved(profile, rows),
        *(
            f"{seal.scheme}: {words}"
            for seal, proven in zip(seals, kept.variants, strict=True)
            if (words := blame(proven.layers))
        ),
        *(
            f"{compiled_file(seal.scheme)} is compiled for the Edge TPU and in the bundle, too; nothing here can run "
            "it: the station compares its answers with the recorded ones when it opens it."
            for seal in seals
            if seal.compiled
        ),
        *(f"{what} is out: {why}" for what, why in failures.items()),
    ]
    return Conversion(
        bundle.path, bundle.digest, bundle.manifest, bundle.files, bundle.signer, report=tuple(rows), notes=tuple(notes)
    )


def _forge(job: ForgeJob, folder: Path, say: Callable[[str], None], cache: Cache | None, source: str) -> Forged:
    """Run the forge; where schemes may fail, a crash costs the scheme that it happened at, and nothing else."""
    crashed: dict[str, str] = {}
    while True:
        try:
            forged = run_cached("converters.forge", job, folder, Forged, cache=cache, source=source, say=say)
        except StageCrashError as error:
            culprits = [scheme for scheme in job.schemes if error.step == f"writing {scheme}"]
            if not job.may_fail or not culprits or culprits[0].precision == "float32":
                raise StageCrashError(f"{error}{_suspect(folder)}", step=error.step) from error
            crashed[str(culprits[0])] = str(error)
            job = replace(job, schemes=tuple(s for s in job.schemes if s != culprits[0]))
        else:
            return replace(forged, failed={**crashed, **forged.failed})


_CRASH = {"IF", "WHILE", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"}


def _suspect(folder: Path) -> str:
    """The operator that a converter is known to crash on, from the float model that it wrote before; or nothing."""
    path = folder / Scheme("tflite", "float32").file
    operators = read_graph(path.read_bytes()).operators if path.is_file() else ()
    found = next((operator for operator in operators if operator.kind in _CRASH), None)
    return f" What it crashes on is operator #{found.index}, {found.kind} ({found.name})." if found else ""


def _formats(artifact: Artifact, board: Board | None) -> tuple[str, ...]:
    able = ("onnx",) if artifact.kind in {"onnx", "sklearn", "torch"} else ("tflite", "onnx")
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
    compiled: list[bytes] = []
    if board is not None:
        check_runtimes(board, scheme, needed)
        fitting = fit(model, board, precision=scheme.precision, keep=compiled.append)
        if share is not None:
            fitting.require(share)
        found = [each.coverage for each in fitting.delegations if each.delegate != "xnnpack"] + found
    return Seal(scheme, needed, tuple(found), len(model), b"".join(compiled))


def _check_place(out: Path) -> None:
    """Refuse a place that cannot be written before the work rather than after it.

    Raises:
        ConversionError: It is a folder, or lies in none that can be written.
    """
    if out.is_dir():
        raise ConversionError(f"{out} is a folder; -o wants a file, such as {out / 'model.edge'}.")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ConversionError(f"{out} cannot be written: {folder} is no folder that you may write in.")


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


def _notes(recipe: Recipe, evaluation: Dataset | None, shared: int) -> list[str]:
    notes = []
    if shared and evaluation is not None:
        notes.append(
            f"{shared} of {len(evaluation.x)} evaluation windows are calibration windows too: what is measured on them "
            "flatters, and no temperature was fitted. Give windows that neither training nor calibration saw."
        )
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
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})
