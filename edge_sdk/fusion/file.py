"""The fusion file (``room.fusion``): how several models become one; fitted on a workstation, signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.base.durable import replace_file
from edge_sdk.base.errors import BundleFormatError, IntegrityError
from edge_sdk.contract.trust import PublicKey, Signature, SigningKey, Trust, encode_signature
from edge_sdk.fusion.base import Task
from edge_sdk.fusion.chain import Chain, Conformal, Smoothing

FORMAT = 1


class FusionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fusion file says.

    Attributes:
        format: Version of this format.
        task: ``classification`` or ``regression``.
        labels: What the classes mean, in the models' order.
        unit: Unit of the estimate.
        contributors: The models that it was fitted with: name to bundle digest; an empty digest = any bundle.
        method: Name of the fuser.
        options: Its options.
        temperatures: Calibration of each contributor, on top of its bundle's.
        smoothing: Memory over time; None = none.
        conformal: Sets and intervals; None = none.
        provenance: Data fingerprint, table of methods tried, versions.
    """

    format: int = FORMAT
    task: Task
    labels: tuple[str, ...] = ()
    unit: str = ""
    contributors: dict[str, str] = {}
    method: str
    options: dict[str, Any] = {}
    temperatures: dict[str, float] = {}
    smoothing: Smoothing | None = None
    conformal: Conformal | None = None
    provenance: dict[str, Any] = {}

    def open(self) -> Chain:
        """The fuser that it describes; a new one for each stream.

        Raises:
            PluginError: No fuser has that name.
            ConfigError: Its options cannot be.
        """
        return Chain(
            self.method,
            self.options,
            temperatures=self.temperatures,
            smoothing=self.smoothing,
            conformal=self.conformal,
        )


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    fusion: msgspec.Raw
    signature: Signature | None = None


def write_fusion(path: Path | str, spec: FusionSpec, *, key: SigningKey | None) -> None:
    """Write a fusion file, in full or not at all; one that is there is replaced.

    Args:
        path: Where to; ``name.fusion``.
        spec: What it says.
        key: Who signs; None = unsigned.
    """
    path = Path(path)
    body = msgspec.json.encode(spec, order="sorted")
    signed = _Signed(fusion=msgspec.Raw(body), signature=key.sign(body) if key else None)
    replace_file(path, msgspec.json.encode(signed) + b"\n")


def read_fusion(path: Path | str, trust: Trust) -> FusionSpec:
    """Read a fusion file: its signature first, then its content.

    Raises:
        BundleFormatError: Not there, truncated, of a newer format, or no fusion file.
        IntegrityError: A byte was changed.
        TrustError: Not signed by anybody trusted.
    """
    spec, _ = read_signed_fusion(path, trust)
    return spec


def read_signed_fusion(path: Path | str, trust: Trust) -> tuple[FusionSpec, PublicKey | None]:
    """Like `read_fusion`, and who signed it."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        signed = msgspec.json.decode(raw, type=_Signed)
    except OSError as error:
        raise BundleFormatError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except msgspec.MsgspecError as error:
        raise BundleFormatError(f"{path} is no fusion file: {error}. `edge-sdk fuse fit` makes one.") from error
    body = bytes(signed.fusion)
    signer = trust.check(body, None if signed.signature is None else encode_signature(signed.signature))
    try:
        version = msgspec.json.decode(body, type=_FormatOnly).format
        if version != FORMAT:
            raise BundleFormatError(f"{path} has format {version}, this version reads {FORMAT}. Update edge-sdk.")
        spec = msgspec.json.decode(body, type=FusionSpec)
    except msgspec.MsgspecError as error:
        raise BundleFormatError(f"{path} is no fusion file: {error}. Run `edge-sdk fuse fit` again.") from error
    if msgspec.json.encode(signed) + b"\n" != raw or (signed.signature and signed.signature.algorithm != "ed25519"):
        raise IntegrityError(f"{path} is not in its one written form: it was changed. Get the file again.")
    return spec, signer


class _FormatOnly(msgspec.Struct):
    format: int
