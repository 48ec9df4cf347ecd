"""The link: the bridge of one station, made from its configuration."""

from __future__ import annotations

import math
from collections.abc import Callable

from edge_sdk.base.clock import Clock
from edge_sdk.config.station import StationConfig
from edge_sdk.contract.encoding import Encoding
from edge_sdk.contract.events import Birth
from edge_sdk.contract.topics import Topics
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.connect import make_transport
from edge_sdk.mqtt.transport import Message, Transport
from edge_sdk.outbox.base import Outbox
from edge_sdk.station.assembly import broker_addresses


def make_bridge(
    config: StationConfig,
    *,
    outbox: Outbox,
    birth: Callable[[], Birth],
    clock: Clock,
    commanded: Callable[[Message], None] | None = None,
) -> Bridge:
    """The bridge, not yet connected.

    Args:
        config: Where the brokers are, and how they are spoken to.
        outbox: What is sent.
        birth: Makes the birth message, for each connection anew.
        clock: Where monotonic time comes from.
        commanded: Told of each command; None = the station takes none.

    Raises:
        ConfigError: A URL is none.
    """
    broker = config.broker
    addresses = broker_addresses(broker)

    def connect(will: Message) -> Transport:
        return make_transport(
            addresses,
            client_id=f"{config.site}-{config.station}-{outbox.epoch}",
            will=will,
            aliases=broker.limit_bytes_per_s is not None,
        )

    return Bridge(
        connect=connect,
        topics=Topics(config.site, config.station),
        outbox=outbox,
        birth=birth,
        clock=clock,
        delivery=broker.delivery,
        home_assistant=broker.home_assistant,
        home_assistant_expire_s=broker.home_assistant_expire_s,
        backlog_results_per_s=broker.backlog_results_per_s,
        bytes_per_s=broker.limit_bytes_per_s or math.inf,
        compressed=broker.compress_packs,
        encoding=Encoding(broker.encoding),
        traced=broker.trace_results,
        commanded=commanded,
    )
