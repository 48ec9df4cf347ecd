"""The Debian package, tried: installed in a fresh root file system, put to work, purged."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from deploy import deb
from deploy.arm64.rootfs import Root, unpack
from edge_sdk.demo.exercises import SENSORS

_OPEN = """\
import sys
from pathlib import Path
from edge_sdk.contract.trust import Trust
from edge_sdk.inference.model import Model
trust = Trust.of([Path(sys.argv[1])])
print(max(Model.open(path, trust=trust, runtime="litert").check() for path in sys.argv[2:]))
"""


@dataclass(frozen=True, slots=True)
class Package:
    """What was seen of it.

    Attributes:
        name: The file's name.
        size_mb: Its size, 10⁶ bytes.
        install_s: How long dpkg took, its compilation of the Python files included.
        says: What ``edge-sdk --version`` said, and as whom it is installed.
        off_by: Largest difference from the recorded answers of the demo's bundles.
        left: Files that a purge left behind.
    """

    name: str
    size_mb: float
    install_s: float
    says: str
    off_by: float
    left: int


def try_package(root: Root, work: Path) -> Package:
    """Make it, install it, run the demo's bundles with it, purge it.

    Args:
        root: The system that it is for; it is not touched.
        work: Holds bundles and key.

    Raises:
        HostError: It cannot be made, installed, run or purged.
    """
    made = deb.build(root.suite)
    fresh = Root(root.path.parent / "deb-root", root.suite, root.archive)
    unpack(fresh)
    binds = {made.parent: "/mnt/deb", work: "/mnt/proof"}
    begun = time.monotonic()
    fresh.run("dpkg", "--install", f"/mnt/deb/{made.name}", binds=binds)
    install_s = time.monotonic() - begun
    says = fresh.run("edge-sdk", "--version").strip()
    given = ["/mnt/proof/demo.key.pub", *(f"/mnt/proof/{sensor}.edge" for sensor in SENSORS)]
    off_by = float(fresh.run("/opt/edge-sdk/bin/python", "-c", _OPEN, *given, binds=binds).split()[-1])
    fresh.run("dpkg", "--purge", "edge-sdk")
    left = sum(1 for _ in (fresh.path / "opt" / "edge-sdk").rglob("*"))
    shutil.rmtree(fresh.path)
    return Package(made.name, made.stat().st_size / 1e6, install_s, says, off_by, left)
