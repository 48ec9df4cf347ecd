"""Wheels: those of the locks, fetched for arm64 by the host's pip, and installed by the pip inside."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.arm64.host import ROOT, run, same_as
from deploy.arm64.rootfs import Root

VENV = "/opt/edge-sdk"
_GLIBC = {"bookworm": 36, "trixie": 41}
_FIRST_GLIBC = 17
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
    """Make a virtual environment inside, and install there: what is fetched, with hashes; then our wheel."""
    binds = {wheels: "/mnt/wheels", wheel.parent: "/mnt/ours"}
    marker = root.path / VENV.lstrip("/") / "installed"
    digest = (wheels / "digest").read_text(encoding="ascii")
    pip = [f"{VENV}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    if not same_as(marker, digest):
        shutil.rmtree(marker.parent, ignore_errors=True)
        root.run("python3", "-m", "venv", VENV)
        locked = ["--find-links", "/mnt/wheels", "--require-hashes", "--requirement", "/mnt/wheels/requirements.txt"]
        root.run(*pip, *locked, binds=binds)
        marker.write_text(digest, encoding="ascii")
    root.run(*pip, "--no-deps", "--force-reinstall", f"/mnt/ours/{wheel.name}", binds=binds)
