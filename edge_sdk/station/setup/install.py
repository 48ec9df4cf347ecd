"""Installing: the unit and its user are written, and systemd is told; into this machine or into an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.base.errors import ConfigError, EdgeError
from edge_sdk.station.setup.unit import Service

UNITS = Path("etc/systemd/system")
USERS = Path("etc/sysusers.d")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an installation.

    Attributes:
        says: What it does, for a person.
        file: What is written; None = a command.
        text: What stands in it.
        command: What is run.
    """

    says: str
    file: Path | None = None
    text: str = ""
    command: tuple[str, ...] = ()


def plan(service: Service, name: str, *, root: Path = Path("/"), start: bool = True) -> Iterator[Step]:
    """What installing does, in order.

    Args:
        service: The station.
        name: The unit's name, without ``.service``.
        root: The file system to install into; another than ``/`` is an image, in which nothing is started.
        start: Start it at once, too.
    """
    elsewhere = () if root == Path("/") else (f"--root={root}",)
    users = root / USERS / f"{name}.conf"
    yield Step(f"user {service.user}", file=users, text=service.users())
    yield Step(f"make user {service.user}", command=("systemd-sysusers", *elsewhere, users.name))
    yield Step("unit", file=root / UNITS / f"{name}.service", text=service.unit())
    if not elsewhere:
        yield Step("tell systemd", command=("systemctl", "daemon-reload"))
    yield Step("start it at every boot", command=("systemctl", *elsewhere, "enable", f"{name}.service"))
    if start and not elsewhere:
        yield Step("start it now", command=("systemctl", "restart", f"{name}.service"))


def install(steps: Sequence[Step]) -> Iterator[Step]:
    """Take the steps; each is given back when it is done.

    Raises:
        EdgeError: We may not, or a command failed.
    """
    for step in steps:
        if step.file is not None:
            try:
                step.file.parent.mkdir(parents=True, exist_ok=True)
                step.file.write_text(step.text, encoding="utf-8")
                step.file.chmod(0o644)
            except OSError as error:
                raise EdgeError(
                    f"{step.file} cannot be written: {error.strerror}. Run it with sudo, or look first: --dry-run."
                ) from error
        else:
            _run(step.command)
        yield step


def program() -> Path:
    """The ``edge-sdk`` that runs now, as a path for a unit.

    Raises:
        ConfigError: It is in somebody's home, which a service cannot see.
    """
    found = Path(sys.argv[0]).absolute()
    if found.name != "edge-sdk" or not os.access(found, os.X_OK):
        found = Path(sys.executable).with_name("edge-sdk")
    if not found.exists():
        found = Path(shutil.which("edge-sdk") or found)
    if {"home", "root"} & set(found.parts[1:2]):
        raise ConfigError(
            f"{found} is in a home directory, which a service cannot see. Install edge-sdk into /opt/edge-sdk: "
            "sudo python3 -m venv /opt/edge-sdk; or name another one with --program."
        )
    return found


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EdgeError(f"{command[0]} is not here: this machine has no systemd. Look with --dry-run.") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = said[-1] if said else f"exit {done.returncode}"
        raise EdgeError(f"`{' '.join(command)}` failed: {reason}. Run it with sudo, or look first: --dry-run.")
