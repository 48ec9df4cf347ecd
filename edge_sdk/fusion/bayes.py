"""Bayes' rule with a confusion matrix for each contributor: what it says, and what that has meant."""

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


class BayesConfusion:
    """A contributor's word is evidence: ``P(it says j | the truth is i)``, learned on held-out data (Xu et al. 1992).

    What it says may be soft: the likelihoods are mixed by its probabilities. One that confuses two classes weighs
    nothing between these two and its full weight elsewhere.
    """

    name = "bayes_confusion"
    tasks: ClassVar[frozenset[Task]] = frozenset(("classification",))

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Options of the rule.

        Attributes:
            matrices: By model name: ``(n_classes, n_classes)``, row = truth, column = what it says; rows sum to 1.
                Who is not named is right but for `doubt`.
            prior: Probability of each class before anything is said; none = all alike.
            doubt: Mixed into each matrix, so that nothing is impossible.
            temper: As in the log-opinion pool: 1 = geometric mean of the evidence, 0 = full product.
            min_contributors: With fewer than this there is no answer.
        """

        matrices: dict[str, tuple[tuple[float, ...], ...]] = {}
        prior: tuple[float, ...] = ()
        doubt: float = 0.02
        temper: float = 0.5
        min_contributors: int = 1

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        if not 0 < self.options.doubt < 1 or not 0 <= self.options.temper <= 1:
            raise ConfigError(
                f"{self.name} has doubt {self.options.doubt} and temper {self.options.temper}; "
                "wanted are 0 < doubt < 1 and 0 <= temper <= 1."
            )
        self._matrices = {name: _checked(name, rows) for name, rows in self.options.matrices.items()}
        prior = np.asarray(self.options.prior, dtype=np.float64)
        if len(prior) and (not (prior > 0).all() or abs(prior.sum() - 1) > 1e-6):
            raise ConfigError(f"{self.name} has prior {self.options.prior}; wanted are positive numbers that sum to 1.")
        self._log_prior = np.log(prior)
        self._shares = Shares({})

    def fuse(self, predictions: Sequence[Prediction]) -> Fused | None:
        """Fuse the FRESH ones; None with fewer than `min_contributors`."""
        counted = fresh(predictions, self.options.min_contributors)
        share = self._shares.of(tuple([one.model for one in counted])) if counted else None
        if share is None:
            return None
        matrix = stacked(counted)
        n, n_classes = matrix.shape
        log_p = np.zeros(n_classes)
        doubt = self.options.doubt
        for one, said in zip(counted, matrix, strict=True):
            meaning = self._matrices.get(one.model)
            if meaning is not None and len(meaning) != n_classes:
                raise TensorMismatchError(one.model, want=f"{len(meaning)} classes", got=f"{n_classes} classes")
            likelihood = said if meaning is None else meaning @ said
            log_p += np.log((1.0 - doubt) * likelihood + doubt / n_classes)
        log_p *= n**-self.options.temper
        if len(self._log_prior) == n_classes:
            log_p += self._log_prior
        probabilities = np.exp(log_p - log_p.max())
        return Fused(probabilities=probabilities / probabilities.sum(), weights=share.by_name)


def _checked(name: str, rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    matrix = np.array(rows, dtype=np.float64) if len({len(row) for row in rows}) == 1 else np.empty(0)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ConfigError(f"Confusion matrix of {name!r} is not square; wanted is one row and column per class.")
    if (matrix < 0).any() or (abs(matrix.sum(axis=1) - 1) > 1e-6).any():
        raise ConfigError(f"Confusion matrix of {name!r} has rows that are no probabilities; each must sum to 1.")
    return matrix
