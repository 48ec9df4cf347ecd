"""A crowd of simulated stations, as a process: births, an hour of past results, then results and health as they come.

``python -m tests.monitor.crowd BROKER_PORT [stations] [results per second and station]``; SIGTERM ends it.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.base.clock import ClockState
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_pack, encode_result
from edge_sdk.contract.events import (
    Birth,
    Health,
    ModelInUse,
    Severity,
    StationEvent,
    StationState,
    Status,
    encode_event,
)
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.result import Contributor, FusedResult
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.transport import Message

SITES = {"harbour": (53.544, 9.906), "market": (53.551, 10.026), "north": (53.587, 10.101), "depot": (53.518, 9.968)}
LABELS = ("empty", "some", "crowded")
MODELS = ("light", "sound", "co2")
PAST_S = 3600
PAST_STEP_S = 10


@dataclass
class Station:
    """One of the crowd; what it says follows from its number alone."""

    number: int
    seq: int = 0
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.rng.seed(self.number)
        self.site = list(SITES)[self.number % len(SITES)]
        self.station = f"gate-{self.number + 1}"
        self.epoch = f"9f3c{self.number:012x}"
        self.topics = Topics(self.site, self.station)
        self.phase = self.rng.uniform(0, 900)
        latitude, longitude = SITES[self.site]
        self.place = (latitude + self.rng.gauss(0, 0.009), longitude + self.rng.gauss(0, 0.02))
        self.started = datetime.now(timezone.utc) - timedelta(days=self.rng.uniform(1, 40))

    @property
    def is_climate(self) -> bool:
        """Some give a value instead of a label."""
        return self.number % 10 == 9

    @property
    def stream(self) -> str:
        return "climate" if self.is_climate else "occupancy"

    def result(self, at: datetime) -> FusedResult:
        seconds = at.timestamp()
        if self.is_climate:
            value = 19 + 3 * math.sin((seconds + self.phase) / 1800) + self.rng.gauss(0, 0.1)
            contributors = tuple(
                Contributor(
                    model=model, bundle="sha256:" + "cd" * 32, state=ContributorState.FRESH, age_ms=120, weight=0.5,
                    value=round(value + self.rng.gauss(0, 0.2), 3),
                )
                for model in ("inside", "wall")
            )  # fmt: skip
            return FusedResult(
                stream=self.stream, t=at, observed=at, clock=ClockState.SYNCED, method="covariance_intersection",
                value=round(value, 3), unit="°C", std=0.15, contributors=contributors,
                interval=(round(value - 0.4, 3), round(value + 0.4, 3)),
            )  # fmt: skip
        level = math.sin((seconds + self.phase) / 420) + math.sin(seconds / 1300 + self.number % 4)
        label = LABELS[0 if level < -0.4 else 1 if level < 0.8 else 2]
        sure = min(0.99, max(0.45, 0.9 - 0.25 * abs(self.rng.gauss(0, 1)) * (abs(level - 0.2) < 0.5)))
        missing = self.number % 13 == 4
        contributors = tuple(
            Contributor(model=model, bundle=self.bundle(model), state=ContributorState.ABSENT, weight=0.0)
            if missing and model == "co2"
            else Contributor(
                model=model, bundle=self.bundle(model), state=ContributorState.FRESH,
                age_ms=self.rng.randrange(20, 400), weight=round(weight, 2),
                label=label if self.rng.random() < 0.93 else LABELS[1],
                confidence=round(min(0.99, max(0.4, sure + self.rng.gauss(0, 0.05))), 3),
            )
            for model, weight in zip(MODELS, (0.5, 0.3, 0.2), strict=True)
        )  # fmt: skip
        rest = round((1 - sure) / 2, 4)
        return FusedResult(
            stream=self.stream, t=at, observed=at, clock=ClockState.SYNCED, method="log_opinion_pool",
            contributors=contributors, degraded=missing, label=label, confidence=round(sure, 3),
            probabilities={one: round(sure, 4) if one == label else rest for one in LABELS},
            set=(label,) if sure > 0.7 else (label, LABELS[(LABELS.index(label) + 1) % 3]),
            absent=("co2",) if missing else (),
        )  # fmt: skip

    def bundle(self, model: str) -> str:
        """Every sixth still has the older light model."""
        old = model == "light" and self.number % 6 == 0
        return "sha256:" + f"{MODELS.index(model) + 1}{'a' if old else 'f'}3{len(model)}" * 16

    def hello(self) -> Iterator[Message]:
        models = tuple(
            ModelInUse(
                name=model, bundle=self.bundle(model), variant="int8.tflite", labels=LABELS,
                runtime="litert 2.3.0", delegates=() if self.number % 7 == 3 else ("xnnpack",),
                fallback="edgetpu" if self.number % 7 == 3 and model == "light" else "",
            )
            for model in MODELS
        )  # fmt: skip
        if self.is_climate:
            models = tuple(
                ModelInUse(name=model, bundle="sha256:" + "cd" * 32, variant="model.onnx", runtime="onnxruntime 1.31.1",
                           delegates=("CPUExecutionProvider",))
                for model in ("inside", "wall")
            )  # fmt: skip
        birth = Birth(
            site=self.site, station=self.station, epoch=self.epoch, version="0.1.0" if self.number % 5 else "0.0.9",
            board=("Raspberry Pi 5", "Raspberry Pi 4", "Jetson Orin Nano")[self.number % 3], streams=(self.stream,),
            latitude=self.place[0], longitude=self.place[1], models=models, started=self.started,
        )  # fmt: skip
        yield self._say(Kind.BIRTH, encode_event(birth), retain=True)
        state = StationState.OFFLINE if self.number % 17 == 16 else StationState.ONLINE
        yield self._say(
            Kind.STATUS, encode_event(Status(station=self.station, state=state, epoch=self.epoch)), retain=True
        )

    def past(self, now: datetime) -> Iterator[Message]:
        """An hour in packs."""
        rows = []
        for back in range(PAST_S, 0, -PAST_STEP_S):
            rows.append(self._row(now - timedelta(seconds=back)))
            if len(rows) == 120 or back == PAST_STEP_S:
                yield self._say(Kind.PACK, encode_pack(rows, station=self.station, epoch=self.epoch))
                rows = []
        for minutes in range(60, 0, -2):
            yield self.health(now - timedelta(minutes=minutes))
        if self.number % 9 == 2:
            yield self.event(
                now - timedelta(minutes=3 * self.number % 50), Severity.WARNING, "sensor.lost", "co2 does not answer"
            )
        if self.number % 11 == 5:
            yield self.event(
                now - timedelta(minutes=7), Severity.ERROR, "outbox.dropped", "the quota is full: 120 results given up"
            )
        yield self.event(now - timedelta(minutes=55), Severity.INFO, "station.started", "started")

    def live(self, now: datetime) -> Message:
        return self._say(
            Kind.RESULT, encode_result(self._row(now), station=self.station, epoch=self.epoch), self.stream
        )

    def health(self, at: datetime) -> Message:
        backlog = (
            max(0, round(900 * math.sin(at.timestamp() / 700))) if self.number % 12 == 7 else self.rng.randrange(3)
        )
        hot = self.number % 19 == 8
        health = Health(
            station=self.station, t=at, outbox_rows=backlog, outbox_bytes=65_536 + 400 * backlog, epoch=self.epoch,
            temperature_c=round(48 + self.number % 8 + 3 * math.sin(at.timestamp() / 900) + 26 * hot, 1),
            rss_bytes=88_000_000 + 70_000 * (self.number % 30), sensors=dict.fromkeys(MODELS, "running"),
            flags=("hot",) if hot else (),
        )  # fmt: skip
        return self._say(Kind.HEALTH, encode_event(health))

    def event(self, at: datetime, severity: Severity, name: str, message: str) -> Message:
        event = StationEvent(station=self.station, t=at, severity=severity, name=name, message=message)
        return self._say(Kind.EVENT, encode_event(event), severity.value)

    def _row(self, at: datetime) -> OutboxRow:
        self.seq += 1
        return OutboxRow(self.seq, self.stream, encode_body(self.result(at)), 0)

    def _say(self, kind: Kind, payload: bytes, *rest: str, retain: bool = False) -> Message:
        return Message(self.topics.of(kind, *rest), payload, retain=retain)


def main(port: int, stations: int = 50, rate_hz: float = 1.0) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def send(messages: Iterator[Message]) -> None:
        for one in messages:
            client.publish(one.topic, one.payload, qos=1, retain=one.retain)

    crowd = [Station(number) for number in range(stations)]
    now = datetime.now(timezone.utc)
    for one in crowd:
        send(one.hello())
        send(one.past(now))
    send(
        iter([Message("edge/v1/market/gate-2/health", b'{"v": 1, "station": "gate-2"'), Message("edge/v1/x", b"hello")])
    )
    talking = [one for one in crowd if one.number % 17 != 16]
    begun, sent = time.monotonic(), 0
    while client.is_connected() or time.monotonic() - begun < 5:
        due = int((time.monotonic() - begun) * rate_hz * len(talking))
        while sent < due:
            one = talking[sent % len(talking)]
            moment = datetime.now(timezone.utc)
            send(iter([one.live(moment)] if sent // len(talking) % 10 else [one.live(moment), one.health(moment)]))
            sent += 1
        time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[1]), *(int(one) for one in sys.argv[2:3]), *(float(one) for one in sys.argv[3:4]))
