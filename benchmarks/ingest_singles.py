"""Results that come one by one into the monitor's store, a commit before each acknowledgement; against bare paho."""

from __future__ import annotations

from benchmarks._delivery import EPOCH, report, typical_result
from benchmarks._ingest import Publisher, broker, drain_bare, drain_ours, packet, rate, subscribe_and_leave
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_result
from edge_sdk.contract.topics import Kind, subscription
from edge_sdk.monitor.ingest import KINDS

STATIONS = 100
RESULTS = 20_000
ROUNDS = 5


def packets() -> bytes:
    body = encode_body(typical_result())
    made = []
    for number in range(RESULTS):
        station, seq = f"s{number % STATIONS}", number // STATIONS + 1
        payload = encode_result(OutboxRow(seq, "occupancy", body, 0), station=station, epoch=EPOCH)
        made.append(packet(f"edge/v1/bench/{station}/result/occupancy", payload, number))
    return b"".join(made)


def main() -> None:
    ours, bare = [], []
    sent = packets()
    for number in range(ROUNDS):
        with broker() as running:
            subscribe_and_leave(running.port, "ours", [subscription(kind) for kind in KINDS])
            subscribe_and_leave(running.port, "bare", [subscription(Kind.RESULT)])
            publisher = Publisher(running.port)
            publisher.send(sent)
            publisher.wait(RESULTS)
            publisher.close()
            first, second = (drain_ours, drain_bare) if number % 2 else (drain_bare, drain_ours)
            for drain in (first, second):
                if drain is drain_ours:
                    ours.append(drain(running.port, "ours", RESULTS))
                else:
                    bare.append(drain(running.port, "bare", RESULTS))
    report("ingest_singles", rate(RESULTS, ours), rate(RESULTS, bare), unit="results/s", goal=1.0, better="higher")


if __name__ == "__main__":
    main()
