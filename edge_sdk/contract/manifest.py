"""The manifest: everything a station must know to run a bundle's model exactly as it was calibrated."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edge_sdk.base.errors import BundleFormatError
from edge_sdk.contract.tensor import TensorSpec

FORMAT = 1


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel of the sensor.

    Attributes:
        name: ``ax``, ``temperature`` …
        unit: Physical unit, ``g``, ``°C`` …; empty where it has none.
        minimum: Lowest value that is physically possible; None = not known.
        maximum: Highest value that is physically possible; None = not known.
        maximum_rate: Largest change a second that is physically possible; None = not known.
        stuck_after_s: The very same value for this many seconds means a broken sensor; None = it never does.
    """

    name: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    maximum_rate: float | None = None
    stuck_after_s: float | None = None


class Windowing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How samples become windows; the station takes it from here and nowhere else.

    Attributes:
        length: Samples in a window.
        stride: Samples from one window's start to the next's.
        rate_hz: Samples a second on the model's grid.
        minimum_coverage: Least fraction of measured samples, 0 to 1; below it a window is rejected.
    """

    length: int
    stride: int
    rate_hz: float
    minimum_coverage: float = 0.9


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of preprocessing: a plug-in of ``edge_sdk.preprocess`` and its options."""

    kind: str
    options: dict[str, Any] = {}


class Coverage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a variant a delegate or execution provider takes.

    Attributes:
        delegate: ``xnnpack``, ``edgetpu``, ``nnapi``, ``CUDAExecutionProvider`` …
        share_of_operations: 0 to 1.
        checked_by: ``run`` (seen here), ``compiler``, or ``rules`` (told in advance, not compiled).
        partitions: Contiguous parts that the delegate takes; None = not known.
    """

    delegate: str
    share_of_operations: float
    checked_by: Literal["run", "compiler", "rules"]
    partitions: int | None = None


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure measured on evaluation data, float source beside variant.

    Attributes:
        name: ``accuracy``, ``mae``, ``auc`` …
        value: Of the variant.
        low: Lower end of the 95 % interval of `value`.
        high: Upper end.
        float_value: Of the float source on the same data.
        n: Number of samples.
    """

    name: str
    value: float
    low: float
    high: float
    float_value: float
    n: int


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form of the model.

    Attributes:
        file: Member of the bundle: ``int8.tflite``, ``int8.onnx`` …
        format: ``tflite`` or ``onnx``.
        precision: The scheme's name: ``float32``, ``int8`` …
        inputs: Input tensors.
        outputs: Output tensors; the first is the answer, a second one is a feature vector.
        runtimes: Lowest version of each runtime that runs it: ``{"litert": "2.0.0"}``.
        delegates: Coverage by each delegate that it was checked for.
        metrics: Measured figures.
        latency_ms: Median on the converting machine; None = not measured.
        float_latency_ms: Median of the float source there, side by side.
        check_output: Member with the recorded answers to the bundle's check inputs, ``.npy``, float32.
        tolerance: Largest absolute difference from them that is still right.
    """

    file: str
    format: Literal["tflite", "onnx"]
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runtimes: dict[str, str] = {}
    delegates: tuple[Coverage, ...] = ()
    metrics: tuple[Metric, ...] = ()
    latency_ms: float | None = None
    float_latency_ms: float | None = None
    check_output: str = ""
    tolerance: float = 0.0


class FileRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Digest and size of one member of the bundle."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``manifest.json``. Holds no time of day: the same input gives the same digests.

    Attributes:
        format: Version of this format.
        name: The model's name, an id; also the name of its contributor.
        release: Number of this release of the model: a station that is updated from afar refuses a lower one.
        task: ``classification`` or ``regression``.
        sensor: Kind of sensor it reads: for people.
        channels: The sensor's channels, in order.
        windowing: How samples become windows.
        preprocess: Steps from a window in physical units to the model's input, in order.
        labels: What the outputs mean, in order (classification).
        unit: Unit of the estimate (regression).
        value_range: Lowest and highest estimate that can be right (regression); None = any.
        reconstructs: The model answers with its own input (an autoencoder); the estimate is the mean squared
            difference of both: how unusual the window is (regression).
        temperature: Calibration temperature: logits are divided by it (Guo et al. 2017).
        error_std: Standard deviation of the estimate's error on held-out data (regression).
        board: Profile that it was made for; empty = any.
        variants: Best first.
        check_input: Member with recorded inputs, ``.npy``, float32, before quantization, after preprocessing.
        files: Every member but the manifest and the signature.
        provenance: Source digest, recipe, calibration data fingerprint, versions.
    """

    format: int = FORMAT
    name: str
    release: int = 0
    task: Literal["classification", "regression"]
    sensor: str
    channels: tuple[Channel, ...]
    windowing: Windowing
    preprocess: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    unit: str = ""
    value_range: tuple[float, float] | None = None
    reconstructs: bool = False
    temperature: float = 1.0
    error_std: float | None = None
    board: str = ""
    variants: tuple[Variant, ...]
    check_input: str = ""
    files: dict[str, FileRecord]
    provenance: dict[str, Any] = {}


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON: keys sorted, indented for people, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        BundleFormatError: It is no manifest, or of a format that this version does not know.
    """
    try:
        version = msgspec.json.decode(data, type=_FormatOnly).format
        if version != FORMAT:
            raise BundleFormatError(f"The bundle has format {version}, this version reads {FORMAT}. Update edge-sdk.")
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleFormatError(f"manifest.json is no manifest: {error}. Convert the model again.") from error


class _FormatOnly(msgspec.Struct):
    format: int
