"""The image: ``Dockerfile.arm64`` built and run without a Docker engine and without a registry."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.arm64 import delivery, wheels
from deploy.arm64.delivery import Delivered
from deploy.arm64.host import BUILD, ROOT, HostError, is_arm64, run
from deploy.arm64.proof import prepare, speed_of
from deploy.arm64.rootfs import CPUS, Root, open_root

GOAL_MB = 350.0
_TAG = "localhost/edge-station:arm64"
_PLAY_S = 90.0
_HEALTHY_WITHIN_S = 80.0
_STORE = ("--root", str(BUILD / "images"), "--runroot", str(BUILD / "images-run"))
# Its limits are low, because those that podman sets by itself need a capability that a container's root has not.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
# The pip in the build takes what the host's pip fetched: the build needs neither network nor certificates.
_PIP = "[global]\nno-index = true\nfind-links = /mnt/wheels /mnt/build-wheels\n"

Say = Callable[[str], None]


@dataclass
class Image:
    """What was seen of it; see `report.of_image`."""

    builder: str
    base: str
    platform: str
    user: str
    command: list[str]
    health_command: list[str]
    size_mb: float
    base_mb: float
    build_s: float
    goal_mb: float = GOAL_MB
    health: str = "not asked"
    exit_code: int = -1
    run_s: float = 0.0
    counts: tuple[int, int, int] = (0, 0, 0)

    @property
    def holds(self) -> bool:
        """Whether it is small, not root, for arm64, healthy while it ran, and lost nothing."""
        accepted, stored, other = self.counts
        return (
            self.platform == "linux/arm64"
            and self.size_mb < self.goal_mb
            and self.user not in {"", "root", "0"}
            and self.health == "healthy"
            and self.exit_code == 0
            and accepted == stored > 0
            and other == 0
        )


def build_and_run(suite: str, emulator: str, *, say: Say) -> Image:
    """Build the image on the Debian of `suite`, run its command against a broker and a monitor on the host.

    Raises:
        HostError: It cannot be built, or does not start.
    """
    root = open_root(suite)
    begun = time.monotonic()
    say(f"{suite}: image …")
    _build(root)
    seen = json.loads(run("podman", *_STORE, "image", "inspect", _TAG))[0]
    base = json.loads(run("podman", *_STORE, "image", "inspect", _base(root)))[0]
    config = seen["Config"]
    image = Image(
        builder=f"buildah {run('buildah', '--version').split()[2]}, {emulator}",
        base=f"Debian {suite} of `make arm64`, in place of the registry's",
        platform=f"{seen['Os']}/{seen['Architecture']}",
        user=config.get("User", ""),
        command=[*config.get("Entrypoint", []), *config.get("Cmd", [])],
        health_command=[word for word in seen.get("Healthcheck", {}).get("Test", []) if word != "CMD"],
        size_mb=seen["Size"] / 1e6,
        base_mb=base["Size"] / 1e6,
        build_s=time.monotonic() - begun,
    )
    say(f"{suite}: {image.size_mb:.0f} MB; station in the container …")
    _try(image, prepare(root.path.parent / "image-proof"))
    return image


def _build(root: Root) -> None:
    python = ".".join(root.run("python3", "-c", "import platform; print(platform.python_version())").split(".")[:2])
    fetched = wheels.fetch(root, python, ("litert",))
    for_building = wheels.fetch(root, python, ("build",))
    pip = root.path.parent / "pip.conf"
    pip.write_text(_PIP, encoding="ascii")
    base = _base(root)
    if base not in run("podman", *_STORE, "images", "--format", "{{.Repository}}:{{.Tag}}").split():
        run("podman", *_STORE, "import", "--quiet", "--arch", "arm64", "--os", "linux", root.archive, base)
    volumes = {fetched: "/mnt/wheels", for_building: "/mnt/build-wheels", pip: "/etc/pip.conf"}
    mounts = [word for host, inside in volumes.items() for word in ("--volume", f"{host}:{inside}:ro")]
    run(
        *("buildah", *_STORE, "bud", "--format", "docker", "--platform", "linux/arm64", "--isolation", "chroot"),
        *("--pull-never", "--layers", *mounts, "--build-arg", f"BASE_IMAGE={base}", "--tag", _TAG),
        *("--file", ROOT / "Dockerfile.arm64", ROOT),
    )


def _base(root: Root) -> str:
    stamp = root.archive.stat()
    return f"localhost/debian-{root.suite}:{stamp.st_size:x}-{int(stamp.st_mtime):x}"


def _try(image: Image, work: Path) -> None:
    """Run it as the documents say, but with the host's network; ask for its health; wait for its end."""
    config, state = work / "config", work / "state"
    uid = int(run("podman", *_STORE, "run", *_arm(work), "--rm", "--entrypoint", "id", _TAG, "-u"))
    with delivery.centre(work) as (broker, reader):
        start_ns = time.time_ns() - 3_600_000_000_000
        for directory, name, state_directory, seconds in (
            (config, "container", "/var/lib/edge-sdk", _PLAY_S),
            (work, "host", "", _PLAY_S / 20.0),
        ):
            directory.mkdir(exist_ok=True)
            speed = speed_of(work, seconds)
            delivery.configure(
                *(directory, name),
                broker=broker,
                runtime="litert",
                start_ns=start_ns,
                speed=speed,
                state=state_directory,
            )
        for file in (*work.glob("*.edge"), work / "demo.key.pub", work / "recording.npz"):
            os.link(file, config / file.name)
        (config / "container.yaml").rename(config / "station.yaml")
        state.mkdir()
        os.chown(state, uid, uid)
        container = [
            *("podman", *_STORE, "run", *_arm(work), "--name", "edge-proof", "--network", "host", "--read-only")
        ]
        container += ["--volume", f"{config}:/etc/edge-sdk:ro", "--volume", f"{state}:/var/lib/edge-sdk", _TAG]
        container += [*image.command[1:], "--json", "/var/lib/edge-sdk/container.json"]
        host = [sys.executable, "-m", "edge_sdk.cli", "station", "run", str(work / "host.yaml")]
        with _removed("edge-proof"):
            found = delivery.deliver(
                {"container": container, "host": host},
                *(work, reader),
                runtime="litert",
                inside="container",
                counters=state / "container.json",
                meanwhile=lambda: _ask(image),
            )
            image.exit_code = int(run("podman", *_STORE, "inspect", "edge-proof", "--format", "{{.State.ExitCode}}"))
    _remember(image, found)


def _remember(image: Image, found: Delivered) -> None:
    image.run_s = found.seconds
    image.counts = (found.accepted, found.stored, found.other_labels)


def _ask(image: Image) -> None:
    """Ask for its health as an engine would, until it says that it is well."""
    deadline = time.monotonic() + _HEALTHY_WITHIN_S
    while image.health != "healthy" and time.monotonic() < deadline:
        try:
            run("podman", *_STORE, "healthcheck", "run", "edge-proof")
            image.health = "healthy"
        except HostError as error:
            image.health = str(error).splitlines()[-1]
            time.sleep(2.0)


@contextmanager
def _removed(name: str) -> Iterator[None]:
    try:
        yield
    finally:
        run("podman", *_STORE, "rm", "--force", "--ignore", "--time", "0", name)


def _arm(work: Path) -> Sequence[str]:
    """What a container needs to be an Arm one under emulation; see `rootfs.Cpu.cpuinfo`."""
    always = ("--runtime", "runc", "--platform", "linux/arm64", "--pull", "never", *_LIMITS)
    if is_arm64():
        return always
    cpuinfo = work / "cpuinfo"
    cpuinfo.write_text(CPUS[0].cpuinfo(), encoding="ascii")
    return (*always, "--env", f"QEMU_CPU={CPUS[0].name}", "--volume", f"{cpuinfo}:/proc/cpuinfo:ro")
