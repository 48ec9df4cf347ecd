"""What outlives a connection: the parts of the bridge that every conversation uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from edge_sdk.base.clock import Clock
from edge_sdk.contract.events import Birth, StationState, Status, encode_event
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.announcements import Announcements
from edge_sdk.mqtt.homeassistant import discovery
from edge_sdk.mqtt.meter import Meter
from edge_sdk.mqtt.namesakes import Namesakes
from edge_sdk.mqtt.pace import Pace
from edge_sdk.mqtt.packer import Packer
from edge_sdk.mqtt.relay import Relay
from edge_sdk.mqtt.transport import Message
from edge_sdk.outbox.base import Outbox

Delivery = Literal["monitor", "broker"]


@dataclass(slots=True)
class Standing:
    """One station's.

    Attributes:
        topics: The station's topics.
        outbox: What is sent.
        birth: Makes the birth message.
        clock: Where monotonic time comes from.
        relay: What is sent next.
        pace: How large packs are.
        meter: How much may be sent.
        packer: Makes messages of rows.
        announcements: What the station says of itself.
        delivery: Whose word lets a row leave the outbox.
        seconds_per_result: Of backlog.
        home_assistant: Whether Home Assistant is told of the station.
        home_assistant_expire_s: After how long without a result a stream is unavailable there; 0 = never.
        commanded: Told of each message below ``cmd/``; None = commands are not even subscribed to.
        counters: Everything counted.
        namesakes: Who else used the station's name.
    """

    topics: Topics
    outbox: Outbox
    birth: Callable[[], Birth]
    clock: Clock
    relay: Relay
    pace: Pace
    meter: Meter
    packer: Packer
    announcements: Announcements
    delivery: Delivery
    seconds_per_result: float
    home_assistant: bool
    home_assistant_expire_s: int = 0
    commanded: Callable[[Message], None] | None = None
    counters: Counter[str] = field(default_factory=Counter)
    namesakes: Namesakes = field(default_factory=Namesakes)

    def discovery(self, birth: Birth) -> Message:
        """The message that introduces the station to Home Assistant."""
        return discovery(birth, expire_after_s=self.home_assistant_expire_s)

    def status(self, state: StationState) -> Message:
        """The message that says so; `OFFLINE` is also the will."""
        status = Status(station=self.topics.station, state=state, epoch=self.outbox.epoch)
        return Message(self.topics.of(Kind.STATUS), encode_event(status), retain=True)
