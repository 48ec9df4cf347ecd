from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sdk.fitting import early
from edge_sdk.fitting.early import Features
from edge_sdk.fitting.evaluate import evaluate, noisy, short, stuck
from edge_sdk.fitting.fit import fit
from edge_sdk.fitting.record import Opinion, Record
from edge_sdk.fitting.score import score
from edge_sdk.fitting.table import Spoil
from tests.fitting.records import classes


def spoilt(record: Record) -> object:
    def opinion(name: str, spoil: Spoil) -> Opinion:
        given = record.opinions[name]
        assert given.probabilities is not None
        changed = np.clip(spoil(given.probabilities.astype(np.float32)).astype(np.float64), 1e-3, None)
        return replace(given, probabilities=changed / changed.sum(axis=1, keepdims=True))

    return opinion


def test_evaluation_tells_of_each_alone_and_of_one_and_two_in_every_trouble() -> None:
    record = classes(400)
    spec = fit(record, method="staged_pool").spec
    lines = evaluate(spec, record, spoilt=spoilt(record))  # type: ignore[arg-type]
    assert [line.method for line in lines[:3]] == ["presence alone", "count alone", "coin alone"]
    singles = {("presence",), ("count",), ("coin",)}
    pairs = {("presence", "count"), ("presence", "coin"), ("count", "coin")}
    for trouble in ("absent", "stale", "noisy", "stuck"):
        assert {line.names for line in lines if line.trouble == trouble} == singles | pairs
    assert {line.strength for line in lines if line.trouble == "noisy"} == {0.5, 1.0, 2.0}
    titles = [title for title, _ in short(lines)]
    assert "fused presence absent" in titles
    assert sum(title.endswith("(of two, the worst)") for title in titles) == 4


def test_what_is_stale_counts_no_more_than_what_is_absent() -> None:
    record = classes(200)
    lines = evaluate(fit(record, method="staged_pool").spec, record)
    by_names = {(line.trouble, line.names): line.score.accuracy for line in lines}
    for name in record.models:
        assert by_names["stale", (name,)] == by_names["absent", (name,)]


def test_noise_is_as_strong_as_it_says_and_a_stuck_sensor_says_one_thing() -> None:
    samples = np.random.default_rng(0).normal(5, 3, (4000, 2)).astype(np.float32)
    samples[7] = np.nan
    added = noisy(2.0)(samples) - samples
    assert np.nanstd(added) == pytest.approx(6.0, rel=0.05)
    held = stuck(samples)
    assert held.shape == samples.shape
    assert np.isfinite(held).all()
    assert len(np.unique(held, axis=0)) == 1


def features(record: Record, seed: int = 0) -> Features:
    """Windows of two sensors, of which the second tells ones from twos; a tenth of them is missing."""
    rng = np.random.default_rng(seed)
    truth = np.asarray(record.truth)
    blocks: list[NDArray[np.float64]] = []
    for wanted in (1, 2):
        there = (rng.random(len(truth)) < 0.9).astype(np.float64)
        signal = (truth == wanted) * 4.0 + rng.normal(size=len(truth))
        blocks.append(np.stack([signal * there, there], axis=1))
    return Features(np.hstack(blocks), (2, 2))


def test_early_fusion_learns_each_group_from_the_others() -> None:
    record = classes(900)
    answers, tested = early.fused(features(record), record)
    assert (score(answers, tested).accuracy or 0) > 0.85


def test_early_fusion_may_learn_from_other_data() -> None:
    record, other = classes(300), classes(900, seed=5)
    answers, tested = early.fused(features(record), record, learned=(features(other, 3), other))
    assert (score(answers, tested).accuracy or 0) > 0.85


def test_early_fusion_of_estimates_is_a_small_network() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 2))
    truth = 10 + np.abs(x[:, 0]) * 5 + x[:, 1]
    block = np.stack([x[:, 0], np.ones(6000), x[:, 1], np.ones(6000)], axis=1)
    groups = np.array([f"g{index % 3}" for index in range(6000)])
    record = Record({}, truth, np.arange(6000), groups, unit="m")
    answers, tested = early.fused(Features(block, (2, 2)), record)
    assert (score(answers, tested).r2 or 0) > 0.9
