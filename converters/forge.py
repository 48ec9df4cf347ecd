"""The forge: the process that holds TensorFlow, loads a model once, and writes every form of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters import custom
from converters.dataset import subset
from converters.load.base import Loaded
from converters.load.witness import ENOUGH
from converters.recipe import Recipe, window_shape
from converters.scheme import Scheme
from converters.stage import at, serve
from edge_sdk.base import plugins
from edge_sdk.base.errors import ConversionError
from edge_sdk.inference.layout import fits, shape_after
from edge_sdk.inference.preprocess import Preprocess

CALIBRATION_LIMIT = 512
_MADE_UP = 64
LOADERS = "converters.loaders"
QUANTIZERS = "converters.quantizers"


class ForgeJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the forge is to make.

    Attributes:
        path: The model.
        kind: Name of its loader.
        name: The model's name where the recipe has none.
        recipe: What the model file cannot know.
        schemes: What to write.
        shapes: Dimensions that the user fixed, by input name.
        symmetric: Quantize ONNX activations around zero, which TensorRT wants.
        may_fail: A scheme that cannot be written is named in the answer instead of ending the work.
        custom_objects: Modules of the user that define layers, with the digests of their files.
        only_structure: Write the schemes and nothing else: no data, no answers, the recipe left as it is.
    """

    path: str
    kind: str
    name: str
    recipe: Recipe
    schemes: tuple[Scheme, ...]
    shapes: dict[str, tuple[int, ...]] = {}
    symmetric: bool = False
    may_fail: bool = False
    custom_objects: dict[str, str] = {}
    only_structure: bool = False


class Forged(msgspec.Struct, frozen=True, kw_only=True):
    """What the forge made, in the job's folder: a file per scheme, and the source's own answers.

    Attributes:
        recipe: The recipe, completed by what the model says.
        input_shape: The model's input, the batch of 1 included.
        versions: Libraries that took part.
        notes: What was changed on the way, for the user.
        failed: Why a scheme could not be written, by its name.
    """

    recipe: Recipe
    input_shape: tuple[int, ...]
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    failed: dict[str, str] = {}


def forge(job: ForgeJob, folder: Path) -> Forged:
    """Load, answer, convert, quantize."""
    at("loading the model")
    if job.custom_objects:
        from converters.load.keras import register

        register(custom.load(list(job.custom_objects)))
    loader: Any = plugins.load(LOADERS, job.kind)
    loaded: Loaded = loader(Path(job.path), folder, job.shapes)
    if job.only_structure:
        for scheme in job.schemes:
            _write(loaded, scheme, None, folder)
        return Forged(recipe=job.recipe, input_shape=loaded.input_shape, versions=dict(loaded.versions))
    loaded.choose(job.recipe.answer, job.recipe.features)
    at("running the model on the data")
    notes = list(loaded.notes)
    is_made_up = not any((folder / name).is_file() for name in ("calibration.npy", "evaluation.npy"))
    if is_made_up:
        np.save(folder / "evaluation.npy", _made_up(job.recipe, loaded.input_shape))
        notes.append("No data was given: variants are compared with float on random windows, which proves little.")
    calibration = _inputs(folder / "calibration.npy", loaded.input_shape)
    evaluation = _inputs(folder / "evaluation.npy", loaded.input_shape)
    probe = evaluation if evaluation is not None else calibration
    assert probe is not None
    answers = loaded.answer(probe)
    if not np.isfinite(answers).all():
        raise ConversionError(
            f"{job.path} answers with NaN or infinity on {int((~np.isfinite(answers)).any(axis=1).sum())} of "
            f"{len(answers)} windows. Check the model's weights, and that the data is preprocessed as in training."
        )
    if job.recipe.task == "classification" and (change := _missing_head(answers)):
        loaded.add_head(change)
        answers = loaded.answer(probe)
        notes.append(f"The model answers with no distribution: {change} was added.")
    np.save(folder / "source_answers.npy", answers.astype(np.float32))
    features = loaded.features(probe)
    if features is not None:
        if not np.isfinite(features).all():
            raise ConversionError(f"{job.path} gives NaN or infinity as features. Check the model's weights.")
        np.save(folder / "source_features.npy", features.astype(np.float32))
        notes.append(f"The model hands on {features.shape[1]} features beside the answer.")
    recipe = job.recipe.completed(name=job.name, input_shape=loaded.input_shape, n_answers=answers.shape[1])
    _check_same_windows(folder, recipe)
    if not is_made_up and not _is_right(folder, recipe, answers):
        for name, data in (("calibration", calibration), ("evaluation", evaluation)):
            if data is not None and (witness := loaded.witness(subset(data, ENOUGH))):
                witness.judge(name, data)
    if calibration is not None:
        calibration = subset(calibration, CALIBRATION_LIMIT)
    versions = dict(loaded.versions)
    n_notes = len(loaded.notes)
    failed: dict[str, str] = {}
    for scheme in job.schemes:
        try:
            versions.update(_write(loaded, scheme, calibration, folder, symmetric=job.symmetric))
        except ConversionError as error:
            if not job.may_fail or scheme.precision == "float32":
                raise
            failed[str(scheme)] = str(error)
    versions.update(loaded.versions)
    notes += loaded.notes[n_notes:]
    return Forged(recipe=recipe, input_shape=loaded.input_shape, versions=versions, notes=tuple(notes), failed=failed)


def _made_up(recipe: Recipe, input_shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Random windows, preprocessed: uniform where a channel has a range, else normal; the same ones each time."""
    length, n_channels = window_shape(input_shape)
    if recipe.windowing is not None:
        length = recipe.windowing.length
        n_channels = len(recipe.channels) or max(1, int(np.prod(input_shape)) // length)
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(_MADE_UP, length, n_channels))
    for index, channel in enumerate(recipe.channels[:n_channels]):
        if channel.minimum is not None and channel.maximum is not None:
            windows[:, :, index] = rng.uniform(channel.minimum, channel.maximum, (_MADE_UP, length))
    return Preprocess.of(recipe.preprocess).apply(windows.astype(np.float32)).astype(np.float32)


def _write(
    loaded: Loaded, scheme: Scheme, calibration: NDArray[np.float32] | None, folder: Path, *, symmetric: bool = False
) -> dict[str, str]:
    at(f"writing {scheme}")
    quantizer: Any = plugins.load(QUANTIZERS, scheme.format)
    model, used = quantizer(loaded, scheme, calibration, symmetric=symmetric)
    (folder / scheme.file).write_bytes(model)
    versions: dict[str, str] = used
    return versions


def _inputs(path: Path, input_shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Windows ``(n, length, channels)`` as inputs ``(n, *input_shape[1:])``."""
    if not path.is_file():
        return None
    windows: NDArray[np.float32] = np.load(path, allow_pickle=False)
    length, n_channels = windows.shape[1:]
    if not fits(input_shape, (length, n_channels)):
        raise ConversionError(
            f"The model takes {input_shape}; the data has windows of {length} samples of {n_channels} channels after "
            "preprocessing. Give x as (n, samples, channels) in the model's own order; nothing is transposed unasked. "
            "Where the model wants its channels first, say `- {layout: {order: channels_first}}` last in preprocess."
        )
    return windows.reshape(len(windows), *input_shape[1:])


def _is_right(folder: Path, recipe: Recipe, answers: NDArray[np.float32]) -> bool:
    """Whether the float model is right about the evaluation data: then the data is what it wants."""
    path = folder / "y.npy"
    if not path.is_file() or recipe.reconstructs:
        return False
    truth = np.load(path, allow_pickle=False)
    if recipe.task == "classification":
        classes, counts = np.unique(truth, return_counts=True)
        blind = max(counts.max() / len(truth), 1 / len(recipe.labels))
        return len(classes) > 1 and float((answers.argmax(axis=1) == truth).mean()) > blind + 0.1 * (1 - blind)
    blind = float(np.abs(truth - np.median(truth)).mean())
    return float(np.abs(answers[:, 0] - truth).mean()) < 0.8 * blind


def _check_same_windows(folder: Path, recipe: Recipe) -> None:
    """Refuse preprocessing that worked on other windows here than it will at the station.

    Raises:
        ConversionError: The data was preprocessed in another shape than the completed recipe's.
    """
    assert recipe.windowing is not None, "a completed recipe has one"
    said = shape_after(Preprocess.of(recipe.preprocess), (recipe.windowing.length, len(recipe.channels)))
    for name in ("calibration.npy", "evaluation.npy"):
        if recipe.preprocess and (folder / name).is_file():
            seen = np.load(folder / name, mmap_mode="r").shape[1:]
            if seen != said:
                raise ConversionError(
                    f"The data, preprocessed, has windows of {seen[0]} samples of {seen[1]} channels, the station will "
                    f"have {said[0]} of {said[1]}. Say windowing and channels in the recipe."
                )


def _missing_head(answers: NDArray[np.float32]) -> str:
    """What turns these answers into a distribution: ``softmax``, ``pair``, ``sigmoid_pair``, or nothing."""
    if answers.shape[1] == 1:
        return "pair" if answers.min() >= 0 and answers.max() <= 1 else "sigmoid_pair"
    is_distribution = answers.min() >= -1e-6 and np.abs(answers.sum(axis=1) - 1).max() < 0.02
    return "" if is_distribution else "softmax"


if __name__ == "__main__":
    serve(ForgeJob, forge)
