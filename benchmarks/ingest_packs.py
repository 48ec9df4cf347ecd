"""A backlog that comes in packs of 200 into the monitor's store; against bare paho that reads the same packs."""

from __future__ import annotations

from benchmarks._delivery import EPOCH, report, typical_result
from benchmarks._ingest import Publisher, broker, drain_bare, drain_ours, packet, rate, subscribe_and_leave
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_pack
from edge_sdk.contract.topics import Kind, subscription
from edge_sdk.monitor.ingest import KINDS

STATIONS = 20
IN_A_PACK = 200
PACKS = 500
ROUNDS = 5


def packets() -> bytes:
    bodies = [encode_body(typical_result(number)) for number in range(IN_A_PACK)]
    made = []
    for number in range(PACKS):
        station, first = f"s{number % STATIONS}", number // STATIONS * IN_A_PACK + 1
        rows = [OutboxRow(first + at, "occupancy", body, 0) for at, body in enumerate(bodies)]
        made.append(packet(f"edge/v1/bench/{station}/pack", encode_pack(rows, station=station, epoch=EPOCH), number))
    return b"".join(made)


def main() -> None:
    ours, bare = [], []
    sent = packets()
    results = PACKS * IN_A_PACK
    for number in range(ROUNDS):
        with broker() as running:
            subscribe_and_leave(running.port, "ours", [subscription(kind) for kind in KINDS])
            subscribe_and_leave(running.port, "bare", [subscription(Kind.PACK)])
            publisher = Publisher(running.port)
            publisher.send(sent)
            publisher.wait(PACKS)
            publisher.close()
            for drain in (drain_ours, drain_bare) if number % 2 else (drain_bare, drain_ours):
                if drain is drain_ours:
                    ours.append(drain(running.port, "ours", results))
                else:
                    bare.append(drain(running.port, "bare", results))
    report("ingest_packs", rate(results, ours), rate(results, bare), unit="results/s", goal=1.0, better="higher")


if __name__ == "__main__":
    main()
