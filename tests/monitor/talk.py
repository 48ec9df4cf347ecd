"""What stations say: real payloads, as the station's side of the contract encodes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edge_sdk.base.clock import ClockState
from edge_sdk.contract.envelope import OutboxRow, encode_body, encode_pack, encode_result
from edge_sdk.contract.events import (
    Birth,
    Health,
    InputSummary,
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

LABELS = ("walk", "run", "sit")
START = datetime(2026, 11, 21, 2, 0, 0, tzinfo=timezone.utc)


def fused(seq: int, *, stream: str = "activity", label: str | None = None, start: datetime = START) -> FusedResult:
    """A classification, one second after the one before."""
    t = start + timedelta(seconds=seq)
    label = label or LABELS[seq // 5 % 3]
    parts = tuple(
        Contributor(
            model=model, bundle="sha256:" + "ab" * 32, state=ContributorState.FRESH, age_ms=40, weight=0.5,
            label=label, confidence=0.85,
        )
        for model in ("accelerometer", "gyroscope")
    )  # fmt: skip
    return FusedResult(
        stream=stream,
        t=t,
        observed=t + timedelta(milliseconds=12),
        clock=ClockState.SYNCED,
        method="log_opinion_pool",
        contributors=parts,
        label=label,
        confidence=0.91,
        probabilities={one: 0.91 if one == label else 0.045 for one in LABELS},
        set=(label,),
    )


@dataclass(frozen=True)
class Talker:
    """A station, as far as the wire is concerned."""

    site: str = "north"
    station: str = "gate-1"
    epoch: str = "9f3c00000000aa01"
    start: datetime = START

    def topic(self, kind: Kind, *rest: str) -> str:
        return Topics(self.site, self.station).of(kind, *rest)

    def row(self, seq: int, *, stream: str = "activity", label: str | None = None) -> OutboxRow:
        body = encode_body(fused(seq, stream=stream, label=label, start=self.start))
        return OutboxRow(seq=seq, stream=stream, body=body, accepted_ns=0)

    def result(self, seq: int, *, stream: str = "activity", label: str | None = None) -> Message:
        row = self.row(seq, stream=stream, label=label)
        payload = encode_result(row, station=self.station, epoch=self.epoch)
        return Message(self.topic(Kind.RESULT, stream), payload)

    def pack(self, seqs: Iterable[int], *, gone: Iterable[tuple[int, int]] = ()) -> Message:
        rows = [self.row(seq) for seq in seqs]
        return Message(self.topic(Kind.PACK), encode_pack(rows, station=self.station, epoch=self.epoch, gone=gone))

    def birth(self, *, oldest: int = 1) -> Message:
        model = ModelInUse(
            name="accelerometer", bundle="sha256:" + "ab" * 32, variant="int8.tflite", runtime="litert",
            delegates=("xnnpack",), labels=LABELS,
        )  # fmt: skip
        birth = Birth(
            site=self.site, station=self.station, epoch=self.epoch, oldest=oldest, version="0.1.0",
            board="Raspberry Pi 5", streams=("activity",), models=(model,), started=self.start,
        )  # fmt: skip
        return Message(self.topic(Kind.BIRTH), encode_event(birth), retain=True)

    def status(self, state: StationState = StationState.ONLINE) -> Message:
        status = Status(station=self.station, state=state, epoch=self.epoch)
        return Message(self.topic(Kind.STATUS), encode_event(status), retain=True)

    def health(
        self,
        seconds: int = 0,
        *,
        backlog: int = 0,
        oldest: int = 1,
        inputs: Mapping[str, InputSummary] | None = None,
    ) -> Message:
        health = Health(
            station=self.station, t=self.start + timedelta(seconds=seconds), outbox_rows=backlog, outbox_bytes=4096,
            epoch=self.epoch, oldest=oldest, temperature_c=51.0, inputs=dict(inputs or {}),
        )  # fmt: skip
        return Message(self.topic(Kind.HEALTH), encode_event(health))

    def event(self, name: str, severity: Severity = Severity.WARNING) -> Message:
        event = StationEvent(station=self.station, t=self.start, name=name, message=f"{name} happened")
        return Message(self.topic(Kind.EVENT, severity.value), encode_event(event))
