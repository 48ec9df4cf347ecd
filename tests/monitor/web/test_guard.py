"""The guard before the page, with a monitor that serves it."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_sdk.monitor.accounts import Accounts, Role
from edge_sdk.monitor.web.guard import Attempts, is_loopback
from tests.monitor.test_program import COMMAND, monitor

PASSWORD = "correct horse battery"
SAME = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Answer:
    """What came back; the names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """The page's address, asked directly."""

    def __init__(self, url: str, accounts: Accounts) -> None:
        self.host = url.removeprefix("http://")
        self.accounts = accounts

    def ask(self, path: str, *, method: str = "GET", body: object = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, json.dumps(body) if body is not None else None, given)
        try:
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def log_in(self, password: str = PASSWORD) -> Answer:
        return self.ask("/api/login", method="POST", body={"name": "ada", "password": password}, **SAME)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("guard")
    accounts = Accounts(directory / "monitor.db.accounts")
    accounts.add_user("ada", Role.ADMIN, PASSWORD)
    with monitor(directory, "mqtt://127.0.0.1:1") as running:
        assert running.url is not None
        yield Site(running.url, accounts)


def test_without_a_session_pages_lead_to_the_login_and_the_api_says_so(site: Site) -> None:
    page, api = site.ask("/station/north/gate-1"), site.ask("/api/stations")

    assert (page.status, page.headers["location"]) == (303, "/login?next=/station/north/gate-1")
    assert api.status == 401
    assert site.ask("/login").status == 200
    assert site.ask("/static/app.js").status == 200


def test_a_session_opens_the_page_and_log_out_closes_it(site: Site) -> None:
    answer = site.log_in()
    cookie = answer.headers["set-cookie"]
    token = cookie.partition(";")[0]

    assert answer.status == 204
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    me = site.ask("/api/me", Cookie=token)
    assert json.loads(me.body) == {"name": "ada", "role": "admin", "login": True}
    assert site.ask("/api/logout", method="POST", Cookie=token, **SAME).status == 204
    assert site.ask("/api/me", Cookie=token).status == 401


def test_a_key_opens_the_api_and_a_viewers_key_changes_nothing(site: Site) -> None:
    token = site.accounts.add_key("script", Role.VIEWER)

    assert site.ask("/api/stations", Authorization=f"Bearer {token}").status == 200
    assert site.ask("/api/stations", Authorization=f"Bearer {token}x").status == 401
    assert site.ask("/api/stations", method="POST", Authorization=f"Bearer {token}").status == 403


def test_a_request_that_another_page_forged_changes_nothing(site: Site) -> None:
    token = site.log_in().headers["set-cookie"].partition(";")[0]

    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {}):
        assert site.ask("/api/logout", method="POST", Cookie=token, **headers).status == 403

    assert site.ask("/api/me", Cookie=token).status == 200


def test_another_host_name_is_refused_on_loopback(site: Site) -> None:
    assert site.ask("/login", Host="evil.example").status == 421


def test_answers_forbid_scripts_from_elsewhere(site: Site) -> None:
    for path in ("/login", "/api/stations"):
        assert "default-src 'self'" in site.ask(path).headers["content-security-policy"]


def test_guessing_passwords_is_slowed_down(site: Site) -> None:
    answers = [site.log_in("wrong password").status for _ in range(12)]

    assert answers[0] == 401
    assert answers[-1] == 429


def test_attempts_are_forgotten_after_a_minute() -> None:
    attempts = Attempts(of_one=2, of_all=3)

    assert [attempts.allow("a", 0.0), attempts.allow("a", 1.0), attempts.allow("a", 2.0)] == [True, True, False]
    assert [attempts.allow("b", 2.0), attempts.allow("b", 3.0)] == [True, False]
    assert attempts.allow("a", 61.5)


def test_nobody_listens_beyond_loopback_without_an_account(tmp_path: Path) -> None:
    options = ["--store", str(tmp_path / "m.db"), "--listen", "0.0.0.0:0"]
    answer = subprocess.run([*COMMAND, "run", *options], capture_output=True, check=False)

    assert answer.returncode == 78
    assert b"edge-sdk monitor user add NAME --role admin" in answer.stderr


def test_the_first_admin_is_made_by_command(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    store = ["--store", str(tmp_path / "m.db")]

    subprocess.run(
        [*COMMAND, "user", "add", "ada", "--role", "admin", "--password-file", str(tmp_path / "password"), *store],
        check=True,
    )
    listed = subprocess.run([*COMMAND, "user", "list", "--json", "-", *store], capture_output=True, check=True)

    assert json.loads(listed.stdout) == [{"kind": "user", "name": "ada", "role": "admin"}]
    assert Accounts(tmp_path / "m.db.accounts").log_in("ada", PASSWORD, now_ns=0) is not None


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
    ],
)
def test_what_only_this_machine_can_reach_is_known(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so
