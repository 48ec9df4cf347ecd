"""A sensor that publishes by itself: Zigbee2MQTT, Tasmota, ESPHome, a plain number on a topic.

It stands in this room since a sensor knows no MQTT; to a station it is a plug-in of ``edge_sdk.sensors`` like another.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, SensorError, TransportError
from edge_sdk.mqtt.transport import BrokerAddress, Message, Tls
from edge_sdk.sensors.base import Emit, Positive, Strict
from edge_sdk.sensors.hold import Hold
from edge_sdk.sensors.pick import Pick, at, moment_ns, number
from edge_sdk.sensors.stamp import Stamp


class MqttTopic:
    """Values that somebody else publishes on MQTT topics, as JSON or as plain numbers; words as ON and OFF are 1 and 0.

    Each message makes a row; a channel that it says nothing of keeps its last value for `hold_s`.
    """

    class Options(Strict, frozen=True, kw_only=True):
        """Which broker, which topics, where the values are."""

        broker: Annotated[str, Meta(description="mqtt://HOST[:PORT] or mqtts://HOST[:PORT].")] = "mqtt://127.0.0.1:1883"
        topic: Annotated[str | None, Meta(description="As zigbee2mqtt/porch or tele/porch/SENSOR.")] = None
        channels: Annotated[
            dict[str, str],
            Meta(min_length=1, description="Channel: path of its value, as AM2301.Temperature; '' = all of it."),
        ]
        topics: Annotated[dict[str, str], Meta(description="Channel: its own topic, for those that have one.")] = (
            msgspec.field(default_factory=dict)
        )
        time: Annotated[
            str | None, Meta(description="Path of the event time: ISO 8601 with its zone, or since 1970, s or ms.")
        ] = None
        hold_s: Annotated[float, Meta(ge=0, description="How long a channel's value counts after it came.")] = 60.0
        retained: Annotated[
            bool, Meta(description="Whether a message that the broker had kept counts: it may be old.")
        ] = False
        availability: Annotated[
            str | None, Meta(description="Topic on which the device is told to be offline: tele/porch/LWT.")
        ] = None
        rate_hz: Annotated[
            Positive | None, Meta(description="Samples a second, if they come steadily; default: when they come.")
        ] = None
        username: Annotated[str | None, Meta(description="Who we are at the broker; default: anonymous.")] = None
        password_file: Annotated[Path | None, Meta(description="File with the password, one line.")] = None
        ca_file: Annotated[Path | None, Meta(description="Certificates to believe; default: the system's.")] = None
        certificate_file: Annotated[Path | None, Meta(description="Our certificate, for mutual TLS.")] = None
        key_file: Annotated[Path | None, Meta(description="Its private key.")] = None

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        self.name, self._options, self._clock = name, options, clock
        self.channels = tuple(options.channels)
        self.units = ("",) * len(self.channels)
        self.rate_hz, self.block_s = options.rate_hz, 0.0
        self.counters: Counter[str] = Counter()
        self._picks = {
            topic: (indices, Pick({name: options.channels[name] for name in names}, counters=self.counters))
            for topic, indices, names in _topics(options)
        }
        self._address = BrokerAddress.parse(
            options.broker,
            tls=Tls(ca_file=options.ca_file, certificate_file=options.certificate_file, key_file=options.key_file),
            username=options.username,
            password_file=options.password_file,
        )

    async def run(self, emit: Emit) -> None:
        """Listen for ever.

        Raises:
            SensorError: The broker is out of reach, or the device is said to be offline.
        """
        from edge_sdk.mqtt.paho import PahoTransport

        hold = Hold(len(self.channels), self._options.hold_s)
        stamp = Stamp(self.name, self._clock, self.rate_hz)
        availability = self._options.availability
        try:
            async with PahoTransport(self._address, client_id=f"edge-sdk-{secrets.token_hex(6)}") as transport:
                await transport.subscribe(*self._picks, *([] if availability is None else [availability]))
                while True:
                    messages = await transport.receive()
                    await self._hand_on(messages, hold, stamp, emit)
                    transport.ack(messages)
        except TransportError as error:
            raise SensorError(f"Sensor {self.name!r}: {error}") from error

    async def _hand_on(self, messages: Sequence[Message], hold: Hold, stamp: Stamp, emit: Emit) -> None:
        """The rows of some messages, as one block."""
        rows: list[Sequence[float]] = []
        times_ns: list[int] = []
        is_offline = False
        for message in messages:
            if message.topic == self._options.availability:
                is_offline = _says_offline(message.payload)
            elif message.topic not in self._picks:
                continue
            elif message.retain and not self._options.retained:
                self.counters["messages.retained"] += 1
            elif (found := self._row(message, hold)) is not None:
                rows.append(found[0])
                times_ns.append(found[1])
        if rows:
            samples = np.asarray(rows, np.float32)
            await emit(stamp.reading(samples, np.asarray(times_ns, np.int64) if self._options.time else None))
        if is_offline:
            raise SensorError(f"Sensor {self.name!r}: {self._options.availability} says that it is offline.")

    def _row(self, message: Message, hold: Hold) -> tuple[Sequence[float], int] | None:
        """What a message says, as a row, and when that was; None when it says nothing."""
        try:
            document = msgspec.json.decode(message.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            try:
                document = message.payload.decode("utf-8")
            except UnicodeDecodeError:
                self.counters["messages.malformed"] += 1
                return None
        indices, pick = self._picks[message.topic]
        said = pick.row(document)
        if said is None:
            return None
        moment = 0
        if self._options.time is not None:
            told = moment_ns(at(document, self._options.time))
            if told is None:
                self.counters["messages.without_time"] += 1
                return None
            moment = told
        values = [math.nan] * len(self.channels)
        for index, value in zip(indices, said, strict=True):
            values[index] = value
        return hold.row(values, self._clock.monotonic_ns()), moment


def _topics(options: MqttTopic.Options) -> list[tuple[str, list[int], list[str]]]:
    """For each topic: indices and names of its channels."""
    found: dict[str, tuple[list[int], list[str]]] = {}
    if unknown := set(options.topics) - set(options.channels):
        raise ConfigError(f"topics names {sorted(unknown)[0]!r}, which is none of the channels. Add it to them.")
    for index, channel in enumerate(options.channels):
        topic = options.topics.get(channel, options.topic)
        if not topic:
            raise ConfigError(f"Channel {channel!r} has no topic. Give `topic`, or one for it in `topics`.")
        if "+" in topic or "#" in topic:
            raise ConfigError(
                f"Topic {topic!r} stands for many devices. Name one; give each device a sensor of its own."
            )
        indices, names = found.setdefault(topic, ([], []))
        indices.append(index)
        names.append(channel)
    return [(topic, indices, names) for topic, (indices, names) in found.items()]


def _says_offline(payload: bytes) -> bool:
    """``offline``, ``Offline`` or ``{"state": "offline"}``."""
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = payload.decode("utf-8", errors="replace")
    return number(at(document, "state") if isinstance(document, dict) else document) == 0.0
