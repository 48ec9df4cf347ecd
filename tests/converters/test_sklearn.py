from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from converters.pipeline import convert
from converters.recipe import Recipe
from edge_sdk.base.errors import ConversionError
from edge_sdk.inference.model import Model

RNG = np.random.default_rng(3)
X = RNG.normal(size=(200, 6)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def test_a_forest_becomes_a_bundle_that_answers_as_it_does(tmp_path: Path) -> None:
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(20, max_depth=5, random_state=0)).fit(X, Y)
    joblib.dump(forest, tmp_path / "forest.joblib")

    done = convert(
        tmp_path / "forest.joblib", Recipe(rate_hz=1), evaluate=(X, Y), precision=("float32",), out=tmp_path / "f.edge"
    )

    [row] = done.report
    assert (row.format, row.metric) == ("onnx", "accuracy")
    assert row.quantized == row.float_value
    assert row.worst < 1e-4
    assert Model.open(done).check() < 1e-5


def test_a_regression_knows_its_error(tmp_path: Path) -> None:
    target = (X @ np.arange(6)).astype(np.float32) + RNG.normal(0, 0.5, 200)
    joblib.dump(LinearRegression().fit(X, target), tmp_path / "line.joblib")

    done = convert(
        tmp_path / "line.joblib",
        Recipe(task="regression", unit="µg/m³", rate_hz=1),
        evaluate=(X, target),
        precision=("float32",),
        out=tmp_path / "line.edge",
    )

    assert done.report[0].metric == "mae"
    assert done.manifest.error_std == pytest.approx(0.5, abs=0.1)
    assert done.manifest.unit == "µg/m³"


def test_a_pickle_without_an_estimator_is_refused(tmp_path: Path) -> None:
    joblib.dump({"a": 1}, tmp_path / "thing.joblib")

    with pytest.raises(ConversionError, match="holds a dict"):
        convert(tmp_path / "thing.joblib", evaluate=X, precision=("float32",), out=tmp_path / "out.edge")
