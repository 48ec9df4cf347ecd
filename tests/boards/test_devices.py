from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_sdk.boards.devices import devices


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_machine_without_accelerators_has_none(tmp_path: Path) -> None:
    assert list(devices(tmp_path)) == []


def test_accelerators_are_found_by_their_nodes_and_usb_ids(tmp_path: Path) -> None:
    for node in ("dev/apex_0", "dev/dri/renderD128", "dev/nvhost-gpu", "dev/bus/usb/002/007"):
        put(tmp_path / node)
    stick = tmp_path / "sys/bus/usb/devices/2-1"
    for name, text in {"idVendor": "18d1\n", "idProduct": "9302\n", "busnum": "2\n", "devnum": "7\n"}.items():
        put(stick / name, text)
    put(tmp_path / "sys/bus/usb/devices/usb1/idVendor", "1d6b\n")

    found = {device.name: device for device in devices(tmp_path)}

    assert set(found) == {
        "Coral Edge TPU (PCIe)",
        "Coral Edge TPU (USB)",
        "GPU (render node)",
        "NVIDIA Jetson GPU",
    }
    assert found["Coral Edge TPU (USB)"].path == tmp_path / "dev/bus/usb/002/007"
    assert all(device.is_usable for device in found.values())


def test_a_coral_whose_node_is_gone_cannot_be_used_and_the_group_is_named(tmp_path: Path) -> None:
    stick = tmp_path / "sys/bus/usb/devices/1-1"
    for name, text in {"idVendor": "1a6e", "idProduct": "089a", "busnum": "1", "devnum": "4"}.items():
        put(stick / name, text)

    [device] = devices(tmp_path)

    assert not device.is_usable
    assert "plugdev" in device.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use everything")
def test_a_node_of_somebody_else_is_said_with_its_group(tmp_path: Path) -> None:
    put(tmp_path / "dev/apex_0").chmod(0)

    [device] = devices(tmp_path)

    assert not device.is_usable
    assert "apex" in device.detail
