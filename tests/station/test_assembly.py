from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, TrustError
from edge_sdk.config.station import read_station
from edge_sdk.contract.prediction import Prediction
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.trust import SigningKey
from edge_sdk.fusion.file import FusionSpec, write_fusion
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.station.assembly import Assembly
from tests.models import LABELS, tiny_bundle

STATION = """\
site: roof
station: alone
state_directory: state
trust: {keys: [key.pub]}
sensors:
  thing: {kind: simulated, options: {rate_hz: 50, block_s: 0.1, channels: 2}}
streams:
  level:
    models: [{bundle: tiny.edge}]
    fusion: {file: level.fusion}
"""
START_S = 1_700_000_000
TICKING = """\
site: roof
station: alone
state_directory: state
trust: {allow_unsigned: true}
sensors:
  a: {kind: simulated, options: {rate_hz: 2, channels: 2}}
  b: {kind: simulated, options: {rate_hz: 2, channels: 2}}
streams:
  level:
    align: tick
    tick_s: 2
    lateness_s: 1
    models:
      - {bundle: a.edge, runtime: scripted}
      - {bundle: b.edge, runtime: scripted, max_age_s: 1}
"""


def pipeline(folder: Path, *, contributors: dict[str, str] | None = None, key: SigningKey | None = None) -> Pipeline:
    SigningKey.new().write(folder / "key")
    own = SigningKey.read(folder / "key")
    bundle = tiny_bundle(folder / "tiny.edge", key=own)
    spec = FusionSpec(
        task="classification",
        labels=LABELS,
        contributors={"tiny": bundle.digest} if contributors is None else contributors,
        method="staged_pool",
    )
    write_fusion(folder / "level.fusion", spec, key=key or own)
    (folder / "station.yaml").write_text(STATION)
    config = read_station(folder / "station.yaml")
    [made] = Assembly(config, folder / "station.yaml", clock=SystemClock()).pipelines()
    return made


def test_a_stream_is_fused_as_its_fusion_file_says(tmp_path: Path) -> None:
    assert pipeline(tmp_path).stream == "level"


@pytest.mark.parametrize("contributors", [{"tiny": "sha256:0"}, {}, {"tiny": "", "other": ""}])
def test_a_fusion_file_for_other_bundles_is_refused(tmp_path: Path, contributors: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="fitted with other bundles"):
        pipeline(tmp_path, contributors=contributors)


def test_a_fusion_file_of_a_stranger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrustError):
        pipeline(tmp_path, key=SigningKey.new())


def test_the_tick_and_the_age_of_each_model_come_from_the_file(tmp_path: Path) -> None:
    models = [
        tiny_bundle(tmp_path / f"{name}.edge", name=name, sensor=name, answers=((0.2, 0.3, 0.5),)) for name in "ab"
    ]
    assert models
    (tmp_path / "station.yaml").write_text(TICKING)
    config = read_station(tmp_path / "station.yaml")

    [made] = Assembly(config, tmp_path / "station.yaml", clock=SystemClock()).pipelines()
    samples = np.full((2, 2), 0.5, np.float32)
    results = [result for n in range(2) for name in "ab" for result in made.push(block(name, n, samples))]
    results += [result for n in range(2, 8) for result in made.push(block("a", n, samples))]  # b is lost

    assert {result.t.timestamp() % 2 for result in results} == {0.0}
    states = [result.contributors[1].state for result in results if result.t.timestamp() > START_S + 4]
    assert states
    assert set(states) == {"stale"}
    assert results[-1].contributors[0].state == "fresh"


def test_smoothing_and_temperatures_come_from_the_file(tmp_path: Path) -> None:
    made = []
    for extra in ("", ", dwell_s: 3600, temperatures: {tiny: 2.0}"):
        (tmp_path / "station.yaml").write_text(
            STATION.replace("fusion: {file: level.fusion}", f"fusion: {{method: weighted_mean{extra}}}").replace(
                "trust: {keys: [key.pub]}", "trust: {allow_unsigned: true}"
            )
        )
        config = read_station(tmp_path / "station.yaml")
        fuser = Assembly(config, tmp_path / "station.yaml", clock=SystemClock()).fuser(
            "level", config.streams["level"].fusion
        )
        said = [np.array([0.8, 0.1, 0.1]), np.array([0.2, 0.5, 0.3])]
        last = [fuser.fuse([Prediction("tiny", 0, n * 10**9, probabilities=p)]) for n, p in enumerate(said, start=1)][
            -1
        ]
        assert last is not None
        assert last.probabilities is not None
        made.append(int(last.probabilities.argmax()))
    assert made == [1, 0]


def block(sensor: str, second: int, samples: NDArray[np.float32]) -> Reading:
    return Reading(sensor, samples, (START_S + second) * 1_000_000_000, rate_hz=2.0)
