"""Passwords: Argon2id, as PHC strings."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

# OWASP's second choice (19 MiB, two passes, one lane): some 30 ms, and small enough for a Raspberry Pi.
_MEMORY_KIB, _PASSES, _LANES = 19_456, 2, 1


def hash_password(password: str) -> str:
    """A salted hash that `verify_password` takes."""
    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return kdf.derive_phc_encoded(password.encode())


def verify_password(password: str, hashed: str) -> bool:
    """Whether `hashed` was made from `password`."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), hashed)
    except (InvalidKey, ValueError):
        return False
    return True
