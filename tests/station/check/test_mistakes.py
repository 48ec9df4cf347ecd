"""Planted mistakes: each is found by its name, with the right remedy and the right exit code."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.manifest import Channel, Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.outbox.sqlite import SqliteOutbox
from edge_sdk.station.check.finding import Finding
from edge_sdk.station.check.plan import check_station
from tests.brokers import RunningBroker, mosquitto
from tests.models import LENGTH, tiny_bundle
from tests.monitor.test_program import monitor, wait
from tests.station.check.certificates import Authority

SENSOR_S = 0.5


@dataclass
class Site:
    """A station in which a mistake is planted."""

    directory: Path
    config: Path
    broker: RunningBroker
    stack: ExitStack = field(default_factory=ExitStack)

    def text(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert old in text, f"{old!r} is not in the configuration"
        self.config.write_text(text.replace(old, new))

    def bundle(self, **changes: object) -> None:
        key = changes.pop("key", SigningKey.read(self.directory / "key"))
        windowing = changes.pop("windowing", Windowing(length=LENGTH, stride=2, rate_hz=50.0))
        tiny_bundle(self.directory / "tiny.edge", key=key, windowing=windowing, **changes)  # type: ignore[arg-type]

    def file(self, name: str, content: str, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.write_text(content)
        path.chmod(mode)
        return path

    def other_broker(self, *lines: str) -> RunningBroker:
        """Another broker in place of the ordinary one, named in the configuration."""
        other = self.stack.enter_context(mosquitto(self.directory / "other", extra="\n".join(lines)))
        self.text(self.broker.url, other.url)
        return other

    def secure_broker(self, *lines: str, ca: str = "ca", **issued: object) -> Authority:
        """A broker with TLS; the station believes `ca`."""
        authority = Authority(self.directory)
        certificate, key = authority.issue("broker", **issued)  # type: ignore[arg-type]
        self.other_broker(f"certfile {certificate}", f"keyfile {key}", f"cafile {authority.file}", *lines)
        self.text('url: "mqtt://', 'url: "mqtts://')
        self.text("delivery: broker", f"delivery: broker, ca_file: {ca}.crt")
        return authority


@pytest.fixture
def site(tmp_path: Path, config: Path, broker: RunningBroker) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, config, broker, stack)


def text(old: str, new: str) -> Callable[[Site], None]:
    return lambda site: site.text(old, new)


def more(line: str) -> Callable[[Site], None]:
    """One more line under the broker's own fields."""
    return text("delivery: broker", f"delivery: broker, {line}")


def a_changed_byte(site: Site) -> None:
    raw = bytearray((site.directory / "tiny.edge").read_bytes())
    raw[len(raw) // 2] ^= 1
    (site.directory / "tiny.edge").write_bytes(raw)


def a_short_copy(site: Site) -> None:
    raw = (site.directory / "tiny.edge").read_bytes()
    (site.directory / "tiny.edge").write_bytes(raw[: len(raw) // 3])


def a_stranger_signs(site: Site) -> None:
    site.bundle(key=SigningKey.new())


def a_key_that_is_none(site: Site) -> None:
    site.file("key.pub", "ssh-ed25519 AAAAC3Nz\n")


def a_state_directory_that_is_a_file(site: Site) -> None:
    site.file("state", "")


def a_state_directory_that_forgets(site: Site) -> None:
    place = site.stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
    site.text("state_directory: state", f"state_directory: {place}")


def an_outbox_in_use(site: Site) -> None:
    outbox = SqliteOutbox.open(site.directory / "state" / "outbox.sqlite", clock=SystemClock())
    site.stack.callback(outbox.close)


def a_recording_that_is_empty(site: Site) -> None:
    np.savez(site.directory / "r.npz", times_s=np.zeros(0), samples=np.zeros((0, 2)))
    site.text(
        "{kind: simulated, options: {rate_hz: 50, block_s: 0.1, channels: 2}}",
        "{kind: replay, options: {file: r.npz, rate_hz: 50}}",
    )


def a_bundle_for_much_faster_samples(site: Site) -> None:
    site.bundle(windowing=Windowing(length=LENGTH, stride=2, rate_hz=16_000.0))


def a_bundle_for_other_values(site: Site) -> None:
    site.bundle(channels=(Channel(name="a", unit="V", minimum=0.0, maximum=3.3), Channel(name="b", unit="V")))


def a_broker_that_is_off(site: Site) -> None:
    site.broker.kill()


def a_port_of_something_else(site: Site) -> None:
    """It accepts, and says nothing that MQTT knows."""
    server = socket.create_server(("127.0.0.1", 0))
    site.stack.callback(server.close)

    def greet() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                caller.sendall(b"220 mail.example ESMTP\r\n")

    threading.Thread(target=greet, daemon=True).start()
    site.text(site.broker.url, f"mqtt://127.0.0.1:{server.getsockname()[1]}")


def passwords(site: Site) -> Path:
    file = site.directory / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(file), "gate", "open"], check=True, capture_output=True)
    file.chmod(0o644)
    return file


def a_wrong_password(site: Site) -> None:
    site.other_broker(f"password_file {passwords(site)}", "allow_anonymous false")
    site.file("secret", "shut\n")
    more("username: gate, password_file: secret")(site)


def no_password_where_one_is_wanted(site: Site) -> None:
    site.other_broker(f"password_file {passwords(site)}", "allow_anonymous false")


def a_password_for_everybody(site: Site) -> None:
    site.file("secret", "open\n", 0o644)
    more("username: gate, password_file: secret")(site)


def an_empty_password(site: Site) -> None:
    site.file("secret", "\n")
    more("username: gate, password_file: secret")(site)


def a_user_who_may_not_write(site: Site) -> None:
    rights = site.file("rights", "topic read #\n", 0o644)
    site.other_broker(f"acl_file {rights}")


def a_ca_of_somebody_else(site: Site) -> None:
    site.secure_broker(ca="other")
    Authority(site.directory, "other")


def no_ca(site: Site) -> None:
    site.secure_broker()
    site.text(", ca_file: ca.crt", "")


def a_certificate_that_has_expired(site: Site) -> None:
    site.secure_broker(days=(-3, -2))


def a_certificate_of_tomorrow(site: Site) -> None:
    site.secure_broker(days=(1, 2))


def a_certificate_of_another_host(site: Site) -> None:
    site.secure_broker(address="10.1.2.3")


def plain_words_to_a_secure_port(site: Site) -> None:
    site.secure_broker()
    site.text("mqtts://", "mqtt://")
    site.text(", ca_file: ca.crt", "")


def tls_to_a_plain_port(site: Site) -> None:
    Authority(site.directory)
    site.text("mqtt://", "mqtts://")
    more("ca_file: ca.crt")(site)


def a_broker_that_wants_our_certificate(site: Site) -> None:
    site.secure_broker("require_certificate true")


def a_certificate_that_the_broker_does_not_believe(site: Site) -> None:
    site.secure_broker("require_certificate true")
    Authority(site.directory, "other").issue("mine")
    more("certificate_file: mine.crt, key_file: mine.key")(site)


def a_ca_file_with_no_certificate(site: Site) -> None:
    site.secure_broker(ca="empty")
    site.file("empty.crt", "no certificate\n")


def a_ca_file_that_is_not_there(site: Site) -> None:
    site.secure_broker(ca="gone")


def a_ca_for_a_plain_port(site: Site) -> None:
    Authority(site.directory)
    more("ca_file: ca.crt")(site)


# What is planted, where it is found, what the remedy says, what the program exits with; 0 = a note.
MISTAKES: list[tuple[Callable[[Site], None], str, str, int]] = [
    (text("site: roof", "sight: roof"), "configuration", "Did you mean 'site'", 78),
    (text("kind: simulated", "kind: simulated, optoins: {}"), "configuration", "Did you mean 'options'", 78),
    (text("station: alone", "station: a/lone"), "configuration", "", 78),
    (text("station: alone", "station: 7"), "configuration", "Put it into quotes", 78),
    (text("site: roof", "site: roof\nsite: attic"), "configuration", "Keep one of them", 78),
    (text("site: roof", "site: [roof"), "configuration", "Check indents and colons", 78),
    (lambda site: site.config.unlink(), "configuration", "Check the path", 78),
    (text("{bundle: tiny.edge}", "{bundle: tiny.edge, sensor: thong}"), "configuration", "Did you mean 'thing'", 78),
    (text("    models:", "    tick_s: 2\n    models:"), "configuration", "Give both, or neither", 78),
    (text("kind: simulated", "kind: simulatd"), "sensor thing", "Did you mean 'simulated'", 78),
    (text("rate_hz: 50", "rate: 50"), "sensor thing", "Did you mean 'rate_hz'", 78),
    (text("rate_hz: 50", "rate_hz: -1"), "sensor thing", "", 78),
    (text("simulated, options: {", "replay, options: {file: gone.npz, repeat: true, "), "sensor thing", "", 78),
    (text("block_s: 0.1", "block_s: 60"), "sensor thing", "--sensor-s", 0),
    (a_recording_that_is_empty, "sensor thing", "", 78),
    (text("  thing:", "  thong:"), "stream level", "write `sensor: NAME`", 78),
    (text("sensors:", "sensors:\n  spare: {kind: simulated}"), "sensor spare", "Write `sensor: spare`", 0),
    (text("channels: 2", "channels: 3"), "model tiny.edge", "let this one give those channels", 78),
    (a_bundle_for_much_faster_samples, "model tiny.edge", "raise the sensor's rate", 0),
    (text("channels: 2", "channels: 2, unit: mV"), "model tiny.edge", "scale, offset, unit", 0),
    (a_bundle_for_other_values, "model tiny.edge", "Is it another unit", 0),
    (text("tiny.edge", "tinny.edge"), "model tinny.edge", "Check the path", 65),
    (a_changed_byte, "model tiny.edge", "again", 65),
    (a_short_copy, "model tiny.edge", "Copy it again", 65),
    (a_stranger_signs, "model tiny.edge", "name its .pub file", 77),
    (lambda site: site.bundle(key=None), "model tiny.edge", "Sign it", 77),
    (text("trust: {keys: [key.pub]}", "trust: {}"), "trust", "Name the .pub file", 78),
    (text("keys: [key.pub]", "allow_unsigned: true"), "trust", "remove allow_unsigned", 0),
    (text("key.pub", "kee.pub"), "key kee.pub", "makes a pair", 78),
    (a_key_that_is_none, "key key.pub", "", 78),
    (text("{bundle: tiny.edge}", "{bundle: tiny.edge, runtime: litrt}"), "model tiny.edge", "'litert'", 78),
    (text("{bundle: tiny.edge}", "{bundle: tiny.edge, precision: int8}"), "model tiny.edge", "--format", 65),
    (text("{bundle: tiny.edge}", "{bundle: tiny.edge, delegates: [edgetpu]}"), "model tiny.edge", "libedgetpu", 69),
    (
        text("{bundle: tiny.edge}", "{bundle: tiny.edge, delegates: [edgetpu], fallback: cpu}"),
        "model tiny.edge", "ask for no delegate", 0,
    ),
    (text("    models:", "    fusion: {method: log_opinion}\n    models:"), "stream level", "'log_opinion_pool'", 78),
    (text("    models:", "    fusion: {options: {wieghts: {}}}\n    models:"), "stream level", "'weights'", 78),
    (text("    models:", "    fusion: {file: gone.fusion}\n    models:"), "stream level", "Check the path", 65),
    (text("state_directory: state", "state_directory: /proc/edge"), "disk", "name another state_directory", 74),
    (a_state_directory_that_is_a_file, "disk", "Name another state_directory", 74),
    (a_state_directory_that_forgets, "disk", "name a state_directory on a disk", 0),
    (text("sensors:", "outbox: {quota_mb: 0.01}\nsensors:"), "outbox", "256 is usual", 78),
    (text("sensors:", "outbox: {quota_mb: 1000000000}\nsensors:"), "outbox", "lower outbox.quota_mb", 0),
    (an_outbox_in_use, "outbox", "a second one would not start", 0),
    (text("mqtt://127.0.0.1", "http://127.0.0.1"), "broker.url", "", 78),
    (text("mqtt://127.0.0.1", "mqtt://gate:hunter2@127.0.0.1"), "broker.url", "Put it into a file", 78),
    (text("mqtt://127.0.0.1", "mqtt://broker.invalid"), "broker DNS", "spelling", 69),
    (a_broker_that_is_off, "broker TCP", "Is the broker running", 69),
    (a_port_of_something_else, "broker MQTT", "", 69),
    (a_wrong_password, "broker MQTT", "Check username and password_file", 69),
    (no_password_where_one_is_wanted, "broker MQTT", "Check username and password_file", 69),
    (more("username: gate, password_file: gone"), "broker.password_file", "Check the path", 78),
    (more("password_file: gone"), "configuration", "Give username", 78),
    (an_empty_password, "broker.password_file", "on one line", 78),
    (a_password_for_everybody, "broker.password_file", "chmod o-rwx", 0),
    (a_user_who_may_not_write, "broker publish", "access list", 69),
    (a_ca_of_somebody_else, "broker TLS", "other.crt did not sign it", 69),
    (no_ca, "broker TLS", "Name the CA that signed it as broker.ca_file", 69),
    (a_certificate_that_has_expired, "broker TLS", "needs a new certificate", 69),
    (a_certificate_of_tomorrow, "broker TLS", "clock", 69),
    (a_certificate_of_another_host, "broker TLS", "the name that is in the broker's certificate", 69),
    (plain_words_to_a_secure_port, "broker MQTT", "write mqtts://", 78),
    (tls_to_a_plain_port, "broker TLS", "1883 for plain MQTT", 69),
    (a_broker_that_wants_our_certificate, "broker TLS", "wants a certificate from us", 78),
    (a_certificate_that_the_broker_does_not_believe, "broker TLS", "does not believe ours", 78),
    (a_ca_file_with_no_certificate, "broker TLS", "PEM file", 78),
    (a_ca_file_that_is_not_there, "broker TLS", "Check the path", 78),
    (a_ca_for_a_plain_port, "broker.ca_file", "Write mqtts://", 78),
    (more("fallback_urls: ['mqtt://127.0.0.1:1']"), "fallback 127.0.0.1 broker TCP", "Is the broker running", 0),
    (text("delivery: broker", "delivery: monitor"), "receipt", "Start `edge-sdk monitor run`", 0),
]  # fmt: skip


def found(site: Site) -> list[Finding]:
    return list(check_station(site.config, sensor_s=SENSOR_S, receipt_s=SENSOR_S))


def name(mistake: object) -> str:
    return getattr(mistake, "__name__", "").replace("<lambda>", "") if callable(mistake) else str(mistake)[:40]


@pytest.mark.parametrize(("plant", "where", "remedy", "exit_code"), MISTAKES, ids=name)
def test_a_planted_mistake_is_found_with_its_remedy(
    site: Site, plant: Callable[[Site], None], where: str, remedy: str, exit_code: int
) -> None:
    plant(site)

    findings = found(site)

    told = [finding for finding in findings if not finding.ok and finding.what == where]
    assert told, findings
    assert any(remedy in finding.remedy and finding.exit_code == exit_code for finding in told), told
    assert all(finding.remedy for finding in findings if not finding.ok), "each says what to do"
    assert "hunter2" not in str(findings)


def test_at_least_25_mistakes_are_planted() -> None:
    assert len(MISTAKES) >= 25


def test_a_good_station_has_nothing_but_notes_on_the_machine(site: Site) -> None:
    assert {finding.what for finding in found(site) if not finding.ok} <= {"user", "clock", "disk", "memory"}


def test_check_makes_no_files(site: Site) -> None:
    before = sorted(path for path in site.directory.iterdir() if path.suffix != ".log")

    found(site)

    assert sorted(path for path in site.directory.iterdir() if path.suffix != ".log") == before


def test_a_monitor_that_answers_is_found(site: Site) -> None:
    site.text("delivery: broker", "delivery: monitor")

    with monitor(site.directory, site.broker.url) as running:
        wait(lambda: running.get("/healthz")["broker"])
        [receipt] = [finding for finding in check_station(site.config) if finding.what == "receipt"]
        counted = running.get("/api/counters")

    assert receipt.ok, receipt
    assert "it has 0 results" in receipt.detail
    assert (counted["results"], counted["quarantined"]) == (0, 0)
