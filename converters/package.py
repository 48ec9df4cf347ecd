"""Packaging: from what was forged and proved to a manifest and its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from converters.artifact import Artifact
from converters.dataset import Dataset
from converters.evaluate.histogram import histograms
from converters.evaluate.layers import LayerError
from converters.evaluate.proof import Proof, Proven
from converters.forge import Forged
from converters.recipe import Recipe
from converters.scheme import Scheme
from converters.targets.op_versions import onnx_runtimes, tflite_runtimes
from edge_sdk import __version__
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.manifest import Coverage, Manifest, Variant

CHECK_INPUT = "check_input.npy"


class Seal(NamedTuple):
    """What is recorded of a variant besides its proof.

    Attributes:
        scheme: Which variant.
        runtimes: Lowest version of each runtime that runs it.
        delegates: What each delegate takes of it.
        n_bytes: Size of the model.
        compiled: The same for the Edge TPU, by its own compiler; empty = there is none.
    """

    scheme: Scheme
    runtimes: dict[str, str]
    delegates: tuple[Coverage, ...]
    n_bytes: int
    compiled: bytes = b""


def package(
    folder: Path, forged: Forged, proof: Proof, seals: Sequence[Seal], provenance: Mapping[str, Any], board: str
) -> tuple[Manifest, dict[str, bytes]]:
    """Build the manifest and collect the members.

    Args:
        folder: The job's folder, with the models and check vectors.
        forged: What was made.
        proof: What was seen of it, in the order of `seals`.
        seals: What goes into the bundle, best first.
        provenance: Where it all came from.
        board: Profile that it is made for; empty = any.
    """
    recipe = forged.recipe
    assert recipe.windowing is not None, "a completed recipe has one"
    files = {CHECK_INPUT: (folder / CHECK_INPUT).read_bytes()}
    variants = []
    for seal, proven in zip(seals, proof.variants, strict=True):
        scheme = seal.scheme
        model = (folder / scheme.file).read_bytes()
        check_output = f"{scheme.file}.check.npy"
        files[scheme.file] = model
        files[check_output] = (folder / check_output).read_bytes()
        variants.append(_variant(seal, proven, check_output))
        if seal.compiled:
            files[compiled_file(scheme)] = seal.compiled
            variants.append(_compiled_variant(seal, variants[-1]))
    manifest = Manifest(
        name=recipe.name,
        release=recipe.release,
        task=recipe.task,
        sensor=recipe.sensor,
        channels=recipe.channels,
        windowing=recipe.windowing,
        preprocess=recipe.preprocess,
        labels=recipe.labels if recipe.task == "classification" else (),
        unit=recipe.unit,
        value_range=recipe.value_range,
        reconstructs=recipe.reconstructs,
        temperature=recipe.temperature or (proof.temper.temperature if proof.temper else 1.0),
        error_std=proof.error_std,
        board=board,
        variants=tuple(variants),
        check_input=CHECK_INPUT,
        files={},
        provenance=dict(provenance),
    )
    return manifest, files


def provenance(
    artifact: Artifact, forged: Forged, calibration: Dataset | None, evaluation: Dataset | None
) -> dict[str, Any]:
    """Where a bundle came from: digests and versions, no names of machines, paths or people, no time of day."""
    return {
        "source": artifact.digest,
        "source_kind": artifact.kind,
        "recipe": msgspec.to_builtins(forged.recipe),
        "calibration": calibration.fingerprint if calibration else "",
        "evaluation": evaluation.fingerprint if evaluation else "",
        "notes": list(forged.notes),
        "versions": {"edge-sdk": __version__, **dict(sorted(forged.versions.items()))},
    }


def evidence(proof: Proof, seals: Sequence[Seal], shown: Dataset | None, recipe: Recipe) -> dict[str, Any]:
    """What was seen besides the metrics, for the report: recorded in the provenance.

    Args:
        proof: Of the variants that go into the bundle.
        seals: Of the same ones.
        shown: Data whose values are shown.
        recipe: Completed: names the channels.
    """
    found: dict[str, Any] = {}
    if proof.temper is not None:
        found["temperature"] = msgspec.to_builtins(proof.temper)
    layers = {
        seal.scheme.file: [_rounded(layer) for layer in proven.layers]
        for seal, proven in zip(seals, proof.variants, strict=True)
        if proven.layers
    }
    if layers:
        found["layers"] = layers
    if proof.confusion:
        found["confusion"] = proof.confusion
    if shown is not None:
        found["histograms"] = msgspec.to_builtins(histograms(shown.windows(recipe), recipe.channels))
    return found


def _rounded(layer: LayerError) -> dict[str, Any]:
    """As it is recorded: no more digits than mean anything."""
    plain: dict[str, Any] = msgspec.to_builtins(layer)
    return plain | {
        "sqnr_db": round(layer.sqnr_db, 1), "cosine": round(layer.cosine, 5), "bias": float(f"{layer.bias:.3g}"),
    }  # fmt: skip


def runtimes(scheme: Scheme, model: bytes) -> dict[str, str]:
    """Lowest version of each runtime that runs a model."""
    if scheme.format == "tflite":
        return tflite_runtimes(model)
    import onnx

    opsets = {entry.domain: entry.version for entry in onnx.load_from_string(model).opset_import}
    if "" not in opsets:
        raise ConversionError("The ONNX model names no opset.")
    return onnx_runtimes(opsets[""])


def compiled_file(scheme: Scheme) -> str:
    """Member of the bundle that is compiled for the Edge TPU: named as the compiler names it."""
    return scheme.file.replace(".tflite", "_edgetpu.tflite")


def _compiled_variant(seal: Seal, source: Variant) -> Variant:
    """What an Edge TPU runs in place of `source`: nothing was measured of it here, and its answers must be the same."""
    return msgspec.structs.replace(
        source,
        file=compiled_file(seal.scheme),
        delegates=tuple(each for each in seal.delegates if each.delegate == "edgetpu"),
        metrics=(),
        latency_ms=None,
        float_latency_ms=None,
    )


def _variant(seal: Seal, proven: Proven, check_output: str) -> Variant:
    scheme = seal.scheme
    return Variant(
        file=scheme.file,
        format=scheme.format,
        precision=scheme.precision,
        inputs=proven.inputs,
        outputs=proven.outputs,
        runtimes=seal.runtimes,
        delegates=seal.delegates,
        metrics=(proven.metric,),
        check_output=check_output,
        tolerance=proven.tolerance,
    )
