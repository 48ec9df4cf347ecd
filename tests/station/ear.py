"""An ear at a broker: everything that is said there, for a test to wait for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

_DEADLINE_S = 60.0


class Said(NamedTuple):
    """One message."""

    topic: str
    payload: bytes
    retain: bool

    @property
    def data(self) -> Any:
        return json.loads(self.payload)


class Ear:
    """Listens to one filter; messages are kept in order."""

    def __init__(self, port: int, *filters: str) -> None:
        self._port, self._filters = port, filters
        self._said: list[Said] = []
        self._came = threading.Condition()
        self._ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = self._on_message
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(name, SubscribeOptions(qos=1)) for name in self._filters])

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        with self._came:
            self._said.append(Said(message.topic, bytes(message.payload), bool(message.retain)))
            self._came.notify_all()

    @property
    def said(self) -> list[Said]:
        with self._came:
            return list(self._said)

    def wait(self, wanted: Callable[[Said], bool], *, within_s: float = _DEADLINE_S, after: int = 0) -> Said:
        """The first message that is wanted, now or soon."""
        deadline = time.monotonic() + within_s
        with self._came:
            at = after
            while True:
                for said in self._said[at:]:
                    at += 1
                    if wanted(said):
                        return said
                left = deadline - time.monotonic()
                assert left > 0, f"not said in time; heard were {sorted({said.topic for said in self._said})}"
                self._came.wait(left)

    def wait_for(self, topic_end: str, *, within_s: float = _DEADLINE_S, after: int = 0) -> Said:
        """The first message on a topic that ends so."""
        return self.wait(lambda said: said.topic.endswith(topic_end), within_s=within_s, after=after)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(_DEADLINE_S)


@contextmanager
def listening(port: int, *filters: str) -> Iterator[Ear]:
    """An ear that hears from now on."""
    ear = Ear(port, *(filters or ("#",)))
    ear.client.connect("127.0.0.1", port)
    ear.client.loop_start()
    try:
        assert ear._ready.wait(_DEADLINE_S)
        yield ear
    finally:
        ear.client.disconnect()
        ear.client.loop_stop()
