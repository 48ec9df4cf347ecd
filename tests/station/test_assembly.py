from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import ConfigError, TrustError
from edge_sdk.config.station import read_station
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
