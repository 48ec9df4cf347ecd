"""paho's client, made and connected as a transport needs it; every failure says its stage and its remedy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.client import PUBACK
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_sdk.base.errors import TransportError
from edge_sdk.mqtt.buffered import BufferedSocket
from edge_sdk.mqtt.credentials import Credentials
from edge_sdk.mqtt.outgoing import Batch, Outgoing
from edge_sdk.mqtt.transport import BrokerAddress, Message

SEND_WINDOW = 1000
"""Messages under way at most, unless the broker allows fewer: 2.4 times as fast as 20."""

_JOINED_BYTES = 64 * 1024
_READ_AT_ONCE = 200  # packets, before others on the event loop have their turn
_DISCONNECT_WITH_WILL = 0x04


@dataclass(frozen=True, slots=True)
class Session:
    """Who we are at the broker, and what it keeps for us.

    Attributes:
        client_id: Name of the session; two connections of one name throw each other out.
        will: What the broker publishes when we vanish.
        keepalive_s: A silent connection is given up after one and a half times this, on both sides.
        clean_start: Forget what an earlier session of this name left.
        session_expiry_s: How long the broker keeps our subscriptions and messages after the connection ends. With
            MQTT 3.1.1 anything above 0 means: as long as the broker likes.
        receive_window: Messages that the broker may send ahead of our acknowledgements, 1 to 65535.
        connect_timeout_s: Limit of each stage of connecting.
    """

    client_id: str
    will: Message | None = None
    keepalive_s: int = 30
    clean_start: bool = True
    session_expiry_s: int = 0
    receive_window: int = 1000
    connect_timeout_s: float = 10.0


class Client(paho.Client):
    """paho's client with a quicker way to and from its socket: many packets for each system call.

    It has no thread: once connected it lives on an event loop, which calls `loop_read`, `loop_write` and `loop_misc`.
    It also closes a socket whose TLS handshake fails, which paho forgets: a station that retries would leak.
    """

    on_acknowledged: Callable[[Sequence[Batch]], None]
    """Called with the batches of which the broker has everything now; often none."""
    on_arrived: Callable[[bytes, bytes, int, bool, int], None]
    """Called with topic, payload, quality of service, whether it was retained, and its number."""
    _is_bursting = False

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.outgoing = Outgoing(self._mid_generate, self._put_out, window=SEND_WINDOW)

    @contextmanager
    def burst(self) -> Iterator[None]:
        """What is published or acknowledged within goes out together at its end; nothing may wait within."""
        self._is_bursting = True
        try:
            yield
        finally:
            self._is_bursting = False
            if self._out_packet:
                self.loop_write()

    @property
    def has_more_to_read(self) -> bool:
        """Whether something came that the kernel tells nobody of any more."""
        sock: Any = self._sock
        return sock is not None and bool(sock.pending())

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Take in what came, up to a limit, and send what that allows to be sent."""
        for _ in range(_READ_AT_ONCE):
            if self._sock is None:
                return MQTTErrorCode.MQTT_ERR_NO_CONN
            code = self._packet_read()
            if code > 0:
                return self._loop_rc_handle(code)
            if code == MQTTErrorCode.MQTT_ERR_AGAIN or not self.has_more_to_read:
                break
        return self.loop_write() if self._out_packet else MQTTErrorCode.MQTT_ERR_SUCCESS

    def acknowledge_now(self) -> None:
        """Have TCP acknowledge what came: a broker that collects small packets (Nagle) keeps PUBACKs back for that."""
        sock: Any = self._sock
        if sock is not None and hasattr(socket, "TCP_QUICKACK"):
            with suppress(OSError):  # whoever reads next meets it
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def cut(self) -> None:
        """Close the socket without a word, if it is open."""
        sock: Any = self._sock
        if sock is not None:
            with suppress(OSError):  # it may just have gone by itself, which is what we want
                sock.shutdown(socket.SHUT_RDWR)
            self._sock_close()

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        """A PUBACK, and all that came with it; paho would make objects for each and look at everything in flight."""
        sock: Any = self._sock
        packet = self._in_packet["packet"]
        if cmd != "PUBACK" or len(packet) < 2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL  # we publish at QoS 1
        first = int.from_bytes(packet[:2], "big"), packet[2] if len(packet) > 2 else 0
        self.on_acknowledged(self.outgoing.acknowledged([first, *sock.take_pubacks()]))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_publish(self) -> MQTTErrorCode:
        """A message at QoS 0 or 1; its properties are passed over, for nothing here asks for any."""
        header, packet = self._in_packet["command"], self._in_packet["packet"]
        qos = (header >> 1) & 3
        at = 2 + int.from_bytes(packet[:2], "big")
        topic = bytes(packet[2:at])
        mid = int.from_bytes(packet[at : at + 2], "big") if qos else 0
        at += 2 if qos else 0
        if self._protocol == paho.MQTTv5:
            length, size = _variable_length(packet, at)
            at += size + length
        if qos > 1 or at > len(packet):
            return MQTTErrorCode.MQTT_ERR_PROTOCOL  # we subscribe at QoS 1
        self.on_arrived(topic, bytes(packet[at:]), qos, bool(header & 1), mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: paho.MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        if not self._is_bursting:
            return super()._packet_queue(command, packet, mid, qos, info)
        size = len(packet)
        self._out_packet.append(
            {"command": command, "mid": mid, "qos": qos, "pos": 0, "to_process": size, "packet": packet, "info": info}
        )
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _packet_write(self) -> MQTTErrorCode:
        self._join_packets()
        return super()._packet_write()

    def _put_out(self, packets: bytes | bytearray) -> None:
        self._out_packet.append(_as_one(packets))

    def _join_packets(self) -> None:
        """Make one packet of those in front that nobody need be told of when they are gone."""
        waiting, joined = self._out_packet, bytearray()
        if len(waiting) < 2:
            return
        while waiting and waiting[0]["pos"] == 0 and len(joined) < _JOINED_BYTES:
            if waiting[0]["command"] & 0xF0 != PUBACK:
                break
            joined += waiting.popleft()["packet"]
        if joined:
            waiting.appendleft(_as_one(joined))

    def _create_socket_connection(self) -> socket.socket:
        if self._get_proxy():
            return super()._create_socket_connection()
        source = (self._bind_address, self._bind_port)
        address: Any = (_name(self._host), self._port)
        return socket.create_connection(address, self.connect_timeout, source)

    def _create_socket(self) -> Any:
        made: Any = super()._create_socket()
        return BufferedSocket(made)

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        assert self._ssl_context is not None
        name = _name(self._host)
        wrapped = self._ssl_context.wrap_socket(tcp_sock, server_hostname=name, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self.connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def make_client(address: BrokerAddress, session: Session, credentials: Credentials) -> Client:
    """A client that never reconnects by itself and acknowledges nothing by itself. Raises ConfigError."""
    is_old = address.version == "3.1.1"
    old: dict[str, Any] = {"clean_session": session.clean_start and not session.session_expiry_s} if is_old else {}
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=session.client_id,
        protocol=paho.MQTTv311 if is_old else paho.MQTTv5,
        reconnect_on_failure=False,
        manual_ack=True,
        **old,
    )
    client.connect_timeout = session.connect_timeout_s
    if address.username is not None:
        client.username_pw_set(address.username, credentials.password())
    context = credentials.tls_context()
    if context is not None:
        client.tls_set_context(context)
    if session.will is not None:
        client.will_set(session.will.topic, session.will.payload, session.will.qos, session.will.retain)
    client.on_socket_open = _no_delay
    return client


def connect(client: Client, address: BrokerAddress, session: Session) -> None:
    """Connect by TCP and TLS and send CONNECT. Blocking. Raises TransportError with the stage that failed."""
    new: dict[str, Any] = {}
    if address.version == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session.session_expiry_s
        properties.ReceiveMaximum = session.receive_window
        new = {"clean_start": session.clean_start, "properties": properties}
    try:
        socket.getaddrinfo(_name(address.host), address.port, type=socket.SOCK_STREAM)
        client.connect(address.host, address.port, session.keepalive_s, **new)
    except socket.gaierror as error:
        raise failure(
            address, "DNS", f"the name is not known ({error.strerror}). Check its spelling and the network."
        ) from error
    except ssl.SSLError as error:
        raise failure(address, "TLS", _tls_reason(error)) from error
    except ConnectionRefusedError as error:
        raise failure(address, "TCP", "nobody listens there. Is the broker running, and is the port right?") from error
    except TimeoutError as error:
        raise failure(address, "TCP", "no answer in time. Check the address, the network and firewalls.") from error
    except OSError as error:
        raise failure(address, "TCP", f"{error.strerror or error}. Check the address and the network.") from error


def say_goodbye(client: Client, with_will: bool) -> None:
    """Say DISCONNECT, behind all that waits to be sent; `with_will` = the broker shall publish our will."""
    if with_will and client.protocol != paho.MQTTv5:
        client.cut()  # 3.1.1 has no such word: whoever goes without one leaves the will
    else:
        reason = ReasonCode(PacketTypes.DISCONNECT, identifier=_DISCONNECT_WITH_WILL) if with_will else None
        client.disconnect(reason)
        client.loop_write()


def failure(address: BrokerAddress, stage: str, why: str) -> TransportError:
    """An error that names the broker and the stage."""
    return TransportError(f"Broker {address.host}:{address.port}, {stage}: {why}")


def refusal(reason: int) -> str:
    """What a reason of MQTT 5 means."""
    return str(next(iter(ReasonCode.names.get(reason, ())), f"reason {reason:#04x}"))


def remedy(reason: str) -> str:
    """What to do about a refused connection."""
    if reason in {"Not authorized", "Bad user name or password"}:
        return "Check username and password_file."
    if reason == "Client identifier not valid":
        return "Choose another client id."
    if reason == "Unsupported protocol version":
        return "Set mqtt_version to '3.1.1'."
    return "See the broker's log."


def _name(host: str) -> str | bytes:
    """A host as bytes where it is ASCII: for a text Python loads tables of all scripts, 0.5 MB."""
    return host.encode() if host.isascii() else host


def _as_one(packets: bytes | bytearray) -> Any:
    """Packets as paho queues one, of which nobody need be told when it is gone; its rest is sent without a copy."""
    size, view = len(packets), memoryview(packets)
    return {"command": PUBACK, "mid": 0, "qos": 1, "pos": 0, "to_process": size, "packet": view, "info": None}


def _variable_length(packet: bytes | bytearray, at: int) -> tuple[int, int]:
    """A length of MQTT, and how many bytes say it."""
    value = 0
    for size in range(1, 5):
        byte = packet[at + size - 1] if at + size <= len(packet) else 0
        value |= (byte & 0x7F) << (7 * (size - 1))
        if byte < 0x80:
            break
    return value, size


def _no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not believed ({error.verify_message}). Name the CA that signed it as ca_file,"
            " and call the broker by the name that is in its certificate."
        )
    return f"the handshake failed ({error.reason or error}). Is TLS spoken on that port, and with our certificate?"
