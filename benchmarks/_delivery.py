"""What the delivery benchmarks share: a mosquitto, a typical result, bare paho, and one line of JSON."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.base.clock import ClockState, SystemClock, to_datetime
from edge_sdk.contract.events import Birth
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.result import Contributor, FusedResult
from edge_sdk.contract.topics import Topics
from edge_sdk.mqtt.bridge import Bridge
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from edge_sdk.outbox.base import Outbox
from tests.brokers import RunningBroker, mosquitto

EPOCH = "00112233445566ff"
TOPICS = Topics("bench", "station")


def bridged_outbox(outbox: Outbox, port: int, **more: Any) -> Bridge:
    """A bridge from an outbox to a broker on loopback, whose word is enough."""
    return Bridge(
        connect=lambda will: PahoTransport(BrokerAddress(port=port), client_id="ours", will=will),
        topics=TOPICS,
        outbox=outbox,
        birth=lambda: Birth(
            site="bench", station="station", epoch=outbox.epoch, version="1", board="", started=to_datetime(0)
        ),
        clock=SystemClock(),
        delivery="broker",
        **more,
    )


def typical_result(number: int = 0) -> FusedResult:
    """A result of three models and four labels, as a station makes it."""
    moment = to_datetime(1_767_225_600_000_000_000 + number * 100_000_000)
    models = tuple(
        Contributor(
            model=name,
            bundle="sha256:" + "0f" * 32,
            state=ContributorState.FRESH,
            age_ms=41,
            weight=0.3333,
            label="2",
            confidence=0.8812,
        )
        for name in ("light", "sound", "co2")
    )
    return FusedResult(
        stream="occupancy",
        t=moment,
        observed=moment,
        clock=ClockState.SYNCED,
        method="log_opinion_pool",
        contributors=models,
        label="2",
        confidence=0.9104,
        probabilities={"0": 0.0102, "1": 0.0501, "2": 0.9104, "3": 0.0293},
    )


@contextmanager
def broker() -> Iterator[RunningBroker]:
    """A mosquitto on loopback, without persistence."""
    with tempfile.TemporaryDirectory() as directory, mosquitto(Path(directory) / "broker") as running:
        yield running


def bare_paho(port: int, topic: str, payload: bytes, count: int, *, window: int = 20) -> None:
    """Publish `count` times at QoS 1 and wait for the last acknowledgement, as a short script would."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(window)
    connected, done = threading.Event(), threading.Event()
    left = count

    def published(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    client.on_connect = lambda *_: connected.set()
    client.on_publish = published
    client.connect("127.0.0.1", port)
    client.loop_start()
    connected.wait(10)
    for _ in range(count):
        client.publish(topic, payload, qos=1)
    if not done.wait(120):
        raise SystemExit("bare paho did not finish")
    client.disconnect()
    client.loop_stop()


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of all our threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(
    name: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    *,
    unit: str,
    goal: float,
    better: str,
) -> None:
    """Print one line of JSON: medians, and the median of the rounds' ratios."""
    ratio = statistics.median(a / b for a, b in zip(ours, baseline, strict=True))
    line = {
        "name": name,
        "ours": round(statistics.median(ours), 6),
        "baseline": round(statistics.median(baseline), 6),
        "unit": unit,
        "ratio": round(ratio, 4),
        "goal": goal,
        "better": better,
        "rounds": len(ours),
    }
    print(json.dumps(line), flush=True)
