"""Devices: the accelerators that the kernel shows, and whether we may use them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What each device node is, and the group that may use it on Debian and its kin.
_NODES = (
    ("dev/apex_*", "Coral Edge TPU (PCIe)", "apex"),
    ("dev/dri/renderD*", "GPU (render node)", "render"),
    ("dev/nvidia[0-9]*", "NVIDIA GPU", "video"),
    ("dev/nvhost-gpu", "NVIDIA Jetson GPU", "video"),
    ("dev/ethosu*", "Arm Ethos-U", "video"),
    ("dev/galcore", "VeriSilicon NPU", "video"),
)
# USB ids of the Coral USB Accelerator: before its firmware is loaded, and after.
_CORAL_USB = {("1a6e", "089a"), ("18d1", "9302")}


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    Attributes:
        name: For people.
        path: Its node.
        is_usable: Whether this process may read and write it.
        detail: The node, or what to do to be allowed.
    """

    name: str
    path: Path
    is_usable: bool
    detail: str


def devices(root: Path = Path("/")) -> Iterator[Device]:
    """Every accelerator that the kernel shows.

    Args:
        root: Where ``dev`` and ``sys`` lie; another one is for tests.
    """
    for pattern, name, group in _NODES:
        for node in sorted(root.glob(pattern)):
            yield _device(name, node, group)
    for place in sorted(root.glob("sys/bus/usb/devices/*")):
        if (_read(place / "idVendor"), _read(place / "idProduct")) in _CORAL_USB:
            bus, number = (int(_read(place / name) or 0) for name in ("busnum", "devnum"))
            yield _device("Coral Edge TPU (USB)", root / f"dev/bus/usb/{bus:03d}/{number:03d}", "plugdev")


def _device(name: str, node: Path, group: str) -> Device:
    is_usable = os.access(node, os.R_OK | os.W_OK)
    cure = f"{node} may not be used by this user: sudo usermod -aG {group} USER, then log in anew"
    return Device(name, node, is_usable, str(node) if is_usable else cure)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
