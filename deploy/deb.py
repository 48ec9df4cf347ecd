"""The Debian package: a virtual environment in ``/opt/edge-sdk``; its installation fetches nothing.

It is made of the wheels of ``deploy/litert.lock`` for the suite's own Python, without running anything of the board's,
so that any machine can make it: ``python -m deploy.deb bookworm trixie``.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from deploy.arm64.host import ROOT, HostError, run, size_mb

OUT = ROOT / "build" / "deb"
PYTHONS = {"bookworm": ("3.11", 36), "trixie": ("3.13", 40)}
"""Python and C library of each suite; its C library may be newer than what uv knows by name."""

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
_HOME = "opt/edge-sdk"
_UV = Path(sys.executable).with_name("uv")
_CONTROL = """\
Package: edge-sdk
Version: {version}
Architecture: {architecture}
Maintainer: Edge SDK
Section: science
Priority: optional
Installed-Size: {kilobytes}
Depends: python3 (>= {python}), python3 (<< {next_python}), libstdc++6, ca-certificates
Description: Trained models on small boards, fused and delivered
 A station reads sensors, runs one model per sensor, fuses their answers, and
 delivers every result to a monitor by MQTT. This package has the runtime LiteRT
 for Python {python}, in a virtual environment of its own.
"""
_SCRIPT = """\
#!/opt/edge-sdk/bin/python
import sys

from edge_sdk.cli import main

sys.exit(main())
"""
_POSTINST = """\
#!/bin/sh
set -e
[ "$1" != configure ] || /opt/edge-sdk/bin/python -m compileall -q /opt/edge-sdk/lib || true
"""
_PRERM = """\
#!/bin/sh
set -e
find /opt/edge-sdk/lib -name __pycache__ -type d -prune -exec rm -rf {} +
"""


def build(suite: str, architecture: str = "arm64") -> Path:
    """Make the package of one suite.

    Args:
        suite: One of `PYTHONS`.
        architecture: ``arm64`` or ``amd64``.

    Returns:
        ``build/deb/edge-sdk_VERSION_ARCHITECTURE.deb``.

    Raises:
        HostError: It cannot be made.
    """
    if suite not in PYTHONS or architecture not in _MACHINES:
        raise HostError(f"No package for {suite} on {architecture}. Known: {', '.join(PYTHONS)}; arm64, amd64.")
    python, glibc = PYTHONS[suite]
    tree = OUT / f"{suite}-{architecture}"
    shutil.rmtree(tree, ignore_errors=True)
    home = tree / _HOME
    packages = home / "lib" / f"python{python}" / "site-packages"
    packages.mkdir(parents=True)
    _fill(packages, python, f"{_MACHINES[architecture]}-manylinux_2_{glibc}")
    _make_environment(tree, home, python)
    numbered = f"{version('edge-sdk')}+{suite}"
    _describe(tree, python, numbered, architecture)
    target = OUT / f"edge-sdk_{numbered}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, target)
    shutil.rmtree(tree)
    return target


def _fill(packages: Path, python: str, platform: str) -> None:
    wheels = packages.parent / "wheel"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, ROOT)
    [wheel] = wheels.glob("*.whl")
    install = [str(_UV), "pip", "install", "--quiet", "--no-python-downloads", "--link-mode", "copy", "--no-deps"]
    install += ["--python-platform", platform, "--python-version", python, "--target", str(packages)]
    lock = ROOT / "deploy" / "litert.lock"
    run(*install, "--only-binary", ":all:", "--require-hashes", "--requirement", lock)
    run(*install, wheel)
    shutil.rmtree(wheels)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    (packages / ".lock").unlink(missing_ok=True)


def _make_environment(tree: Path, home: Path, python: str) -> None:
    (home / "bin").mkdir()
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n", encoding="ascii")
    (home / "bin" / "python").symlink_to(f"/usr/bin/python{python}")
    script = home / "bin" / "edge-sdk"
    script.write_text(_SCRIPT, encoding="ascii")
    script.chmod(0o755)
    command = tree / "usr" / "bin" / "edge-sdk"
    command.parent.mkdir(parents=True)
    command.symlink_to(f"/{_HOME}/bin/edge-sdk")
    notice = tree / "usr" / "share" / "doc" / "edge-sdk" / "copyright"
    notice.parent.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", notice)


def _describe(tree: Path, python: str, numbered: str, architecture: str) -> None:
    major, minor = python.split(".")
    about = tree / "DEBIAN"
    about.mkdir()
    control = _CONTROL.format(
        version=numbered,
        architecture=architecture,
        kilobytes=round(size_mb(tree) * 1000),
        python=python,
        next_python=f"{major}.{int(minor) + 1}",
    )
    (about / "control").write_text(control, encoding="ascii")
    for name, text in (("postinst", _POSTINST), ("prerm", _PRERM)):
        (about / name).write_text(text, encoding="ascii")
        (about / name).chmod(0o755)


def main(suites: list[str]) -> int:
    """Make the packages of `suites` for arm64, all without any."""
    try:
        for suite in suites or PYTHONS:
            made = build(suite)
            print(f"{made} ({made.stat().st_size / 1e6:.0f} MB)")
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
