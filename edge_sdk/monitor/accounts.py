"""Who may look and who may act: users, sessions and API keys, in a small SQLite file beside the store."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from edge_sdk.base.errors import ConfigError, StoreError, nearest
from edge_sdk.base.ids import check_id

SESSION_NS = 12 * 3600 * 10**9
PASSWORD_LENGTH = 10
_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, role INTEGER NOT NULL, hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    name TEXT PRIMARY KEY, role INTEGER NOT NULL, digest BLOB NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    digest BLOB PRIMARY KEY, name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE, until_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


class Role(IntEnum):
    """What somebody may do; each may what those before may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody, as far as the page is concerned.

    Attributes:
        name: Of the user or the API key.
        role: What they may do.
    """

    name: str
    role: Role


ANYBODY = Account("", Role.ADMIN)
"""Who is on this machine when there are no accounts at all."""


class Accounts:
    """The file. Passwords are kept as Argon2id hashes, sessions and keys as SHA-256 of random tokens.

    Every call opens the file anew: calls are rare, and the command line may change it while the monitor runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exist(self) -> bool:
        """Whether anybody has an account; if not, there is nobody to log in as."""
        return self.path.exists() and bool(self._run("SELECT 1 FROM users LIMIT 1"))

    def add_user(self, name: str, role: Role, password: str) -> None:
        """Make a user, or give one a new password and role; that ends their sessions.

        Raises:
            ConfigError: The name is no id, or the password is too short.
        """
        from edge_sdk.monitor.argon2 import hash_password

        check_id("user", name)
        if len(password) < PASSWORD_LENGTH:
            raise ConfigError(f"The password has {len(password)} characters; wanted are {PASSWORD_LENGTH} or more.")
        hashed = hash_password(password)
        self._run("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", name, int(role), hashed)
        self._run("DELETE FROM sessions WHERE name = ?", name)

    def remove_user(self, name: str) -> None:
        """Remove a user and end their sessions.

        Raises:
            ConfigError: There is none of that name.
        """
        names = [user.name for user in self.users()]
        if name not in names:
            raise ConfigError(f"There is no user {name!r}. {nearest(name, names)}")
        self._run("DELETE FROM sessions WHERE name = ?", name)
        self._run("DELETE FROM users WHERE name = ?", name)

    def users(self) -> list[Account]:
        """Every user."""
        return [Account(name, Role(role)) for name, role in self._run("SELECT name, role FROM users ORDER BY name")]

    def add_key(self, name: str, role: Role) -> str:
        """Make an API key; it is given back now and never again."""
        check_id("key", name)
        token = secrets.token_urlsafe(32)
        self._run("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", name, int(role), _digest(token))
        return token

    def remove_key(self, name: str) -> None:
        """Make an API key useless.

        Raises:
            ConfigError: There is none of that name.
        """
        names = [key.name for key in self.keys()]
        if name not in names:
            raise ConfigError(f"There is no key {name!r}. {nearest(name, names)}")
        self._run("DELETE FROM keys WHERE name = ?", name)

    def keys(self) -> list[Account]:
        """Every API key, without its secret."""
        return [Account(name, Role(role)) for name, role in self._run("SELECT name, role FROM keys ORDER BY name")]

    def log_in(self, name: str, password: str, *, now_ns: int) -> str | None:
        """Open a session; None = no such user or another password, and it takes as long to say either."""
        from edge_sdk.monitor.argon2 import hash_password, verify_password

        found = self._run("SELECT hash FROM users WHERE name = ?", name)
        if not found:
            hash_password(password)
            return None
        if not verify_password(password, found[0][0]):
            return None
        token = secrets.token_urlsafe(32)
        self._run("DELETE FROM sessions WHERE until_ns < ?", now_ns)
        self._run("INSERT INTO sessions VALUES (?, ?, ?)", _digest(token), name, now_ns + SESSION_NS)
        return token

    def log_out(self, token: str) -> None:
        """End a session."""
        self._run("DELETE FROM sessions WHERE digest = ?", _digest(token))

    def of_session(self, token: str, *, now_ns: int) -> Account | None:
        """Whose session it is; None = nobody's, or it has run out."""
        found = self._run(
            "SELECT users.name, role FROM sessions JOIN users ON users.name = sessions.name"
            " WHERE digest = ? AND until_ns >= ?",
            _digest(token),
            now_ns,
        )
        return Account(found[0][0], Role(found[0][1])) if found else None

    def of_key(self, token: str) -> Account | None:
        """Whose API key it is; None = nobody's."""
        found = self._run("SELECT name, role FROM keys WHERE digest = ?", _digest(token))
        return Account(found[0][0], Role(found[0][1])) if found else None

    def _run(self, sql: str, *arguments: object) -> list[tuple[str, int]]:
        try:
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            db = sqlite3.connect(self.path, isolation_level=None, timeout=10.0)
            try:
                db.executescript(_SCHEMA)
                db.execute("PRAGMA foreign_keys = ON")
                return db.execute(sql, arguments).fetchall()
            finally:
                db.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"Accounts file {self.path} cannot be used: {error}.") from error


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
