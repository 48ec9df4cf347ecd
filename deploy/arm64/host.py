"""The host: how arm64 programs run on it. What is set up for that is taken away again."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "arm64"

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_QEMU = "qemu-aarch64-static"


class HostError(RuntimeError):
    """This machine lacks something; the message says what to do."""


def is_arm64() -> bool:
    """Whether this machine needs no emulation."""
    return platform.machine() == "aarch64"


@contextmanager
def arm64_programs() -> Iterator[str]:
    """Let this machine run arm64 programs; gives what runs them.

    The rule is registered with the flag F: the kernel opens qemu once, so that nothing need be copied into a root
    file system. Where systemd registered it already, it is left as it is.

    Raises:
        HostError: Not root, or qemu is not installed.
    """
    if os.geteuid() != 0:
        raise HostError("Mounts and another root need root. Run: sudo make arm64")
    BUILD.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = stack.enter_context((BUILD / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)  # two proofs at once would take each other's rule away
        if is_arm64():
            yield "this machine itself"
            return
        if not (_BINFMT / "status").exists():
            run("mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT)
            stack.callback(run, "umount", _BINFMT)
        rule = _BINFMT / "qemu-aarch64"
        if not rule.exists():
            if not _RULE.exists():
                raise HostError(f"{_RULE} is not there. Run: sudo apt-get install qemu-user-static")
            (_BINFMT / "register").write_bytes(_RULE.read_bytes())
            stack.callback(rule.write_text, "-1")
        flags = next(line for line in rule.read_text().splitlines() if line.startswith("flags:"))
        if "F" not in flags:
            raise HostError(f"{rule} lacks the flag F. Run: echo -1 > {rule}, then again.")
        words = run(_QEMU, "--version").split()
        yield f"qemu-user {words[words.index('version') + 1]}"


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a command to its end and give what it printed.

    Raises:
        HostError: It failed, or is not installed; with its last words.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError as error:
        raise HostError(f"{words[0]} is not installed. `make arm64` names the packages.") from error
    if done.returncode:
        raise HostError(f"{' '.join(words)}\nexit {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def same_as(marker: Path, digest: str) -> bool:
    """Whether what `marker` stands beside was made of `digest`."""
    return marker.exists() and marker.read_text(encoding="ascii") == digest


def size_mb(path: Path, *, leave_out: Sequence[str] = ()) -> float:
    """What a directory takes, 10⁶ bytes, hard links once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for place, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name not in leave_out]
        for name in files:
            stat = os.lstat(os.path.join(place, name))
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                total += stat.st_size
    return total / 1e6
