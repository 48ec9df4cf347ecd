"""From a committed result to another process that subscribes, 100 a second: the bridge against bare paho.

The fsync of the commit comes before and is the medium's; `outbox_fsync_per_result` counts it.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection

import anyio
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks._delivery import EPOCH, TOPICS, bridged_outbox, broker, report, typical_result
from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.topics import Kind
from edge_sdk.outbox.memory import MemoryOutbox

COUNT = 500
PERIOD_S = 0.01
ROUNDS = 7


def listen(port: int, answers: Connection) -> None:
    """In a process of its own: for each round send back when each message came."""
    came: list[int] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener", protocol=paho.MQTTv5)

    def on_message(*_: object) -> None:
        came.append(time.monotonic_ns())
        if len(came) == COUNT:
            answers.send(came.copy())
            came.clear()

    def on_connect(*_: object) -> None:
        client.subscribe(TOPICS.of(Kind.RESULT, "occupancy"), qos=1)

    client.on_message, client.on_connect = on_message, on_connect
    client.on_subscribe = lambda *_: answers.send([])
    client.connect("127.0.0.1", port)
    client.loop_forever()


def latency_ms(sent: list[int], came: list[int]) -> float:
    return float(np.percentile((np.array(came) - np.array(sent)) / 1e6, 99))


def bare(port: int) -> list[int]:
    payload = encode_result(OutboxRow(1, "occupancy", encode_body(typical_result()), 0), station="station", epoch=EPOCH)
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    time.sleep(0.2)
    sent = []
    for _ in range(COUNT):
        sent.append(time.monotonic_ns())
        client.publish(TOPICS.of(Kind.RESULT, "occupancy"), payload, qos=1)
        time.sleep(PERIOD_S)
    client.disconnect()
    client.loop_stop()
    return sent


async def bridged(port: int) -> list[int]:
    outbox = MemoryOutbox(clock=SystemClock())
    bridge = bridged_outbox(outbox, port)
    sent = []
    async with anyio.create_task_group() as group:
        group.start_soon(bridge.run)
        while not bridge.connected:
            await anyio.sleep(0.01)
        await anyio.sleep(0.2)
        for n in range(COUNT):
            rows = outbox.put([typical_result(n)])
            sent.append(time.monotonic_ns())
            bridge.offer(rows)
            await anyio.sleep(PERIOD_S)
        group.cancel_scope.cancel()
    return sent


def main() -> None:
    pairs: list[tuple[float, float]] = []
    with broker() as running:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=listen, args=(running.port, there), daemon=True)
        process.start()
        here.recv()
        for _ in range(ROUNDS):
            sent = anyio.run(bridged, running.port)
            ours = latency_ms(sent, here.recv())
            sent = bare(running.port)
            pairs.append((ours, latency_ms(sent, here.recv())))
        process.terminate()
        process.join()
    report("live_latency_p99", *zip(*pairs, strict=True), unit="ms", goal=1.5, better="lower")


if __name__ == "__main__":
    main()
