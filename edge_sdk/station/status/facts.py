"""Facts: everything that the status endpoint and the health message tell, taken at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_sdk.contract.events import Birth, Health
from edge_sdk.outbox.base import OutboxStats
from edge_sdk.runtime.latency import Latency
from edge_sdk.station.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Facts:
    """What a station knows of itself.

    Attributes:
        birth: Who it is and what really runs on it.
        health: The numbers of its health message.
        vitals: How the machine does.
        outbox: Numbers of the outbox.
        link: Where the bridge stands: ``connected``, ``waiting`` …
        latencies: How long calls of each model took, by stream and model.
        proven_age_s: How long ago it was last proven that work goes on.
        proven_limit_s: An older proof is none.
    """

    birth: Birth
    health: Health
    vitals: Vitals
    outbox: OutboxStats
    link: str
    latencies: Mapping[tuple[str, str], Latency]
    proven_age_s: float
    proven_limit_s: float

    @property
    def is_working(self) -> bool:
        """Whether it was proven lately that every stream and the commit move."""
        return self.proven_age_s <= self.proven_limit_s
