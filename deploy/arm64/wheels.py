"""Wheels: those of the locks, fetched for arm64 by the host's pip, and installed inside as the how-to says."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.arm64.host import ROOT, HostError, run, same_as
from deploy.arm64.rootfs import Root

VENV = "/opt/edge-sdk"
_GLIBC = {"bookworm": 36, "trixie": 41}
_FIRST_GLIBC = 17
HOW_TO = ROOT / "docs" / "how-to" / "install-on-a-board.md"
# Root needs no sudo; what apt-get would fetch must be there already.
_AS_ON_A_BOARD = """\
sudo() { "$@"; }
apt-get() { shift; for p; do dpkg-query --show "$p" >/dev/null; done; }
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/mnt/wheels PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1
cd /mnt/ours
"""
_AND_THE_OTHERS = "/opt/edge-sdk/bin/pip install --require-hashes --requirement /mnt/wheels/requirements.txt\n"
_UV = Path(sys.executable).with_name("uv")
_NEWEST_UV_PLATFORM = 40


def fetch(root: Root, python: str, locks: Sequence[str]) -> Path:
    """Fetch what `locks` name for arm64 and this Python; every file must have a hash of the lock, and be a wheel.

    Args:
        root: The system that it is for; decides the newest C library that a wheel may ask for.
        python: ``3.11``.
        locks: Names of files in ``deploy``, without ``.lock``.

    Returns:
        A directory with the wheels and ``requirements.txt``, which names them with their hashes.
    """
    files = [ROOT / "deploy" / f"{name}.lock" for name in locks]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    folder = root.path.parent / f"wheels-{'-'.join(locks)}"
    marker = folder / "digest"
    if same_as(marker, digest):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    glibc = _GLIBC[root.suite]
    wanted = folder / "requirements.txt"
    run(
        *(_UV, "pip", "compile", "--quiet", "--no-python-downloads", "--generate-hashes", "--no-annotate"),
        *("--no-header", "--no-emit-index-url", "--no-deps", "--only-binary", ":all:", "--python-version", python),
        *("--python-platform", f"aarch64-manylinux_2_{min(glibc, _NEWEST_UV_PLATFORM)}"),
        *files,
        *("--output-file", wanted),
    )
    tag = "cp" + python.replace(".", "")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(glibc, _FIRST_GLIBC - 1, -1)]
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--only-binary=:all:", f"--python-version={python}", "--implementation=cp"),
        *(f"--abi={tag}", "--abi=abi3", "--abi=none", *platforms, "--platform=manylinux2014_aarch64"),
        *("--dest", folder, "--requirement", wanted),
    )
    marker.write_text(digest, encoding="ascii")
    return folder


def build(folder: Path) -> Path:
    """Our own wheel, from the tree as it is."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


def install(root: Root, wheels: Path, wheel: Path) -> None:
    """Install as the how-to says: its own lines are run inside, in a directory with the lock and the wheel.

    The pip inside reaches no registry: it takes what was fetched. A second lock is installed with its hashes, too.
    """
    binds = {wheels: "/mnt/wheels", wheel.parent: "/mnt/ours"}
    marker = root.path / VENV.lstrip("/") / "installed"
    digest = (wheels / "digest").read_text(encoding="ascii")
    if same_as(marker, digest):
        pip = [f"{VENV}/bin/pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall"]
        root.run(*pip, f"/mnt/ours/{wheel.name}", binds=binds)
        return
    shutil.rmtree(marker.parent, ignore_errors=True)
    shutil.copy(ROOT / "deploy" / "litert.lock", wheel.parent)
    script = _AS_ON_A_BOARD + "\n".join(lines_of(HOW_TO, "make arm64 runs it inside")) + "\n" + _AND_THE_OTHERS
    root.run("bash", "-euc", script, binds=binds)
    marker.write_text(digest, encoding="ascii")


def lines_of(page: Path, name: str) -> list[str]:
    """The commands of the console block that stands below ``<!-- not run: NAME … -->``."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"<!-- not run: {name}.*?-->\n```console\n(?P<block>.*?)```", text, re.DOTALL)
    if found is None:
        raise HostError(f"{page} has no console block marked {name!r}.")
    return [line.removeprefix("$ ") for line in found["block"].splitlines()]
