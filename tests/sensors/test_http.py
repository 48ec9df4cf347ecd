from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.sensors.http import Http
from tests.mqtt.test_tls import Authority
from tests.sensors.stands import web_server
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio


def http(url: str, channels: dict[str, str] | None = None, **options: Any) -> Http:
    return Http(
        "meter",
        Http.Options(url=url, channels=channels or {"power": "ENERGY.Power"}, rate_hz=50, **options),
        clock=SystemClock(),
    )


@pytest.mark.parametrize(
    ("body", "channels", "row"),
    [
        (b'{"ENERGY": {"Power": 37.5}}', {"power": "ENERGY.Power"}, [37.5]),
        (b"21.5\n", {"t": ""}, [21.5]),
        (b"ON", {"door": ""}, [1.0]),
        (b'[{"v": 1}, {"v": 2}]', {"b": "1.v", "a": "0.v", "c": "2.v"}, [2.0, 1.0, np.nan]),
    ],
)
async def test_json_words_and_plain_numbers_are_read(body: bytes, channels: dict[str, str], row: list[float]) -> None:
    with web_server(lambda path: (200, body)) as server:
        [reading] = await until(http(server.url, channels).run, 1)

    np.testing.assert_array_equal(reading.samples[0], np.array(row, np.float32))


async def test_an_answer_without_a_value_is_a_gap_and_counted() -> None:
    bodies = iter([b"\xff\xfe", b'{"ENERGY": {}}', b"no json at all"])
    good = b'{"ENERGY": {"Power": 1}}'

    with web_server(lambda path: (200, next(bodies, good))) as server:
        sensor = http(server.url)
        [reading] = await until(sensor.run, 1)

    assert reading.samples[0, 0] == 1
    assert sensor.counters["messages.malformed"] == 1
    assert sensor.counters["messages.empty"] == 2
    assert sensor.counters["samples.unreadable"] == 3


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (401, "password_file"),
        (404, "Check the path"),
        (500, "500"),
        (301, "points to /elsewhere"),
        (429, "lower rate_hz"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, cure: str) -> None:
    with web_server(lambda path: (status, b"")) as server, pytest.raises(SensorError, match=cure):
        await http(server.url).run(ignore)


async def test_a_connection_that_the_server_closed_meanwhile_is_made_anew() -> None:
    with web_server(lambda path: (200, b'{"ENERGY": {"Power": 1}}')) as server:
        came = 0

        async def emit(reading: object) -> None:
            nonlocal came
            came += 1
            if came == 2:
                await anyio.to_thread.run_sync(server.stop)
                await anyio.to_thread.run_sync(server.start)
            if came == 4:
                raise EnoughError

        with anyio.fail_after(60), pytest.raises(EnoughError):
            await http(server.url).run(emit)


class EnoughError(Exception):
    pass


async def test_nobody_there_is_a_lost_sensor() -> None:
    with web_server(lambda path: (200, b"1")) as server:
        url = server.url
    with pytest.raises(SensorError, match=r"does not answer.*refused"):
        await http(url).run(ignore)


async def test_an_endless_answer_is_cut_off() -> None:
    with web_server(lambda path: (200, b"1" * 2_000_000)) as server, pytest.raises(SensorError, match="a megabyte"):
        await http(server.url).run(ignore)


async def test_the_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")

    with web_server(lambda path: (200, b'{"ENERGY": {"Power": 1}}')) as server:
        await until(http(server.url, username="me", password_file=tmp_path / "password").run, 1)

    assert server.authorizations[0] == "Basic bWU6c2VjcmV0"


async def test_a_server_is_believed_by_its_certificate_alone(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server"))

    with web_server(lambda path: (200, b"21.5"), tls) as server:
        url = server.url.replace("http:", "https:")
        [reading] = await until(http(url, {"t": ""}, ca_file=authority.file).run, 1)
        with pytest.raises(SensorError, match=r"does not answer.*certificate"):
            await http(url, {"t": ""}, ca_file=other.file).run(ignore)

    assert reading.samples[0, 0] == 21.5


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: http("ftp://127.0.0.1/x"), "no URL to ask"),
        (lambda: http("http://127.0.0.1:http/x"), "no URL to ask"),
        (lambda: http("http://me:secret@127.0.0.1/x"), "password_file"),
        (lambda: http("http://127.0.0.1/x", password_file=Path("p")), "no username"),
    ],
)
def test_a_mistake_in_the_url_is_told_at_once(make: Callable[[], Http], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make()
    assert "secret" not in str(caught.value)
