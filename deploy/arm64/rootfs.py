"""Root file systems: a Debian for arm64, made once, and commands run in it with mounts that end with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.arm64.host import BUILD, HostError, is_arm64, run

SUITES = ("bookworm", "trixie")
"""Raspberry Pi OS of both is made of these Debians."""

_PACKAGES = "python3,python3-venv,ca-certificates,usr-is-merged"
# What the slim images of a registry leave out, too.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")

# Mounts live in a name space of their own: they end with the command, however that ends.
_ENTER = """\
set -e
root=$1 cpuinfo=$2; shift 2
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind /dev "$root/dev"
[ -z "$cpuinfo" ] || mount --bind "$cpuinfo" "$root/proc/cpuinfo"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  shift 2
done
shift
exec chroot "$root" env -i PATH=/opt/edge-sdk/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 "$@"
"""


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor that qemu plays.

    Attributes:
        name: As qemu calls it.
        board: Who has it.
        part: Its part number in ``/proc/cpuinfo``.
        features: What it says it can.
    """

    name: str
    board: str
    part: str
    features: str

    def cpuinfo(self) -> str:
        """What ``/proc/cpuinfo`` says on it, a block for each core that the host has.

        qemu-user shows the host's. The library `cpuinfo` inside LiteRT and ONNX Runtime reads it beside ``/sys``,
        finds an x86 machine there, and crashes.
        """
        core = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: 0x0\nCPU part\t: {self.part}\nCPU revision\t: 3\n\n"
        )
        return "".join(f"processor\t: {number}\n{core}" for number in range(os.cpu_count() or 1))


CPUS = (
    Cpu("cortex-a72", "Raspberry Pi 4", "0xd08", "fp asimd evtstrm crc32 cpuid"),
    Cpu(
        "cortex-a76",
        "Raspberry Pi 5",
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
)


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system that commands are run in.

    Attributes:
        path: Where it lies.
        suite: Its Debian.
        archive: The tar that it was unpacked from.
    """

    path: Path
    suite: str
    archive: Path

    def command(
        self, words: Sequence[str], *, cpu: Cpu = CPUS[0], binds: Mapping[Path, str] | None = None
    ) -> list[str]:
        """The command line that runs `words` in here; a signal to its process reaches the program.

        Args:
            words: Program and arguments.
            cpu: What qemu plays; nothing where the machine itself is one.
            binds: Directories of the host, and where they are seen in here.
        """
        cpuinfo = Path("")
        if not is_arm64():
            cpuinfo = self.path.parent / f"cpuinfo-{cpu.name}"
            cpuinfo.write_text(cpu.cpuinfo(), encoding="ascii")
            words = [f"QEMU_CPU={cpu.name}", *words]
        pairs = [str(end) for pair in (binds or {}).items() for end in pair]
        shown = [str(self.path), str(cpuinfo) if cpuinfo.name else "", *pairs, "--", *words]
        return ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _ENTER, "sh", *shown]

    def run(self, *words: str, cpu: Cpu = CPUS[0], binds: Mapping[Path, str] | None = None) -> str:
        """Run to the end and give what it printed. Raises HostError."""
        return run(*self.command(words, cpu=cpu, binds=binds))


def open_root(suite: str) -> Root:
    """The root file system of `suite`: bootstrapped if it is not there, unpacked if it is not unpacked.

    Raises:
        HostError: It cannot be made.
    """
    if suite not in SUITES:
        raise HostError(f"No proof for {suite!r}. Known: {', '.join(SUITES)}.")
    folder = BUILD / suite
    folder.mkdir(parents=True, exist_ok=True)
    archive, path = folder / "rootfs.tar", folder / "root"
    if not archive.exists():
        _bootstrap(suite, archive)
    root = Root(path, suite, archive)
    if not (path / "etc" / "debian_version").exists() or archive.stat().st_mtime > path.stat().st_mtime:
        unpack(root)
    return root


def unpack(root: Root) -> None:
    """Lay the root file system out anew, as it was bootstrapped."""
    shutil.rmtree(root.path, ignore_errors=True)
    root.path.mkdir()
    run("tar", "--extract", "--file", root.archive, "--directory", root.path)
    root.path.touch()


def _bootstrap(suite: str, archive: Path) -> None:
    """All maintainer scripts run, as in a normal installation: minutes under qemu, once."""
    part = archive.with_suffix(".part.tar")
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    # A mirror behind a cache may be old; the host's own apt knows.
    options += [f"--aptopt={line}" for line in _apt_settings()]
    if suite == "bookworm":
        options.append("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
    command = ["mmdebstrap", "--mode=root", "--arch=arm64", "--variant=minbase", f"--include={_PACKAGES}"]
    run(*command, "--dpkgopt=force-unsafe-io", *options, suite, part, f"deb {_mirror()} {suite} main")
    part.replace(archive)


def _mirror() -> str:
    """Where the host's own packages come from."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").splitlines()
    found = [line for line in lines if line.rstrip("/").endswith("/debian")]
    if not found:
        raise HostError("No Debian mirror in this machine's apt sources. Add one; any suite will do.")
    return found[0]


def _apt_settings() -> list[str]:
    lines = run("apt-config", "dump").splitlines()
    return [line for line in lines if line.startswith(("Acquire::Check-", "Acquire::http::Proxy"))]
