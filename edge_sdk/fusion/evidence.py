"""Dempster's rule: contributors that may also say that they do not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np

from edge_sdk.base.errors import ConfigError
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Task
from edge_sdk.fusion.shares import fresh, stacked


class DempsterShafer:
    """Each contributor puts its reliability on its probabilities and the rest on "any class" (Shafer 1976).

    With mass on single classes and on the whole frame alone, Dempster's rule has a closed form. What stays on the
    frame is shared out evenly (the pignistic probability). Where most of the mass contradicts itself, the result is
    flagged ``conflict``.
    """

    name = "dempster_shafer"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification",))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the rule.

        Attributes:
            reliability: By model name, 0 to 0.999.
            default_reliability: Of who is not named.
            conflict: Share of contradicting mass from which a result is flagged.
            min_contributors: With fewer than this there is no answer.
        """

        reliability: dict[str, float] = {}
        default_reliability: float = 0.9
        conflict: float = 0.8
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        for name, given in [("default", self.options.default_reliability), *self.options.reliability.items()]:
            if not 0 < given <= 0.999:
                raise ConfigError(f"Reliability of {name!r} is {given}; wanted is more than 0 and at most 0.999.")

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        counted = fresh(predictions, self.options.min_contributors)
        if not counted:
            return None
        default = self.options.default_reliability
        trust = np.array([self.options.reliability.get(one.model, default) for one in counted])
        matrix = stacked(counted)
        unknown = float(np.prod(1.0 - trust))
        single = np.prod(trust[:, None] * matrix + (1.0 - trust)[:, None], axis=0) - unknown
        agreed = float(single.sum()) + unknown
        probabilities = (single + unknown / len(single)) / agreed
        shares = trust / trust.sum()
        return Fused(
            probabilities=probabilities / probabilities.sum(),
            weights=dict(zip((one.model for one in counted), shares.tolist(), strict=True)),
            flags=("conflict",) if 1.0 - agreed > self.options.conflict else (),
        )
