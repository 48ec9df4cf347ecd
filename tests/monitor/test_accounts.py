"""Users, sessions and API keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.accounts import SESSION_NS, Account, Accounts, Role

PASSWORD = "correct horse battery"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    made = Accounts(tmp_path / "accounts")
    made.add_user("ada", Role.ADMIN, PASSWORD)
    return made


def test_there_are_none_before_the_first_is_made(tmp_path: Path) -> None:
    assert not Accounts(tmp_path / "accounts").exist()


def test_a_session_is_its_user_until_it_runs_out(accounts: Accounts) -> None:
    token = accounts.log_in("ada", PASSWORD, now_ns=0)

    assert token is not None
    assert accounts.of_session(token, now_ns=SESSION_NS) == Account("ada", Role.ADMIN)
    assert accounts.of_session(token, now_ns=SESSION_NS + 1) is None
    assert accounts.of_session(token + "x", now_ns=0) is None


def test_a_session_ends_with_log_out_with_a_new_password_and_with_its_user(accounts: Accounts) -> None:
    def session() -> str:
        token = accounts.log_in("ada", PASSWORD, now_ns=0)
        assert token is not None
        return token

    first = session()
    accounts.log_out(first)
    second = session()
    accounts.add_user("ada", Role.VIEWER, PASSWORD)
    third = session()
    accounts.remove_user("ada")

    assert [accounts.of_session(token, now_ns=0) for token in (first, second, third)] == [None, None, None]


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong password"), ("eve", PASSWORD), ("", ""), ("ada", "\udc80")]
)
def test_nobody_else_gets_in(accounts: Accounts, name: str, password: str) -> None:
    assert accounts.log_in(name, password.encode("utf-8", "replace").decode(), now_ns=0) is None


def test_a_key_is_told_once_and_can_be_taken_back(accounts: Accounts) -> None:
    token = accounts.add_key("script", Role.VIEWER)
    assert accounts.of_key(token) == Account("script", Role.VIEWER)

    accounts.remove_key("script")

    assert accounts.of_key(token) is None


def test_the_file_holds_neither_password_nor_token_and_only_its_owner_reads_it(accounts: Accounts) -> None:
    token, key = accounts.log_in("ada", PASSWORD, now_ns=0), accounts.add_key("script", Role.VIEWER)

    raw = accounts.path.read_bytes()

    assert token is not None
    assert PASSWORD.encode() not in raw
    assert token.encode() not in raw
    assert key.encode() not in raw
    assert b"$argon2id$" in raw
    assert accounts.path.stat().st_mode & 0o077 == 0


def test_a_short_password_and_an_odd_name_are_refused(accounts: Accounts) -> None:
    with pytest.raises(ConfigError, match="10 or more"):
        accounts.add_user("bob", Role.VIEWER, "short")
    with pytest.raises(ConfigError, match="user is 'b ob'"):
        accounts.add_user("b ob", Role.VIEWER, PASSWORD)
    with pytest.raises(ConfigError, match="Did you mean 'ada'"):
        accounts.remove_user("adda")
