from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.cache import Cache, key_of
from converters.pipeline import convert
from tests.converters.conftest import ROOT
from tests.models import CHANNELS, LENGTH, onnx_model, weights

RNG = np.random.default_rng(9)
X = RNG.normal(size=(60, LENGTH, CHANNELS)).astype(np.float32)
LABELS = np.arange(60) % 3


LONG_AGO_S = 1.0


def age_all() -> set[str]:
    """What the user's cache holds; as if nobody had looked at it for long."""
    entries = list(Cache.of_user().folder.glob("*"))
    for entry in entries:
        os.utime(entry, (LONG_AGO_S, LONG_AGO_S))
    return {entry.name for entry in entries}


def test_what_was_kept_comes_back_and_a_changed_byte_does_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "into").mkdir()
    cache.put("key", [tmp_path / "a.bin"])

    assert cache.get("key", tmp_path / "into")
    assert (tmp_path / "into" / "a.bin").read_bytes() == b"abc"
    (cache.folder / "key" / "a.bin").write_bytes(b"abd")
    assert not cache.get("key", tmp_path / "into")
    assert not cache.get("other", tmp_path / "into")


def test_the_oldest_go_when_there_is_too_much(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", limit_bytes=2500)
    (tmp_path / "a.bin").write_bytes(bytes(1000))
    for n in range(4):
        cache.put(f"key{n}", [tmp_path / "a.bin"])
        os.utime(cache.folder / f"key{n}", (n, n))

    cache.put("last", [tmp_path / "a.bin"])

    assert sorted(entry.name for entry in cache.folder.iterdir()) == ["key3", "last"]


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    Cache(tmp_path / "file" / "cache").put("key", [tmp_path / "file"])


def test_a_key_follows_from_the_wish_and_the_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    keys = {key_of(b"job", [tmp_path / "a"]), key_of(b"other", [tmp_path / "a"])}
    (tmp_path / "a").write_bytes(b"2")

    assert len({*keys, key_of(b"job", [tmp_path / "a"])}) == 3


def test_the_second_conversion_does_no_stage_again_and_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "dense.onnx"
    path.write_bytes(onnx_model(weights(seed=8)))

    def made(name: str, x: NDArray[np.float32] = X, *, cache: bool = True) -> tuple[str, set[str], set[str]]:
        """The bundle's digest; which stages' work was taken from the cache; which was put there."""
        before = age_all()
        done = convert(path, calibration=x, evaluate=(X, LABELS), out=tmp_path / f"{name}.edge", cache=cache)
        after = {entry.name: entry.stat().st_mtime for entry in Cache.of_user().folder.iterdir()}
        return done.digest, {key for key in before if after[key] > LONG_AGO_S}, after.keys() - before

    first, _, done = made("first")
    second, taken, done_again = made("second")
    anew, taken_without, put_without = made("anew", cache=False)
    other, taken_by_other, done_by_other = made("other", X * 2)

    assert len(done) == len(done_by_other) == 2, "forge and proof"
    assert (taken, done_again) == (done, set())
    assert taken_without | put_without | taken_by_other == set()
    assert first == second == anew != other


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path: Path, models: Path, asked: signal.Signals) -> None:
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    heard = ["env", "--default-signal=INT"]  # whoever runs the tests in the background has it ignored
    command = [*heard, sys.executable, "-m", "edge_sdk.cli", "convert"]
    process = subprocess.Popen(
        [*command, str(models / "model.keras"), "--calibration", str(models / "train.npz"), "--no-cache",
         "-o", str(tmp_path / "out.edge")],
        cwd=ROOT, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        stage = _wait_for_a_stage(process)
        process.send_signal(asked)
        process.wait(timeout=120)
        assert process.returncode in {130, -signal.SIGKILL}

    deadline = time.monotonic() + 60
    while Path(f"/proc/{stage}/cmdline").exists() and Path(f"/proc/{stage}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the stage's process lives on"
        time.sleep(0.02)
    assert not (tmp_path / "out.edge").exists()
    if asked is signal.SIGKILL:  # nobody could sweep: the next one does
        path = tmp_path / "dense.onnx"
        path.write_bytes(onnx_model(weights()))
        subprocess.run(
            [*command, str(path), "--precision", "float32", "-o", str(tmp_path / "out.edge")],
            cwd=ROOT, env=environment, check=True, capture_output=True,
        )  # fmt: skip
    assert list((tmp_path / "tmp").iterdir()) == []


def _wait_for_a_stage(process: subprocess.Popen[str]) -> int:
    """The id of the process that holds TensorFlow, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError("no stage was begun")
