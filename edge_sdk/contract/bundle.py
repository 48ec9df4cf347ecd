"""A bundle: ``name.edge``, one zip file (or the same as a directory) with manifest, signature and members.

A bundle file has exactly one written form: members stored uncompressed, in order, at a fixed date. Opening writes
that form again and compares, so that no byte can be changed unseen, not even one that zip readers overlook.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.durable import replace_file
from edge_sdk.base.errors import BundleError, BundleFormatError, IntegrityError, nearest
from edge_sdk.contract.manifest import FileRecord, Manifest, Variant, decode_manifest, encode_manifest
from edge_sdk.contract.trust import PublicKey, SigningKey, Trust, encode_signature

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
SUFFIX = ".edge"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle: every digest verified, the signature judged.

    Attributes:
        path: Where it was read from.
        digest: ``sha256:…`` of the manifest, which holds the digest of everything else.
        manifest: What it says.
        files: Content of each member.
        signer: Who signed it; None = unsigned.
    """

    path: Path
    digest: str
    manifest: Manifest
    files: Mapping[str, bytes]
    signer: PublicKey | None

    def variant(self, *, format: str | None = None, precision: str | None = None) -> Variant:
        """The first variant of that format and precision; without them, the first.

        Raises:
            BundleError: It has none; the message says what it has.
        """
        for variant in self.manifest.variants:
            if format in {None, variant.format} and precision in {None, variant.precision}:
                return variant
        wanted = " ".join(word for word in (precision, format) if word)
        has = (f"{variant.precision} {variant.format}" for variant in self.manifest.variants)
        raise BundleError(f"{self.path.name} has no {wanted} variant. {nearest(wanted, has)} Convert with --format.")

    def without_models(self) -> Bundle:
        """The same without its models' files: what is wanted of it once one of them is open."""
        models = {variant.file for variant in self.manifest.variants}
        return replace(self, files={name: data for name, data in self.files.items() if name not in models})

    def array(self, member: str) -> NDArray[np.float32]:
        """A member that is a ``.npy`` array; never unpickled."""
        return np.asarray(np.load(io.BytesIO(self.files[member]), allow_pickle=False), dtype=np.float32)


def read_bundle(path: Path | str, trust: Trust) -> Bundle:
    """Open a bundle: signature first, then digests, and only then its content.

    Args:
        path: A ``.edge`` file, or a directory with the same members.
        trust: Whose signatures count.

    Raises:
        BundleFormatError: Not there, truncated, or not a bundle.
        IntegrityError: A byte was changed.
        TrustError: Not signed by anybody trusted.
    """
    path = Path(path)
    members = _read_directory(path) if path.is_dir() else _read_zip(path)
    if MANIFEST not in members:
        raise BundleFormatError(f"{path} holds no {MANIFEST}: it is no bundle. `edge-sdk convert` makes one.")
    raw_manifest = members.pop(MANIFEST)
    signer = trust.check(raw_manifest, members.pop(SIGNATURE, None))
    manifest = decode_manifest(raw_manifest)
    if members.keys() != manifest.files.keys():
        odd = ", ".join(sorted(members.keys() ^ manifest.files.keys()))
        raise IntegrityError(f"{path}: members and manifest differ in {odd}. Get the bundle again.")
    for name, record in manifest.files.items():
        if hashlib.sha256(members[name]).hexdigest() != record.sha256:
            raise IntegrityError(f"{path}: {name} does not match its digest: changed or damaged. Get the bundle again.")
    for variant in manifest.variants:
        for name in (variant.file, variant.check_output or variant.file):
            if name not in members:
                raise BundleFormatError(f"{path}: the manifest names {name}, and it is not there. Convert again.")
    return Bundle(path, "sha256:" + hashlib.sha256(raw_manifest).hexdigest(), manifest, members, signer)


def digest_of(path: Path) -> str:
    """Digest of a bundle whose content is not looked at; empty when it cannot be read."""
    try:
        if path.is_dir():
            return "sha256:" + hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
        with zipfile.ZipFile(path) as archive:
            return "sha256:" + hashlib.sha256(archive.read(MANIFEST)).hexdigest()
    except (OSError, zipfile.BadZipFile, KeyError, EOFError, ValueError, NotImplementedError, RuntimeError):
        return ""


def write_bundle(path: Path | str, manifest: Manifest, files: Mapping[str, bytes], *, key: SigningKey | None) -> Bundle:
    """Write a bundle in its one form, in full or not at all; a file that is there is replaced.

    Args:
        path: Where to; ``name.edge``.
        manifest: What it is; its `files` are filled in here.
        files: Members: models, check vectors, reports.
        key: Who signs; None = unsigned.

    Returns:
        The bundle as a reader will see it.
    """
    path = Path(path)
    records = {
        name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
        for name, data in sorted(files.items())
    }
    manifest = msgspec.structs.replace(manifest, files=records)
    raw_manifest = encode_manifest(manifest)
    members: dict[str, bytes] = {MANIFEST: raw_manifest}
    if key is not None:
        members[SIGNATURE] = encode_signature(key.sign(raw_manifest))
    members.update(sorted(files.items()))
    replace_file(path, _zip_bytes(members))
    digest = "sha256:" + hashlib.sha256(raw_manifest).hexdigest()
    return Bundle(path, digest, manifest, dict(files), key.public if key else None)


def _zip_bytes(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleFormatError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise BundleFormatError(
            f"{path} ({len(raw)} bytes) is truncated, damaged or no bundle: {error}. Copy it again, or convert again."
        ) from error
    if _zip_bytes(members) != raw:
        raise IntegrityError(f"{path} is not in a bundle's one written form: it was changed. Get the bundle again.")
    return members


def _read_directory(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
