"""The service: its unit is verified by systemd's own tools, and installed into an image."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from edge_sdk.base.errors import ConfigError, EdgeError
from edge_sdk.base.yaml import parse_yaml
from edge_sdk.cli import commands
from edge_sdk.config.station import StationConfig, read_station
from edge_sdk.station.credentials import with_credentials
from edge_sdk.station.setup.install import install, plan
from edge_sdk.station.setup.unit import Service
from tests.docs.blocks import blocks
from tests.station.process import EDGE_SDK, numbered

PI = Path("/", "home", "pi")
STATION = """\
site: hall
station: press-4
state_directory: /var/lib/edge-sdk
broker: {url: "mqtts://broker.example", username: press-4, password_file: /etc/edge-sdk/password}
sensors:
  light: {kind: simulated}
streams:
  level:
    models: [{bundle: /etc/edge-sdk/light.edge, sensor: light}]
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "station.yaml").write_text(STATION)
    return tmp_path / "station.yaml"


def service(config_file: Path, old: str = "", new: str = "") -> Service:
    text = config_file.read_text()
    assert old in text
    config_file.write_text(text.replace(old, new) if old else text)
    return Service(
        config_file=Path("/etc/edge-sdk/station.yaml"), config=read_station(config_file), program=Path("/bin/true")
    )


def parsed(unit: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(unit)
    return found


def test_the_unit_says_how_it_is_started_watched_and_stopped(config_file: Path) -> None:
    unit = parsed(service(config_file).unit())["Service"]

    assert unit["Type"] == "notify"
    assert unit["ExecStart"] == "/bin/true station run /etc/edge-sdk/station.yaml"
    assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["RestartPreventExitStatus"] == "65 77 78"
    assert unit["StateDirectory"] == "edge-sdk"
    assert unit["LoadCredential"] == "broker.password_file:/etc/edge-sdk/password"
    assert int(unit["WatchdogSec"]) > 0
    assert unit["ProtectKernelTunables"] == "yes"


def test_sensors_get_the_groups_and_rights_that_they_need(config_file: Path) -> None:
    one = service(config_file, "{kind: simulated}", "{kind: iio, options: {}}")

    assert one.groups == ()
    assert parsed(one.unit())["Service"]["ProtectKernelTunables"] == "no"
    two = service(config_file, "{kind: iio, options: {}}", "{kind: nmea, options: {}}")
    assert parsed(two.unit())["Service"]["SupplementaryGroups"] == "dialout"
    assert "m edge dialout\n" in two.users()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("/var/lib/edge-sdk", "state", "below /var/lib"),
        ("/var/lib/edge-sdk", f"{PI}/state", "below /var/lib"),
        ("/etc/edge-sdk/light.edge", f"{PI}/light.edge", "a service cannot see"),
        ("sensors:", f"trust: {{keys: [{PI}/release.pub]}}\nsensors:", "a service cannot see"),
    ],
)
def test_what_a_service_could_not_reach_is_refused(config_file: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        service(config_file, old, new)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("kind", ["simulated", "nmea", "iio"])
def test_systemd_itself_finds_no_fault_in_the_unit(config_file: Path, tmp_path: Path, kind: str) -> None:
    unit = tmp_path / "edge-station.service"
    unit.write_text(service(config_file, "{kind: simulated}", f"{{kind: {kind}}}").unit())

    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)

    about_ours = [line for line in done.stderr.splitlines() if "edge-station" in line]
    assert not about_ours, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_unit_exposes_little(config_file: Path, tmp_path: Path) -> None:
    unit = tmp_path / "edge-station.service"
    unit.write_text(service(config_file).unit())

    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=40", str(unit)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout[-600:] + done.stderr


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or shutil.which("strace") is None, reason="no systemd-analyze or strace"
)
def test_the_station_calls_nothing_that_its_filter_forbids(config: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    command = ["strace", "-f", "-qq", "-c", "-S", "calls", "-U", "name", "-o", str(trace), *EDGE_SDK]
    config.write_text(config.read_text().replace("sensors:", "status: {port: 0}\nsensors:"))
    with subprocess.Popen([*command, "station", "run", str(config)], stderr=subprocess.DEVNULL) as station:
        deadline = time.monotonic() + 60
        while numbered(tmp_path) < 20:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for child in Path(f"/proc/{station.pid}/task/{station.pid}/children").read_text().split():
            subprocess.run(["kill", "-TERM", child], check=True)
        assert station.wait(60) == 0
    called = set(re.findall(r"^ *([a-z][a-z0-9_]+)$", trace.read_text(), re.MULTILINE)) - {"syscall", "total", "name"}
    unit = Service(config_file=Path("/etc/station.yaml"), config=fixed(read_station(config)), program=Path("/bin/true"))
    allowed = expanded(parsed(unit.unit())["Service"]["SystemCallFilter"].split())

    assert {"openat", "read", "futex"} <= called
    assert not called - allowed


def fixed(config: StationConfig) -> StationConfig:
    """The same, with paths that a service may have."""
    return msgspec.structs.replace(
        config, state_directory=Path("/var/lib/edge-sdk"), trust=type(config.trust)(), streams={}
    )


def expanded(names: list[str]) -> set[str]:
    """The calls of systemd's sets."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True).stdout
    sets: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            sets[line.strip()] = current = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            current.append(line.strip())
    todo, found = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name.startswith("@"):
            todo += sets[name]
        else:
            found.add(name)
    return found


def test_the_unit_in_the_documents_is_the_one_that_is_written() -> None:
    shown = {block.language: block.text for block in blocks("docs/how-to/run-a-station-as-a-service.md")}
    place = Path("/etc/edge-sdk/station.yaml")
    config = parse_yaml(shown["yaml"], StationConfig, source=str(place))

    made = Service(config_file=place, config=config, program=Path("/opt/edge-sdk/bin/edge-sdk")).unit()

    assert made == shown["ini"]


def run(*words: str) -> Result:
    return CliRunner().invoke(commands, ["station", *words])


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="no systemd")
def test_an_image_gets_the_unit_the_user_and_the_start_at_boot(config_file: Path, tmp_path: Path) -> None:
    root = tmp_path / "image"
    (root / "etc").mkdir(parents=True)
    steps = list(plan(service(config_file), "edge-station", root=root))
    done = [step.says for step in install(steps)]

    assert done == ["user edge", "make user edge", "unit", "start it at every boot"]
    assert "edge" in (root / "etc/passwd").read_text()
    wanted = root / "etc/systemd/system/multi-user.target.wants/edge-station.service"
    assert wanted.is_symlink()
    assert (root / "etc/systemd/system/edge-station.service").read_text() == service(config_file).unit()


def test_a_dry_run_shows_everything_and_does_nothing() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:  # what is below /tmp, a service cannot see
        (Path(place) / "station.yaml").write_text(STATION)
        answer = run("install", f"{place}/station.yaml", "--dry-run", "--program", "/opt/edge-sdk/bin/edge-sdk")

    assert answer.exit_code == 0, answer.output
    assert "Type=notify" in answer.output
    assert f"ExecStart=/opt/edge-sdk/bin/edge-sdk station run {place}/station.yaml" in answer.output
    assert "systemctl enable edge-station.service" in answer.output
    assert not Path("/etc/systemd/system/edge-station.service").exists()


def test_what_cannot_be_written_says_what_to_do(config_file: Path) -> None:
    steps = list(plan(service(config_file), "edge-station", root=Path("/proc/nowhere")))

    with pytest.raises(EdgeError, match="sudo"):
        list(install(steps))


def test_secrets_come_from_systemd_where_it_hands_them_on(config_file: Path, tmp_path: Path) -> None:
    config = read_station(config_file)
    (tmp_path / "broker.password_file").write_text("secret\n")

    given = with_credentials(config, str(tmp_path))

    assert given.broker.password_file == tmp_path / "broker.password_file"
    assert given.broker.key_file is None
    assert with_credentials(config, "") == config
