"""The broker, in stages: DNS → TCP → TLS → MQTT → publish → receipt. Each has its own remedy."""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

import anyio

from edge_sdk.base.clock import SystemClock, to_datetime
from edge_sdk.base.errors import ConfigError, EdgeError, PayloadError, TransportError
from edge_sdk.base.ids import new_epoch
from edge_sdk.config.station import StationConfig
from edge_sdk.contract.envelope import encode_pack
from edge_sdk.contract.events import Severity, StationEvent, encode_event
from edge_sdk.contract.receipt import Receipt, decode_receipt
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message, Tls
from edge_sdk.outbox.identity import read_identity
from edge_sdk.station.assembly import OUTBOX_FILE, broker_addresses
from edge_sdk.station.check.finding import Finding, bad, failed, note, well

_TIMEOUT_S = 10.0
_ALERT_S = 0.5
_CONFIG = 78
_UNAVAILABLE = 69
_NOT_YET_VALID = 9  # X509_V_ERR_… of OpenSSL
_HAS_EXPIRED = 10
_OTHER_HOST = {62, 64}


class _StageError(Exception):
    """A stage failed; those behind it cannot be tried."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


def check(config: StationConfig, *, receipt_s: float = 8.0) -> Iterator[Finding]:
    """Each stage, up to the first that fails; the monitor has `receipt_s` for its receipt."""
    try:
        first, *others = broker_addresses(config.broker)
    except EdgeError as error:
        yield failed("broker.url", error)
        return
    yield from _stages(config, first, receipt_s)
    for address in others:  # the station works without them
        for finding in _stages(config, address, receipt_s):
            yield replace(finding, what=f"fallback {address.host} {finding.what}", must=False, exit_code=0)


def _stages(config: StationConfig, address: BrokerAddress, receipt_s: float) -> Iterator[Finding]:
    try:
        yield _dns(address)
        yield _tcp(address)
        if address.tls is not None:
            yield _tls(address, address.tls)
        yield from anyio.run(_talk, config, address, receipt_s)
    except _StageError as failure:
        yield failure.finding


def _stop(what: str, detail: str, remedy: str, *, exit_code: int = _UNAVAILABLE) -> NoReturn:
    raise _StageError(bad(what, detail, remedy, exit_code=exit_code))


def _dns(address: BrokerAddress) -> Finding:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        _stop(
            "broker DNS",
            f"the name {address.host} is not known ({error.strerror})",
            "Check broker.url for spelling; is the network up, and does `getent hosts` find other names?",
        )
    return well("broker DNS", f"{address.host} is {found[0][4][0]}")


def _tcp(address: BrokerAddress) -> Finding:
    place = f"{address.host}:{address.port}"
    try:
        socket.create_connection((address.host, address.port), timeout=_TIMEOUT_S).close()
    except ConnectionRefusedError:
        _stop("broker TCP", f"nobody listens at {place}", "Is the broker running there, and is the port right?")
    except TimeoutError:
        _stop("broker TCP", f"{place} does not answer", "Check the address, and firewalls on the way.")
    except OSError as error:
        _stop("broker TCP", f"{place}: {error.strerror or error}", "Check the network: `ip route` and `ping`.")
    return well("broker TCP", f"{place} answers")


def _tls(address: BrokerAddress, tls: Tls) -> Finding:
    what, place = "broker TLS", f"{address.host}:{address.port}"
    for name, path in (
        ("ca_file", tls.ca_file),
        ("certificate_file", tls.certificate_file),
        ("key_file", tls.key_file),
    ):
        if path is not None and not path.is_file():
            _stop(what, f"broker.{name} {path} is not there", "Check the path.", exit_code=_CONFIG)
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    except (ssl.SSLError, OSError) as error:
        detail = f"broker.ca_file {tls.ca_file} holds no certificate ({error})"
        _stop(what, detail, "Wanted is a PEM file with the CA's certificate.", exit_code=_CONFIG)
    if tls.certificate_file is not None:
        try:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
        except (ssl.SSLError, OSError) as error:
            detail = f"broker.certificate_file and key_file cannot be used ({error})"
            _stop(what, detail, "They are PEM files, and the key is that of the certificate.", exit_code=_CONFIG)
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as secure,
        ):
            version = secure.version()
            secure.settimeout(_ALERT_S)
            with suppress(TimeoutError):  # in TLS 1.3 it refuses our certificate, or the lack of one, only now
                secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        _refuse_certificate(what, place, tls, error)
    except ssl.SSLError as error:
        _refuse_handshake(what, place, tls, error)
    except OSError as error:
        remedy = "Is TLS spoken on that port? Usual is 8883 for TLS, 1883 for plain MQTT (mqtt://)."
        _stop(what, f"{place} broke the handshake off ({error.strerror or error})", remedy)
    return well(what, f"{version}, its certificate is believed")


def _refuse_certificate(what: str, place: str, tls: Tls, error: ssl.SSLCertVerificationError) -> NoReturn:
    detail = f"the certificate of {place} is not believed: {error.verify_message}"
    if error.verify_code == _NOT_YET_VALID:
        now = to_datetime(SystemClock().wall_ns())
        _stop(
            what, detail, f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC. Is it right? Set it, and check again."
        )
    if error.verify_code == _HAS_EXPIRED:
        _stop(what, detail, "If this machine's clock is right, the broker needs a new certificate.")
    if error.verify_code in _OTHER_HOST:
        _stop(what, detail, "Write broker.url with the name that is in the broker's certificate.")
    named = f"{tls.ca_file} did not sign it" if tls.ca_file else "it is none of the system's"
    _stop(what, detail, f"Name the CA that signed it as broker.ca_file; {named}.")


def _refuse_handshake(what: str, place: str, tls: Tls, error: ssl.SSLError) -> NoReturn:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "certificate required" in reason or "bad certificate" in reason or "unknown ca" in reason:
        asked = "It does not believe ours" if tls.certificate_file else "It wants a certificate from us"
        remedy = f"{asked}: give broker.certificate_file and key_file, signed by a CA that it believes."
        _stop(what, f"{place} refused us: {reason}", remedy, exit_code=_CONFIG)
    remedy = "Is TLS spoken on that port? Usual is 8883 for TLS, 1883 for plain MQTT (mqtt://)."
    _stop(what, f"no handshake with {place}: {reason}", remedy)


async def _talk(config: StationConfig, address: BrokerAddress, receipt_s: float) -> list[Finding]:
    findings: list[Finding] = []
    client_id = f"check-{config.site}-{config.station}-{secrets.token_hex(2)}"
    try:
        async with PahoTransport(address, client_id=client_id, connect_timeout_s=_TIMEOUT_S) as transport:
            findings.append(well("broker MQTT", "it lets us in" + (" over TLS" if address.tls else "")))
            await _publish(config, transport, findings)
            if config.broker.delivery == "monitor":
                findings.append(await _receipt(config, transport, receipt_s))
    except _StageError as failure:
        findings.append(failure.finding)
    except ConfigError as error:
        findings.append(failed("broker MQTT", error))
    except TransportError as error:
        findings.append(_not_let_in(address, error) if not findings else failed("broker publish", error))
    return findings


def _not_let_in(address: BrokerAddress, error: TransportError) -> Finding:
    finding = failed("broker MQTT", error)
    if address.tls is None and _speaks_tls(address):
        remedy = "That port speaks TLS: write mqtts:// in broker.url, and name the CA as broker.ca_file."
        return bad(finding.what, finding.detail, remedy, exit_code=_CONFIG)
    if "version" in str(error).lower():
        remedy = "It speaks an older MQTT: wanted is MQTT 5, as mosquitto 1.6 and newer have it."
        return bad(finding.what, finding.detail, remedy, exit_code=finding.exit_code)
    return finding


def _speaks_tls(address: BrokerAddress) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is said to it
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


async def _publish(config: StationConfig, transport: PahoTransport, findings: list[Finding]) -> None:
    """Say that we check, where whoever listens may read it."""
    topics = Topics(config.site, config.station)
    said = StationEvent(
        station=config.station,
        t=to_datetime(SystemClock().wall_ns()),
        severity=Severity.INFO,
        name="station.checked",
        message="Somebody checks the station's configuration.",
    )
    event = Message(topics.of(Kind.EVENT, said.severity.value), encode_event(said))
    remedy = "Let this user {} there, in the broker's access list (docs/how-to/secure-the-broker.md)."
    mine = f"{topics.of(Kind.EVENT).rpartition('/')[0]}/#"
    try:
        with anyio.fail_after(_TIMEOUT_S):
            await transport.subscribe(topics.of(Kind.RECEIPT))
    except TransportError as error:
        _stop("broker publish", str(error), remedy.format(f"read {topics.of(Kind.RECEIPT)}"))
    except TimeoutError:
        _stop("broker publish", "the broker does not confirm our subscription", "See the broker's log.")
    try:
        with anyio.fail_after(_TIMEOUT_S):
            await transport.publish([event])
    except TransportError as error:
        _stop("broker publish", str(error), remedy.format(f"write {mine}"))
    except TimeoutError:
        _stop("broker publish", "the broker does not acknowledge what we publish", "See the broker's log.")
    findings.append(well("broker publish", f"it takes what we say under {mine}"))


async def _receipt(config: StationConfig, transport: PahoTransport, limit_s: float) -> Finding:
    """Send a pack with nothing in it, of our own epoch: a monitor answers it with the receipt that it has for us."""
    what = "receipt"
    identity = read_identity(config.state_directory / OUTBOX_FILE)
    epoch = identity.epochs[-1][1] if identity else new_epoch()
    topics = Topics(config.site, config.station)
    pack = Message(topics.of(Kind.PACK), encode_pack([], station=config.station, epoch=epoch))
    heard_before = False
    with anyio.move_on_after(limit_s):
        await transport.publish([pack])
        while True:
            messages = await transport.receive()
            transport.ack(messages)
            for message in messages:
                if message.retain:
                    heard_before = True
                    continue
                receipt = _read(message)
                if receipt is None:
                    return bad(
                        what, "a receipt came that cannot be read", "Update the monitor.", exit_code=_UNAVAILABLE
                    )
                if receipt.epoch == epoch:
                    n_stored = sum(high - low + 1 for low, high in receipt.stored)
                    return well(what, f"the monitor answers; it has {n_stored} results of this outbox")
    before = "it has answered before" if heard_before else "it never answered this station"
    return note(
        what,
        f"no monitor answered within {limit_s:g} s; {before}",
        "Results will wait in the outbox. Start `edge-sdk monitor run` at this broker, and let us read "
        f"{topics.of(Kind.RECEIPT)}; or, with no monitor at all, write `delivery: broker`.",
    )


def _read(message: Message) -> Receipt | None:
    try:
        return decode_receipt(message.payload)
    except PayloadError:
        return None
