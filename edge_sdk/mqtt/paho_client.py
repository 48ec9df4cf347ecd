"""paho's client, made and connected as a transport needs it; every failure says its stage and its remedy. Blocking."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_sdk.base.errors import TransportError
from edge_sdk.mqtt.credentials import Credentials
from edge_sdk.mqtt.transport import BrokerAddress, Message

SEND_WINDOW = 1000
"""Messages under way at most, unless the broker allows fewer: 2.4 times as fast as 20."""

_GOODBYE_S = 2.0
_DISCONNECT_WITH_WILL = 0x04
_NO_PROPERTIES = (None, None)


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
    """paho's client, which forgets to close a socket whose TLS handshake fails: a station that retries would leak."""

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        assert self._ssl_context is not None
        wrapped = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self.connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def allow_in_flight(self, count: int) -> None:
        """A broker that is given more than it allows ends the connection.

        paho reads the limit from its own setting alone, which it lets nobody change once connected.
        """
        self._max_inflight_messages = count


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
    client.max_inflight_messages = SEND_WINDOW
    client.max_queued_messages = 0
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
    """Connect by TCP and TLS and send CONNECT. Raises TransportError with the stage that failed."""
    new: dict[str, Any] = {}
    if address.version == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session.session_expiry_s
        properties.ReceiveMaximum = session.receive_window
        new = {"clean_start": session.clean_start, "properties": properties}
    try:
        socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
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
    """Say DISCONNECT and wait until the thread has ended; `with_will` = the broker shall publish our will."""
    if with_will and client.protocol != paho.MQTTv5:
        _cut(client)  # 3.1.1 has no such word: whoever goes without one leaves the will
    else:
        reason = ReasonCode(PacketTypes.DISCONNECT, identifier=_DISCONNECT_WITH_WILL) if with_will else None
        client.disconnect(reason)
    thread = client._thread
    if thread is not None:
        thread.join(_GOODBYE_S)
        if thread.is_alive():  # the network does not take our goodbye
            _cut(client)
            client.loop_stop()


def publish_properties(message: Message, alias: int | None) -> Properties | None:
    """What MQTT 5 says beside a message; None = nothing."""
    if alias is None and (message.expiry_s, message.content_type) == _NO_PROPERTIES:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if alias is not None:
        properties.TopicAlias = alias
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.content_type is not None:
        properties.ContentType = message.content_type
    return properties


def failure(address: BrokerAddress, stage: str, why: str) -> TransportError:
    """An error that names the broker and the stage."""
    return TransportError(f"Broker {address.host}:{address.port}, {stage}: {why}")


def remedy(reason: str) -> str:
    """What to do about a refused connection."""
    if reason in {"Not authorized", "Bad user name or password"}:
        return "Check username and password_file."
    if reason == "Client identifier not valid":
        return "Choose another client id."
    if reason == "Unsupported protocol version":
        return "Set mqtt_version to '3.1.1'."
    return "See the broker's log."


def _no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _cut(client: Client) -> None:
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with suppress(OSError):  # it may just have gone by itself, which is what we want
            sock.shutdown(socket.SHUT_RDWR)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not believed ({error.verify_message}). Name the CA that signed it as ca_file,"
            " and call the broker by the name that is in its certificate."
        )
    return f"the handshake failed ({error.reason or error}). Is TLS spoken on that port, and with our certificate?"
