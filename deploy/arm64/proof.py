"""The proof: wheels installed inside, the demo's bundles opened and asked, a station that delivers."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deploy.arm64 import comparison, delivery, wheels
from deploy.arm64.answers import RUNTIMES
from deploy.arm64.comparison import Difference
from deploy.arm64.delivery import Delivered
from deploy.arm64.host import ROOT, run, size_mb
from deploy.arm64.package import Package, try_package
from deploy.arm64.rootfs import CPUS, Root, open_root
from edge_sdk.demo import people, workshop
from edge_sdk.demo.cli import cache_directory
from edge_sdk.demo.exercises import SEED, SENSORS, UNSEEN_PEOPLE, load_recordings, windows

_LOCKS = ("litert", "onnx")
_WINDOWS = 100
_RECORDINGS = 4
_PLAY_S = 45.0
_INSIDE = "/mnt/proof"

Say = Callable[[str], None]


@dataclass
class Proof:
    """What was seen.

    Attributes:
        suite: The Debian.
        emulator: What ran it.
        about: By CPU's name, what the answers' program says of itself.
        differences: By CPU's name, inside against the host.
        delivered: One row a runtime.
        sizes_mb: What takes what.
        seconds: How long each step took; 0 for one that found its work done.
        package: The Debian package.
    """

    suite: str
    emulator: str
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    delivered: list[Delivered] = field(default_factory=list)
    sizes_mb: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    package: Package | None = None

    @property
    def holds(self) -> bool:
        """Whether both machines say the same, and nothing was lost."""
        return (
            all(comparison.is_all_near(found) for found in self.differences.values())
            and {one.runtime for one in self.delivered} == set(RUNTIMES)
            and all(one.holds for one in self.delivered)
            and self.package is not None
            and self.package.left == 0
        )

    @contextmanager
    def step(self, name: str, say: Say) -> Iterator[None]:
        """Say what is done, and remember how long it took."""
        say(f"{self.suite}: {name} …")
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun


def prove(suite: str, emulator: str, *, say: Say) -> Proof:
    """Do all of it; what is cached below ``build/arm64`` is used.

    Args:
        suite: One of `rootfs.SUITES`.
        emulator: What runs arm64 programs here, for the record.
        say: Told what is being done.

    Raises:
        HostError: Something could not be done at all. What differs or was lost is in the proof.
    """
    proof = Proof(suite, emulator)
    with proof.step("root file system", say):
        root = open_root(suite)
        python = ".".join(root.run("python3", "-c", "import platform; print(platform.python_version())").split(".")[:2])
    with proof.step("wheels of the locks", say):
        fetched = wheels.fetch(root, python, _LOCKS)
        wheel = wheels.build(root.path.parent / "ours")
    with proof.step("installed inside", say):
        wheels.install(root, fetched, wheel)
    proof.sizes_mb = {
        "root file system without the virtual environment": size_mb(root.path, leave_out=("opt", "proc", "sys")),
        "virtual environment with both runtimes": size_mb(root.path / "opt"),
        "wheels": size_mb(fetched),
    }
    with proof.step("the demo's bundles", say):
        work = prepare(root.path.parent / "proof")
    binds = {work: _INSIDE, ROOT / "deploy" / "arm64": "/mnt/program"}
    names = ["windows.npz", "demo.key.pub"]
    bundles = [f"{sensor}.edge" for sensor in SENSORS]
    with proof.step("answers on the host", say):
        arguments = [work / name for name in (*names, "host", *bundles)]
        run(sys.executable, "-m", "deploy.arm64.answers", *arguments)
        proof.about["host"] = comparison.read_about(work / "host.npz")
    for cpu in CPUS:
        with proof.step(f"answers of a {cpu.name}", say):
            inside = [f"{_INSIDE}/{name}" for name in (*names, cpu.name, *bundles)]
            root.run(f"{wheels.VENV}/bin/python", "/mnt/program/answers.py", *inside, cpu=cpu, binds=binds)
        proof.about[cpu.name] = comparison.read_about(work / f"{cpu.name}.npz")
        proof.differences[cpu.name] = comparison.compare_files(work / "host.npz", work / f"{cpu.name}.npz")
    with proof.step("delivery", say), delivery.centre(work) as (broker, reader):
        proof.delivered = [_deliver(root, work, broker, reader, runtime) for runtime in RUNTIMES]
    with proof.step("Debian package", say):
        proof.package = try_package(root, work)
    return proof


def prepare(directory: Path) -> Path:
    """Lay out what both machines are given: the demo's bundles and key, windows, a recording to replay."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    recordings = load_recordings()
    made = workshop.cached(cache_directory(), recordings, progress=lambda *_: None)
    for sensor, piece in made.items():
        shutil.copy(piece.bundle.path, directory / f"{sensor}.edge")
        shutil.copy(piece.key_file, directory / "demo.key.pub")
    unseen = [recording for recording in recordings if recording.person in UNSEEN_PEOPLE]
    cut = {sensor: windows(unseen, sensor)[0] for sensor in SENSORS}
    chosen = {sensor: all_of[:: max(1, len(all_of) // _WINDOWS)][:_WINDOWS] for sensor, all_of in cut.items()}
    np.savez(directory / "windows.npz", allow_pickle=False, **chosen)
    theirs = [recording for recording in unseen if recording.person == UNSEEN_PEOPLE[0]][:_RECORDINGS]
    played = people.prepare(UNSEEN_PEOPLE[0], theirs, directory, runtime="", seed=SEED)
    played.recording.rename(directory / "recording.npz")
    return directory


def speed_of(directory: Path, seconds: float) -> float:
    """How fast the recording must be played to last `seconds`."""
    with np.load(directory / "recording.npz") as recording:
        return float(recording["times_s"][-1]) / seconds


def _deliver(root: Root, work: Path, broker: str, reader: Any, runtime: str) -> Delivered:
    names = {place: f"{place}-{runtime}" for place in ("host", "arm64")}
    start_ns = time.time_ns() - 3_600_000_000_000
    for place, name in names.items():
        speed = speed_of(work, _PLAY_S if place == "arm64" else _PLAY_S / 9.0)
        delivery.configure(work, name, broker=broker, runtime=runtime, start_ns=start_ns, speed=speed)
    on_host = [sys.executable, "-m", "edge_sdk.cli", "station", "run", str(work / f"{names['host']}.yaml")]
    within = [f"{wheels.VENV}/bin/edge-sdk", "station", "run", f"{_INSIDE}/{names['arm64']}.yaml"]
    within += ["--json", f"{_INSIDE}/counters-{runtime}.json"]
    return delivery.deliver(
        {names["arm64"]: root.command(within, binds={work: _INSIDE}), names["host"]: on_host},
        *(work, reader),
        runtime=runtime,
        inside=names["arm64"],
        counters=work / f"counters-{runtime}.json",
    )
