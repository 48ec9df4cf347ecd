"""The room's evening in the dark, on the real data where it is at hand; without the converter, which takes minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_sdk.fitting.fit import fitted
from edge_sdk.fitting.methods import classifiers, first_against_rest
from edge_sdk.fitting.record import Opinion, Record
from edge_sdk.fitting.score import run, score
from edge_sdk.fusion.chain import Chain
from examples.room_occupancy import local
from examples.room_occupancy.data import CHANNELS, LABELS, load
from examples.room_occupancy.run import said_in_training

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT.parent / "shared/data/room-occupancy"
DARK = "2018-01-10"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the room-occupancy data is not beside the repository")
def test_three_people_in_the_dark_are_seen_by_the_others() -> None:
    room = load(DATA)
    cut = {kind: local.windows(room, kind) for kind in CHANNELS}
    shared = np.unique(np.concatenate([one.t_ns[one.days == DARK] for one in cut.values()]))
    opinions = {}
    for kind, windows in cut.items():
        rows = windows.days != DARK
        model = local.train(windows.x[rows], windows.y[rows])
        there = np.isin(shared, windows.t_ns)
        said = np.full((len(shared), len(LABELS)), 0.25)
        said[there] = model.probabilities(windows.x[np.isin(windows.t_ns, shared)])
        opinions[kind] = Opinion(fresh=there, probabilities=said)
    test = Record(opinions, room.truth(shared), shared, np.full(len(shared), DARK), labels=LABELS)
    method = next(one for one in classifiers(first_against_rest(len(LABELS))) if one.fuser == "staged_pool")
    spec = fitted(method, said_in_training(cut, DARK), coverage=None)

    fused = score(run(spec.open(), test), test)
    light = score(run(Chain("weighted_mean"), test.only("light")), test)

    assert light.accuracy is not None
    assert fused.accuracy is not None
    assert fused.accuracy > light.accuracy + 0.05
    assert max(spec.options["inner_weights"], key=spec.options["inner_weights"].get) == "light"


@pytest.mark.parametrize("people", [(0, 1), (0, 2, 3), (0, 1, 2, 3)])
def test_a_model_tells_as_many_numbers_of_people_apart_as_it_has_seen(people: tuple[int, ...]) -> None:
    y = np.resize(np.array(people, dtype=np.int64), 120)
    x = np.random.default_rng(0).normal(size=(120, 16, 2)).astype(np.float32) + 3.0 * y[:, None, None].astype(
        np.float32
    )

    said = local.train(x[:60], y[:60]).probabilities(x[60:])

    assert (said.argmax(axis=1) == y[60:]).mean() > 0.9
    np.testing.assert_allclose(said.sum(axis=1), 1.0)
