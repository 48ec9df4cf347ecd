"""From broker addresses to a transport: one broker, or several in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from edge_sdk.mqtt.first_of import FirstOf
from edge_sdk.mqtt.transport import BrokerAddress, Transport


def make_transport(addresses: Sequence[BrokerAddress], **options: Any) -> Transport:
    """A transport, not yet open, to the first of these brokers that answers.

    Args:
        addresses: At least one; the preferred one first.
        options: What `PahoTransport` takes beside the address.
    """
    from edge_sdk.mqtt.paho import PahoTransport

    choices = [partial(PahoTransport, address, **options) for address in addresses]
    return choices[0]() if len(choices) == 1 else FirstOf(choices)
