"""Probe: which of the boards that are described this machine is."""

from __future__ import annotations

import platform
from pathlib import Path

from edge_sdk.boards.devices import devices
from edge_sdk.boards.profile import Board, board_names, folder, read_board

_GENERIC = {"aarch64": "generic-arm64", "armv7l": "generic-armv7", "x86_64": "generic-x86-64"}


def this_board(root: Path = Path("/"), *, machine: str = "") -> Board | None:
    """The profile of this machine: by its device tree, else the generic one of its architecture; None = neither.

    Where two profiles are one board with and without an accelerator, the accelerator has to be plugged in.

    Args:
        root: Where ``proc``, ``dev`` and ``sys`` lie; another one is for tests.
        machine: As ``uname -m`` says it; default: what it says here.
    """
    entries = _compatible(root)
    candidates = []
    for name in board_names():
        text = (folder() / f"{name}.yaml").read_text(encoding="utf-8")
        if any(entry in text for entry in entries):  # reading all as YAML takes long on a small board
            board = read_board(name)
            if entries & set(board.device_tree):
                candidates.append(board)
    has_coral = any(device.name.startswith("Coral") for device in devices(root)) if len(candidates) > 1 else False
    candidates.sort(key=lambda board: any(one.rules == "edgetpu" for one in board.accelerators) != has_coral)
    if candidates:
        return candidates[0]
    generic = _GENERIC.get(machine or platform.machine())
    return read_board(generic) if generic else None


def _compatible(root: Path) -> set[str]:
    try:
        raw = (root / "proc/device-tree/compatible").read_bytes()
    except OSError:
        return set()
    return {entry for entry in raw.decode("ascii", "replace").split("\0") if entry}
