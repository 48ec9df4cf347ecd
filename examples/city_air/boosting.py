"""Early fusion, for comparison: gradient boosting on the windows of all sensors jointly, which no station runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.fitting.record import Record
from examples.city_air.local import Cuts, Rows

TITLE = "gradient boosting on all features jointly"
_MOST = 60_000  # more rows, and each hour instead of every other one, change the second decimal place


def train(rows: Rows) -> Any:
    """Fit to at most 60,000 moments; a sensor that is not there is NaN, which the trees can take."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    pick = np.sort(np.random.default_rng(1).choice(len(rows.y), min(_MOST, len(rows.y)), replace=False))
    some = rows.take(pick)
    model = HistGradientBoostingRegressor(max_iter=250, learning_rate=0.08, early_stopping=False, random_state=1)
    return model.fit(_features(some.x), some.y)


def values(model: Any, cuts: Cuts, test: Record) -> NDArray[np.float64]:
    """Its estimates at a record's moments; the record's groups are stations."""
    out = np.empty(len(test))
    for name, rows in test.splits():
        x, _ = cuts.at(name, test.t_ns[rows])
        out[rows] = model.predict(_features(x))
    return out


def _features(x: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.hstack([one[:, 1::2].reshape(len(one), -1) for one in x.values()])
