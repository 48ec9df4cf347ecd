from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.boards.probe import this_board
from edge_sdk.boards.profile import board_names, read_board


def machine(root: Path, *entries: str) -> Path:
    """A root directory with a device tree."""
    tree = root / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"".join(entry.encode() + b"\0" for entry in entries))
    return root


@pytest.mark.parametrize(
    ("entries", "board"),
    [
        (("raspberrypi,5-model-b", "brcm,bcm2712"), "raspberry-pi-5"),
        (("raspberrypi,4-model-b", "brcm,bcm2711"), "raspberry-pi-4"),
        (("raspberrypi,model-zero-2-w", "brcm,bcm2837"), "raspberry-pi-zero-2-w"),
        (("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"), "jetson-orin-nano"),
        (("nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234"), "jetson-agx-orin"),
        (("nvidia,p3450-0000", "nvidia,tegra210"), "jetson-nano"),
        (("google,imx8mq-phanbell", "fsl,imx8mq"), "coral-dev-board"),
        (("vendor,unheard-of",), "generic-arm64"),
    ],
)
def test_a_board_knows_itself_by_its_device_tree(tmp_path: Path, entries: tuple[str, ...], board: str) -> None:
    found = this_board(machine(tmp_path, *entries), machine="aarch64")

    assert found is not None
    assert found.name == board


def test_a_pi_with_a_coral_plugged_in_is_another_board(tmp_path: Path) -> None:
    root = machine(tmp_path, "raspberrypi,5-model-b", "brcm,bcm2712")
    stick = root / "sys/bus/usb/devices/2-1"
    stick.mkdir(parents=True)
    for name, text in {"idVendor": "18d1", "idProduct": "9302", "busnum": "2", "devnum": "3"}.items():
        (stick / name).write_text(text)

    found = this_board(root, machine="aarch64")

    assert found is not None
    assert found.name == "raspberry-pi-5-coral-usb"


@pytest.mark.parametrize(
    ("machine", "board"), [("x86_64", "generic-x86-64"), ("armv7l", "generic-armv7"), ("riscv64", None)]
)
def test_without_a_device_tree_the_architecture_decides(tmp_path: Path, machine: str, board: str | None) -> None:
    found = this_board(tmp_path, machine=machine)

    assert (found.name if found else None) == board


def test_no_two_boards_have_the_same_entry_but_for_their_accelerator() -> None:
    owners: dict[str, list[str]] = {}
    for name in board_names():
        for entry in read_board(name).device_tree:
            owners.setdefault(entry, []).append(name)

    shared = {entry: names for entry, names in owners.items() if len(names) > 1}
    assert shared == {"raspberrypi,5-model-b": ["raspberry-pi-5", "raspberry-pi-5-coral-usb"]}
