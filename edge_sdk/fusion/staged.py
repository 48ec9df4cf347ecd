"""The staged pool: first which group of classes, then which class of the group; trust is given for each question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import ConfigError, TensorMismatchError
from edge_sdk.contract.prediction import Prediction
from edge_sdk.fusion.base import Fused, Task
from edge_sdk.fusion.shares import Shares, fresh, stacked


class StagedPool:
    """Log-opinion pools in two stages, each with its own weights.

    Sensors are good at different questions: a motion sensor knows whether anybody is there, the light switched on at
    each desk knows how many. One weight per sensor cannot say both; two stages can. Before pooling, each
    contributor is doubted: with probability `doubt` it is broken and knows nothing, which bounds what a confident
    but wrong one can do against several others (a contaminated likelihood, Box & Tiao 1968). In the first question
    what counts is how much more, or less, a contributor gives a group than one that knows nothing would, to whom a
    group of three classes has three times the probability of a group of one; else several together would lean towards
    the larger group. In the second question a contributor counts in proportion to what it gives the group: who says
    "nobody" does not say how many.
    """

    name = "staged_pool"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification",))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the staged pool.

        Attributes:
            groups: Indices of the classes in each group, every class once; none = every class is its own group.
            weights: For the first question, by model name; who is not named weighs 1.
            inner_weights: For the second question.
            doubt: Probability that a contributor knows nothing, 0 to 1.
            temper: As in the log-opinion pool: 1 = geometric mean, 0 = full product; for the first question.
            inner_temper: The same for the second question.
            min_contributors: With fewer than this there is no answer.
        """

        groups: tuple[tuple[int, ...], ...] = ()
        weights: dict[str, float] = {}
        inner_weights: dict[str, float] = {}
        doubt: float = 0.02
        temper: float = 0.5
        inner_temper: float = 0.5
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        given = self.options
        if not 0 < given.doubt < 1 or not 0 <= given.temper <= 1 or not 0 <= given.inner_temper <= 1:
            raise ConfigError(
                f"{self.name} has doubt {given.doubt}, temper {given.temper} and inner_temper {given.inner_temper}; "
                "wanted are 0 < doubt < 1 and tempers from 0 to 1."
            )
        flat = [index for group in given.groups for index in group]
        if sorted(flat) != list(range(len(flat))) or not all(given.groups):
            raise ConfigError(f"{self.name} has groups {given.groups}; wanted is every class in exactly one group.")
        self._outer, self._inner = Shares(given.weights), Shares(given.inner_weights)
        self._members = _membership(given.groups)
        self._log_sizes = np.log(self._members.sum(axis=1) / max(1, len(flat)))

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        counted = fresh(predictions, self.options.min_contributors)
        return self.pool(tuple([one.model for one in counted]), stacked(counted)) if counted else None

    def least(self) -> int:
        """Fewest contributors that give an answer."""
        return self.options.min_contributors

    def pool(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> Fused | None:
        """Fuse FRESH opinions ``(n_models, n_classes)``; None when the contributors weigh nothing."""
        outer = self._outer.of(names)
        if outer is None:
            return None
        inner = self._inner.of(names) or outer
        n, n_classes = matrix.shape
        if not len(self._members):
            self._members = np.eye(n_classes)
        if self._members.shape[1] != n_classes:
            raise TensorMismatchError(
                "probabilities", want=f"{self._members.shape[1]} classes, as in groups", got=f"{n_classes} classes"
            )
        matrix = (1.0 - self.options.doubt) * matrix + self.options.doubt / n_classes
        mass = matrix @ self._members.T  # (n, groups)
        strength = n ** (1.0 - self.options.temper)
        first = (outer.array * strength) @ np.log(mass)
        if len(self._log_sizes):  # what is known before anybody speaks counts once, however many speak
            first += (1.0 - strength) * self._log_sizes
        gate = inner.array[:, None] * mass  # (n, groups)
        gate *= n ** (1.0 - self.options.inner_temper) / gate.sum(axis=0)
        second = np.einsum("nc,nc->c", gate @ self._members, np.log(matrix / (mass @ self._members)))
        between = np.exp(first - first.max())
        within = np.exp(second - second.max())
        # what each class takes of its group; the groups share out the whole
        probabilities = within / ((self._members @ within) @ self._members) * (between @ self._members)
        probabilities /= probabilities.sum()
        return Fused(
            probabilities=probabilities,
            weights={name: (outer.by_name[name] + inner.by_name[name]) / 2 for name in names},
        )


def _membership(groups: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    members = np.zeros((len(groups), sum(map(len, groups))))
    for row, group in enumerate(groups):
        members[row, list(group)] = 1.0
    return members
