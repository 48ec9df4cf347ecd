"""TLS, mutual TLS and passwords against a real mosquitto; each failure names its stage and the cure."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message, Tls
from tests.brokers import RunningBroker, mosquitto

pytestmark = pytest.mark.anyio


class Authority:
    """A CA that lives for one test."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.crt"
        certificate = self._builder(self._name, self._key.public_key(), is_ca=True).sign(self._key, hashes.SHA256())
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(subject, key.public_key(), is_ca=False)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(self._key, hashes.SHA256())
        )
        files = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def secure(authority: Authority, tmp_path: Path, *more: str) -> str:
    certificate, key = authority.issue("broker")
    return "\n".join([f"cafile {authority.file}", f"certfile {certificate}", f"keyfile {key}", *more])


@pytest.fixture
def mutual(authority: Authority, tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path / "broker", extra=secure(authority, tmp_path, "require_certificate true")) as broker:
        yield broker


def password_file(directory: Path) -> Path:
    """A broker's, in which gate-7's password is `right`."""
    path = directory / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(path), "gate-7", "right"], check=True)
    return path


def transport(broker: RunningBroker, tls: Tls | None, **options: object) -> PahoTransport:
    address = BrokerAddress("127.0.0.1", broker.port, tls=tls, **options)  # type: ignore[arg-type]
    return PahoTransport(address, client_id="a", connect_timeout_s=5.0)


async def works(one: PahoTransport) -> bool:
    async with one:
        await one.subscribe("t")
        await one.publish([Message("t", b"hello")])
        return [message.payload for message in await one.receive()] == [b"hello"]


async def test_mutual_tls_works_with_both_certificates(mutual: RunningBroker, authority: Authority) -> None:
    assert await works(transport(mutual, Tls(authority.file, *authority.issue("station"))))


async def test_a_missing_client_certificate_is_told(mutual: RunningBroker, authority: Authority) -> None:
    with pytest.raises(TransportError, match=r"TLS|MQTT"):
        await works(transport(mutual, Tls(authority.file)))


async def test_a_broker_of_another_authority_is_not_believed(mutual: RunningBroker, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    stranger = Authority(tmp_path / "elsewhere", "stranger")

    with pytest.raises(TransportError, match=r"TLS: its certificate is not believed .* ca_file"):
        await works(transport(mutual, Tls(stranger.file, *stranger.issue("station"))))


async def test_a_ca_file_that_is_not_there_is_a_configuration_error(mutual: RunningBroker, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.crt"):
        await works(transport(mutual, Tls(tmp_path / "missing.crt")))


async def test_tls_to_a_plain_port_is_told(tmp_path: Path, authority: Authority) -> None:
    with mosquitto(tmp_path / "plain") as broker, pytest.raises(TransportError, match=r"TLS|TCP"):
        await works(transport(broker, Tls(authority.file)))


async def test_a_password_is_read_from_its_file_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    passwords = password_file(tmp_path)
    (tmp_path / "right").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    with mosquitto(tmp_path / "broker", extra=f"password_file {passwords}") as broker:
        assert await works(transport(broker, None, username="gate-7", password_file=tmp_path / "right"))
        with pytest.raises(TransportError, match=r"refused us: Not authorized\. Check username and password_file"):
            await works(transport(broker, None, username="gate-7", password_file=tmp_path / "wrong"))
        with pytest.raises(ConfigError, match=r"password file .*missing"):
            await works(transport(broker, None, username="gate-7", password_file=tmp_path / "missing"))


async def test_what_a_user_may_not_publish_is_an_error_that_names_the_topic(tmp_path: Path) -> None:
    passwords, rules = password_file(tmp_path), tmp_path / "acl"
    rules.write_text("pattern write edge/v1/+/%u/#\npattern read edge/v1/+/%u/receipt\n")
    (tmp_path / "right").write_text("right\n")
    with mosquitto(tmp_path / "broker", extra=f"password_file {passwords}\nacl_file {rules}") as broker:
        async with transport(broker, None, username="gate-7", password_file=tmp_path / "right") as one:
            await one.publish([Message("edge/v1/lab/gate-7/status", b"mine")])
            with pytest.raises(TransportError, match=r"refused to publish to edge/v1/lab/gate-8/status"):
                await one.publish([Message("edge/v1/lab/gate-8/status", b"not mine")])
            await one.publish([Message("edge/v1/lab/gate-7/status", b"still here")])
