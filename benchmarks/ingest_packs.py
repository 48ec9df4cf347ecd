"""A backlog that comes in packs of 200 into the monitor's store, a commit before each acknowledgement.

Against a bare loop of paho into SQLite that gets its results one by one; the second line is against one that reads the
same packs.
"""

from __future__ import annotations

from benchmarks import ingest_singles
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


def bare_singles() -> float:
    """Results a second of the bare loop that gets them one by one."""
    with broker() as running:
        subscribe_and_leave(running.port, "bare", [subscription(Kind.RESULT)])
        publisher = Publisher(running.port)
        publisher.send(ingest_singles.packets())
        publisher.wait(ingest_singles.RESULTS)
        publisher.close()
        return ingest_singles.RESULTS / drain_bare(running.port, "bare", ingest_singles.RESULTS)


def main() -> None:
    ours, bare, singles = [], [], []
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
        singles.append(bare_singles())
    report("ingest_packs", rate(results, ours), singles, unit="results/s", goal=5.0, better="higher")
    report(
        "ingest_packs_to_bare_packs",
        rate(results, ours),
        rate(results, bare),
        unit="results/s",
        goal=1.0,
        better="higher",
    )


if __name__ == "__main__":
    main()
