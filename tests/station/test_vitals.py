"""What the kernel's files tell of the machine: on copies of the trees of real boards."""

from __future__ import annotations

import os
from pathlib import Path

from edge_sdk.station.mounts import mount_of, mounts
from edge_sdk.station.vitals import Gauges

MOUNTS = """\
23 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
24 23 0:22 / /run rw,nosuid - tmpfs tmpfs rw
30 23 179:1 / /boot\\040firmware ro - vfat /dev/mmcblk0p1 ro
"""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/mountinfo": MOUNTS, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def zone(number: int, kind: str, millidegrees: int, passive: int | None = None) -> dict[str, str]:
    place = f"sys/class/thermal/thermal_zone{number}"
    files = {f"{place}/type": kind, f"{place}/temp": str(millidegrees)}
    if passive is not None:
        files |= {f"{place}/trip_point_0_type": "passive", f"{place}/trip_point_0_temp": str(passive)}
    return files


def test_the_hottest_zone_and_where_slowing_down_begins(tmp_path: Path) -> None:
    files = zone(0, "cpu-thermal", 61_500, 80_000) | zone(1, "gpu-thermal", 70_250) | zone(2, "cpu-thermal", 12_000)

    vitals = Gauges(Path("/"), root=tree(tmp_path, files)).read()

    assert vitals.temperatures_c == {"cpu-thermal": 61.5, "gpu-thermal": 70.25, "cpu-thermal-2": 12.0}
    assert (vitals.temperature_c, vitals.throttle_c) == (70.25, 80.0)


def test_a_pi_says_why_it_is_slow_and_why_it_was(tmp_path: Path) -> None:
    files = {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005"}

    vitals = Gauges(Path("/"), root=tree(tmp_path, files)).read()

    assert vitals.throttled == ("throttled", "under_voltage")
    assert vitals.throttled_before == ("throttled", "under_voltage")


def test_a_pi_that_is_well_again_says_that_it_was_not(tmp_path: Path) -> None:
    files = {"sys/devices/platform/soc/soc:firmware/get_throttled": "10000"}

    vitals = Gauges(Path("/"), root=tree(tmp_path, files)).read()

    assert (vitals.throttled, vitals.throttled_before) == ((), ("under_voltage",))


def test_want_of_power_is_seen_where_the_firmware_says_nothing(tmp_path: Path) -> None:
    files = {"sys/class/hwmon/hwmon2/name": "rpi_volt", "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "1"}

    assert Gauges(Path("/"), root=tree(tmp_path, files)).read().throttled == ("under_voltage",)


def test_a_cooled_processor_is_slow_and_a_fan_is_not(tmp_path: Path) -> None:
    place = "sys/class/thermal/cooling_device"
    fan = {f"{place}0/type": "pwm-fan", f"{place}0/cur_state": "3"}
    processor = {f"{place}1/type": "cpufreq-cpu0", f"{place}1/cur_state": "2"}

    assert Gauges(Path("/"), root=tree(tmp_path / "fan", fan)).read().throttled == ()
    assert Gauges(Path("/"), root=tree(tmp_path / "cpu", fan | processor)).read().throttled == ("cooling",)


def test_the_card_is_the_disk_of_the_state_directory(tmp_path: Path) -> None:
    disk = "sys/devices/platform/emmc/block/mmcblk0"
    files = {
        f"{disk}/stat": "  500 0 4000 10 900 0 2048 7 0 1 1",
        f"{disk}/device/life_time": "0x02 0x01",
        f"{disk}/mmcblk0p2/partition": "2",
    }
    root = tree(tmp_path, files)
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/dev/block/179:2").symlink_to(root / disk / "mmcblk0p2")

    vitals = Gauges(Path("/var/lib"), root=root).read()

    assert vitals.card_written_bytes == 2048 * 512
    assert vitals.card_life_used == 0.2


def test_a_machine_that_says_nothing_is_no_reason_to_fail(tmp_path: Path) -> None:
    vitals = Gauges(Path("/"), root=tmp_path).read()

    assert vitals.temperature_c is None
    assert vitals.throttled == ()


def test_this_process_is_known() -> None:
    vitals = Gauges(Path.cwd()).read()

    assert vitals.rss_bytes is not None
    assert vitals.rss_bytes > 10_000_000
    assert vitals.open_files is not None
    assert abs(vitals.open_files - len(os.listdir("/proc/self/fd"))) < 5
    assert vitals.cpu_s


def test_the_deepest_mount_holds_a_directory(tmp_path: Path) -> None:
    table = tree(tmp_path, {}) / "proc/self/mountinfo"

    assert [mount.kind for mount in mounts(table)] == ["ext4", "tmpfs", "vfat"]
    found = {path: mount_of(Path(path), table) for path in ("/var/lib", "/run/edge", "/boot firmware")}
    assert {path: mount.kind for path, mount in found.items() if mount} == {
        "/var/lib": "ext4",
        "/run/edge": "tmpfs",
        "/boot firmware": "vfat",
    }
