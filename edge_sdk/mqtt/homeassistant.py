"""Home Assistant finds the stations by itself: one retained device configuration per station.

The format is that of https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edge_sdk.contract.events import Birth
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.transport import Message

PREFIX = "homeassistant"
STATUS_TOPIC = f"{PREFIX}/status"
"""Home Assistant says ``online`` here when it starts: then everybody introduces himself again."""

_STATE = "{{ value_json.label if value_json.label is defined else value_json.value }}"
_ONLINE = "{{ 'online' if value_json.state == 'online' else 'offline' }}"


def discovery(birth: Birth, *, expire_after_s: int = 0) -> Message:
    """The configuration of a station: a sensor for each stream, its confidence, and how many results wait.

    Args:
        birth: Who the station is.
        expire_after_s: After how long without a result a sensor becomes unavailable; 0 = never.
    """
    topics = Topics(birth.site, birth.station)
    name = f"{birth.site}-{birth.station}"
    components: dict[str, dict[str, Any]] = {
        "outbox": {
            "platform": "sensor",
            "unique_id": f"{name}-outbox",
            "name": "Waiting results",
            "state_topic": topics.of(Kind.HEALTH),
            "value_template": "{{ value_json.outbox_rows }}",
            "state_class": "measurement",
            "entity_category": "diagnostic",
        },
    }
    for stream in birth.streams:
        topic = topics.of(Kind.RESULT, stream)
        expiry = {"expire_after": expire_after_s} if expire_after_s else {}
        components[stream] = {
            "platform": "sensor",
            "unique_id": f"{name}-{stream}",
            "name": stream,
            "state_topic": topic,
            "value_template": _STATE,
            "json_attributes_topic": topic,
            "json_attributes_template": (
                "{{ {'degraded': value_json.degraded, 'absent': value_json.absent, 'time': value_json.t} | tojson }}"
            ),
            **expiry,
        }
        components[f"{stream}-confidence"] = {
            "platform": "sensor",
            "unique_id": f"{name}-{stream}-confidence",
            "name": f"{stream} confidence",
            "state_topic": topic,
            "value_template": "{{ (value_json.confidence * 100) | round(1) if value_json.confidence is defined }}",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            **expiry,
        }
    payload = {
        "device": {
            "identifiers": [f"edge-sdk-{name}"],
            "name": birth.station,
            "manufacturer": "Edge SDK",
            "model": birth.board or "station",
            "sw_version": birth.version,
            "suggested_area": birth.site,
        },
        "origin": {"name": "edge-sdk", "sw_version": birth.version},
        "availability": [{"topic": topics.of(Kind.STATUS), "value_template": _ONLINE}],
        "components": components,
        "qos": 1,
    }
    return Message(f"{PREFIX}/device/{name}/config", msgspec.json.encode(payload), retain=True)
