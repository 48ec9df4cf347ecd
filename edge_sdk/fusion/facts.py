"""Facts: what expressions can ask of a moment's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.fusion.expression import Facts

_HOUR_NS = 3_600_000_000_000
_UNKNOWN: dict[str, Any] = {
    "p": None,
    "label": None,
    "value": None,
    "std": None,
    "age_s": None,
    "state": "absent",
    "fresh": False,
}


def facts(predictions: Sequence[Prediction], contributors: Sequence[str], labels: Sequence[str]) -> Facts:
    """The fields of `expression.FIELDS` for each contributor, and the hour; what is not FRESH says nothing."""
    now_ns = max((one.end_ns for one in predictions), default=0)
    known: dict[str, dict[str, Any]] = {"": {"hour": now_ns // _HOUR_NS % 24}}
    for name in contributors:
        known[name] = _UNKNOWN
    for one in predictions:
        is_fresh = one.state is ContributorState.FRESH
        said = dict(_UNKNOWN, state=one.state.value, fresh=is_fresh)
        if one.state is not ContributorState.ABSENT:
            said["age_s"] = (now_ns - one.end_ns) * 1e-9
        if is_fresh and one.probabilities is not None:
            best = int(one.probabilities.argmax())
            said["p"] = float(one.probabilities[best])
            said["label"] = labels[best] if best < len(labels) else None
        elif is_fresh:
            said["value"], said["std"] = one.value, one.std
        known[one.model] = said
    return known
