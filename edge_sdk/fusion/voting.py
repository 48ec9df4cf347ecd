"""Votes: each contributor has a say, whatever its confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec
import numpy as np

from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Task
from edge_sdk.fusion.shares import Shares, fresh, stacked

_NUDGE = 1e-6
_NEAR = 1e-12  # what counts as the same


class Vote:
    """Majority or weighted vote for the first choice of each, or soft vote for their mean.

    Who has several first choices splits its vote; so one that knows nothing changes nothing. Probabilities are shares
    of the vote. A tie between classes is broken openly: by the higher mean probability (``soft``), for the
    class that comes first (``first``), or not at all (``none``: there is no answer).
    """

    name = "vote"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification",))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the vote.

        Attributes:
            kind: ``majority`` (one each), ``weighted`` or ``soft``.
            weights: By model name, for ``weighted`` and ``soft``; who is not named weighs 1.
            tie: What decides when classes have the same share.
            min_contributors: With fewer than this there is no answer.
        """

        kind: Literal["majority", "weighted", "soft"] = "majority"
        weights: dict[str, float] = {}
        tie: Literal["soft", "first", "none"] = "soft"
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        self._shares = Shares({} if self.options.kind == "majority" else self.options.weights)

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Count the votes of the FRESH ones; None with fewer than `min_contributors`, or when a tie stays."""
        counted = fresh(predictions, self.options.min_contributors)
        share = self._shares.of(tuple([one.model for one in counted])) if counted else None
        if share is None:
            return None
        matrix = stacked(counted)
        mean = share.array @ matrix
        votes = mean.copy()
        if self.options.kind != "soft":
            first = matrix >= matrix.max(axis=1, keepdims=True) - _NEAR
            votes = share.array @ (first / first.sum(axis=1, keepdims=True))
        tied = votes >= votes.max() - _NEAR
        if np.count_nonzero(tied) > 1:
            if self.options.tie == "none":
                return None
            order = mean if self.options.tie == "soft" else np.arange(len(votes), 0, -1.0)
            votes[int(np.where(tied, order, -1.0).argmax())] += _NUDGE
        return Fused(probabilities=votes / votes.sum(), weights=share.by_name)
