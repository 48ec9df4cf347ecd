"""Run by a Python that has Home Assistant: checks a discovery message with its own schemas and templates.

Standard input: ``{"config": {…}, "states": {topic: payload}}``. Standard output: what each sensor would show, and which
keys its schemas know.
"""

# mypy: ignore-errors

import asyncio
import json
import sys
from typing import Any

from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.components.mqtt.sensor import DISCOVERY_SCHEMA
from homeassistant.core import HomeAssistant
from homeassistant.helpers.template import Template


def keys_of(schema: Any) -> list[str]:
    """Every key that a voluptuous schema names, however it is nested in validators."""
    found = set()
    inner = getattr(schema, "schema", None)
    if isinstance(inner, dict):
        found |= {str(getattr(key, "schema", key)) for key in inner}
    elif inner is not None:
        found |= set(keys_of(inner))
    for validator in getattr(schema, "validators", ()):
        found |= set(keys_of(validator))
    return sorted(found)


async def main() -> None:
    given = json.load(sys.stdin)
    hass = HomeAssistant("")
    config = given["config"]
    DEVICE_DISCOVERY_SCHEMA(json.loads(json.dumps(config)))
    shown = {}
    for name, component in config["components"].items():
        common = {key: config[key] for key in ("availability", "device", "origin", "qos") if key in config}
        sensor = DISCOVERY_SCHEMA({**common, **{k: v for k, v in component.items() if k != "platform"}})
        payload = given["states"].get(sensor["state_topic"])
        state = Template(str(sensor["value_template"].template), hass)
        online = Template(config["availability"][0]["value_template"], hass)
        shown[name] = {
            "state": state.async_render_with_possible_json_value(payload, None) if payload else None,
            "available": online.async_render_with_possible_json_value(
                given["states"][config["availability"][0]["topic"]], None
            ),
        }
        if "json_attributes_template" in sensor and payload:
            attributes = Template(str(sensor["json_attributes_template"].template), hass)
            shown[name]["attributes"] = json.loads(attributes.async_render_with_possible_json_value(payload, None))
    known = {"device_discovery": keys_of(DEVICE_DISCOVERY_SCHEMA), "sensor": keys_of(DISCOVERY_SCHEMA)}
    json.dump({"shown": shown, "known": known}, sys.stdout)
    await hass.async_stop(force=True)


asyncio.run(main())
