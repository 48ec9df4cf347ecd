"""A configuration from a few answers: commented, valid, and good enough to run at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from edge_sdk.base.errors import BundleError, ConfigError
from edge_sdk.base.yaml import read_plain
from edge_sdk.cli import commands
from edge_sdk.config.schema import station_schema
from edge_sdk.config.station import read_station
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.station.check.plan import check_station
from tests.models import LENGTH, tiny_bundle


def init(path: Path, *options: str, said: str | None = None) -> Result:
    asks = () if said is not None else ("--no-input",)
    return CliRunner().invoke(commands, ["station", "init", str(path), *asks, *options], input=said)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    SigningKey.new().write(tmp_path / "key")
    key = SigningKey.read(tmp_path / "key")
    windowing = Windowing(length=LENGTH, stride=2, rate_hz=50.0)
    paths = [tmp_path / "bundles" / f"{name}.edge" for name in ("light", "sound")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        tiny_bundle(path, name=path.stem, sensor=path.stem, key=key, windowing=windowing)
    return paths


def test_the_defaults_are_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "station.yaml"

    answer = init(path, "--site", "hall", "--station", "press-4")

    assert answer.exit_code == 0, answer.output
    config = read_station(path)
    assert (config.site, config.station) == ("hall", "press-4")
    assert "# mqtts:// encrypts" in path.read_text()
    schema = Draft202012Validator(station_schema())
    assert schema.is_valid(read_plain(path))
    assert (tmp_path / "station.schema.json").exists()
    path.write_text(path.read_text().replace("# remote:", "remote:").replace("# location:", "location:"))
    assert read_station(path).remote.allow == ("ping", "rebirth", "snapshot")


def test_bundles_bring_their_sensors_and_streams_and_the_check_is_content(tmp_path: Path, bundles: list[Path]) -> None:
    path = tmp_path / "etc" / "station.yaml"
    options = [word for bundle in bundles for word in ("--bundle", str(bundle))]

    answer = init(path, "--key", str(tmp_path / "key.pub"), "--state-directory", str(tmp_path / "state"), *options)

    assert answer.exit_code == 0, answer.output
    config = read_station(path)
    assert set(config.sensors) == {"light", "sound"}
    [stream] = config.streams.values()
    assert [model.bundle.resolve() for model in stream.models] == bundles
    bad = [finding for finding in check_station(path, with_broker=False) if finding.must and not finding.ok]
    assert not bad


def test_questions_are_asked_and_answers_taken(tmp_path: Path, bundles: list[Path]) -> None:
    path = tmp_path / "station.yaml"
    answers = ["roof", "north", "mqtts://broker.lan", "north", "secret", str(bundles[0]), "broker", str(tmp_path)]
    said = "\n".join([*answers, "replay", "0", ""])

    answer = init(path, said=said)

    assert answer.exit_code == 0, answer.output
    config = read_station(path)
    assert (config.site, config.station, config.broker.url) == ("roof", "north", "mqtts://broker.lan")
    assert config.broker.password_file == tmp_path / "secret"
    assert config.sensors["light"].kind == "replay"
    assert "      file:  # must be given." in path.read_text()
    assert config.status is None


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (["--site", "ha/ll"], ConfigError, "Rename it"),
        (["--broker", "http://x"], ConfigError, "no broker URL"),
        (["--sensor", "light"], ConfigError, "NAME=KIND"),
        (["--sensor", "light=simulatd"], ConfigError, "Did you mean 'simulated'"),
        (["--bundle", "gone.edge"], BundleError, "Check the path"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(
    tmp_path: Path, options: list[str], error: type[Exception], says: str
) -> None:
    answer = init(tmp_path / "station.yaml", *options)

    assert isinstance(answer.exception, error)
    assert says in str(answer.exception)
    assert not (tmp_path / "station.yaml").exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "station.yaml"
    path.write_text("mine\n")

    answer = init(path)

    assert isinstance(answer.exception, ConfigError)
    assert path.read_text() == "mine\n"
    assert init(path, "--force").exit_code == 0
