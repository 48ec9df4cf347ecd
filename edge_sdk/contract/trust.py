"""Trust: Ed25519 keys (RFC 8032), signatures over a manifest, and whose signatures count.

The library behind them takes 8 MB of memory: it is loaded when a signature is made or verified, not before.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_sdk.base.errors import ConfigError, IntegrityError, TrustError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX = "ed25519:"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whom to believe; written as one line, ``ed25519:<base64>``."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the one-line form.

        Raises:
            ConfigError: It is not that form.
        """
        line = text.strip()
        try:
            raw = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
        except ValueError:
            raw = b""
        if len(raw) != 32 or PublicKey(raw).text != line:
            raise ConfigError(
                f"{line[:60]!r} is no public key; wanted is 'ed25519:' and 44 characters of base64, "
                "as `edge-sdk keys list` prints them."
            )
        return cls(raw)

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """Read a ``.pub`` file.

        Raises:
            ConfigError: The file is not there, or holds no public key.
        """
        try:
            return cls.parse(path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"Public key {path} cannot be read: {error}. `edge-sdk keys new` makes a pair."
            ) from error

    @property
    def text(self) -> str:
        """The one-line form."""
        return _PREFIX + base64.b64encode(self.raw).decode("ascii")

    @property
    def key_id(self) -> str:
        """The first 16 hexadecimal digits of the key's SHA-256: short enough to compare by eye."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise IntegrityError unless `signature` is this key's over `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise IntegrityError(
                f"The signature of key {self.key_id} does not match the manifest: the bundle was changed "
                "after it was signed, or damaged. Get it again from where it was made."
            ) from None


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key; lives on the workstation, never on a station."""

    private: Ed25519PrivateKey

    @classmethod
    def new(cls) -> SigningKey:
        """Make a key from the system's randomness."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a PEM file.

        Raises:
            ConfigError: The file is not there, holds no Ed25519 key, or others may read it.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"Signing key {path} can be read by others. Run: chmod 600 {path}")
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"Signing key {path} cannot be read: {error}. `edge-sdk keys new` makes one.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(
                f"{path} holds a {type(key).__name__}; wanted is an Ed25519 key. Run `edge-sdk keys new`."
            )
        return cls(key)

    def write(self, path: Path) -> None:
        """Write ``path`` (PEM, mode 600, never overwritten) and ``path.pub``."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigError(f"{path} is there already. Give another name, or move it away first.") from None
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        path.with_name(path.name + ".pub").write_text(self.public.text + "\n", encoding="ascii")

    @property
    def public(self) -> PublicKey:
        """The half that stations are given."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return PublicKey(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> Signature:
        """Sign `message`."""
        return Signature(public_key=self.public.text, signature=base64.b64encode(self.private.sign(message)).decode())


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``signature.json``: over the bytes of ``manifest.json``."""

    algorithm: Literal["ed25519"] = "ed25519"
    public_key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles are accepted.

    Attributes:
        keys: Signatures of these count.
        allow_unsigned: Accept anything whose digests are right; for workshops, not for roofs.
    """

    keys: tuple[PublicKey, ...] = field(default=())
    allow_unsigned: bool = False

    @classmethod
    def of(cls, paths: Iterable[Path], *, allow_unsigned: bool = False) -> Trust:
        """Trust the public keys in these files."""
        return cls(tuple(PublicKey.read(path) for path in paths), allow_unsigned)

    def check(self, manifest: bytes, signature: bytes | None) -> PublicKey | None:
        """Verify a manifest's signature before anything in it is believed; give back who signed.

        Raises:
            IntegrityError: The signature is malformed or does not match.
            TrustError: There is none, or its key is not among `keys`, and unsigned is not allowed.
        """
        if signature is None:
            if not self.allow_unsigned:
                raise TrustError(
                    "The bundle is not signed. Sign it (`edge-sdk convert … --sign KEY`), or write "
                    "`allow_unsigned: true` under `trust:` (`--allow-unsigned`) if that is what you want."
                )
            return None
        try:
            record = msgspec.json.decode(signature, type=Signature)
            raw = base64.b64decode(record.signature, validate=True)
            key = PublicKey.parse(record.public_key)
        except ValueError as error:  # msgspec's and base64's errors are ValueErrors, ConfigError too
            raise IntegrityError(f"signature.json is damaged: {error}. Get the bundle again.") from error
        if encode_signature(record) != signature or base64.b64encode(raw).decode() != record.signature:
            raise IntegrityError("signature.json is not in its one written form: it was changed. Get the bundle again.")
        key.verify(raw, manifest)
        if key not in self.keys and not self.allow_unsigned:
            known = ", ".join(trusted.key_id for trusted in self.keys) or "none"
            raise TrustError(
                f"The bundle is signed by key {key.key_id}, trusted are: {known}. "
                "If you trust that key, name its .pub file: `--trust FILE`, on a station under `trust: keys:`."
            )
        return key


def encode_signature(record: Signature) -> bytes:
    """The one written form of ``signature.json``."""
    return msgspec.json.encode(record, order="sorted")
