"""Times repaired: what was measured before the clock was set, told in the time that it is known to have been."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edge_sdk.base.clock import ClockState, from_datetime, to_datetime
from edge_sdk.contract.envelope import OutboxRow, encode_body
from edge_sdk.contract.result import FusedResult

RETIMED = "retimed"
"""The flag of a result whose times were repaired."""

_decoder = msgspec.json.Decoder(FusedResult)


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks of one boot.

    Attributes:
        boot: The kernel's id of the boot; monotonic times compare only within it.
        wall_ns: Nanoseconds since the Unix epoch, as the wall clock said, rightly or not.
        monotonic_ns: Nanoseconds from the monotonic clock.
    """

    boot: str
    wall_ns: int
    monotonic_ns: int

    def mark(self) -> str:
        """As the outbox keeps it beside a row."""
        return f"{self.boot} {self.wall_ns} {self.monotonic_ns}"

    @classmethod
    def of_mark(cls, mark: object) -> Moment | None:
        """Read `mark` back; None = it is none."""
        try:
            boot, wall_ns, monotonic_ns = str(mark).split()
            return cls(boot, int(wall_ns), int(monotonic_ns))
        except ValueError:
            return None

    def error_ns(self, now: Moment) -> int | None:
        """By how much the wall clock was behind, as `now`, when it is right, shows; None = another boot."""
        if self.boot != now.boot or self.boot == "unknown":
            return None
        return (now.wall_ns - now.monotonic_ns) - (self.wall_ns - self.monotonic_ns)


def retimed(row: OutboxRow, error_ns: int) -> OutboxRow:
    """The row with its times moved by `error_ns`, marked as synchronised and `RETIMED`.

    Raises:
        msgspec.MsgspecError: Its body is no result.
    """
    result = _decoder.decode(row.body)
    mended = msgspec.structs.replace(
        result,
        t=to_datetime(from_datetime(result.t) + error_ns),
        observed=to_datetime(from_datetime(result.observed) + error_ns),
        clock=ClockState.SYNCED,
        flags=(*result.flags, RETIMED),
    )
    return row._replace(body=encode_body(mended), accepted_ns=row.accepted_ns + error_ns)
