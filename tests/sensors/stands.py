"""Stands: for each plug-in of ``edge_sdk.sensors`` a place where it really measures, and can lose its source."""

from __future__ import annotations

import atexit
import csv
import fcntl
import os
import ssl
import struct
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion

from tests.brokers import mosquitto
from tests.sensors.modbus_server import modbus_server


def nothing() -> None:
    """For a source that cannot be lost."""


@dataclass(frozen=True)
class Stand:
    """Where one plug-in measures.

    Attributes:
        options: Its options, as in ``station.yaml``; it gives several blocks a second with them.
        cut: Takes the source away.
        mend: Brings it back.
        unit_is_known: Whether each channel has a unit.
    """

    options: dict[str, Any]
    cut: Callable[[], None] = nothing
    mend: Callable[[], None] = nothing
    unit_is_known: bool = True


Build = Callable[[Path], AbstractContextManager[Stand]]
STANDS: dict[str, Build] = {}
CANNOT_BE_LOST: set[str] = set()
ENDS: set[str] = set()


def stand(
    name: str, *, can_be_lost: bool = True, ends: bool = False
) -> Callable[[Callable[[Path], Iterator[Stand]]], Build]:
    """Register a stand for the plug-in `name`; it may be one whose source ends by itself, or cannot be lost."""
    if not can_be_lost:
        CANNOT_BE_LOST.add(name)
    if ends:
        ENDS.add(name)

    def register(build: Callable[[Path], Iterator[Stand]]) -> Build:
        STANDS[name] = contextmanager(build)
        return STANDS[name]

    return register


@contextmanager
def repeating(step: Callable[[int], None], *, every_s: float = 0.02) -> Iterator[None]:
    """Something that goes on beside the test, in a thread."""
    over = threading.Event()

    def work() -> None:
        turn = 0
        while not over.wait(every_s):
            step(turn)
            turn += 1

    thread = threading.Thread(target=work, name="stand")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def tree(root: Path, files: dict[str, str]) -> Path:
    """Files with their contents, below `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return root


def moved(path: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """How to take a file or folder away, and how to bring it back."""
    away = path.with_name("_away_" + path.name)

    def cut() -> None:
        path.rename(away)

    def mend() -> None:
        away.rename(path)

    return cut, mend


@stand("simulated", can_be_lost=False)
def simulated(directory: Path) -> Iterator[Stand]:
    yield Stand({"rate_hz": 50, "block_s": 0.1, "channels": 2, "unit": "V"})


@stand("replay", can_be_lost=False, ends=True)
def replay(directory: Path) -> Iterator[Stand]:
    with (directory / "r.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("t", "a", "b"), *((n / 10, n, -n) for n in range(40))])
    options = {"file": directory / "r.csv", "time": "t", "rate_hz": 10, "speed": 20, "units": ["V", "A"]}
    yield Stand(options)


HWMON = {
    "class/hwmon/hwmon0/name": "cpu_thermal",
    "class/hwmon/hwmon0/temp1_input": "48500",
    "class/hwmon/hwmon1/name": "ina219",
    "class/hwmon/hwmon1/in1_input": "5013",
    "class/hwmon/hwmon1/curr1_input": "730",
    "class/hwmon/hwmon1/power1_input": "3659000",
    "class/hwmon/hwmon1/fan1_input": "1200",
}


@stand("hwmon")
def hwmon(directory: Path) -> Iterator[Stand]:
    sysfs = tree(directory / "sys", HWMON)
    options = {"chip": "ina219", "channels": ["in1", "curr1", "power1"], "rate_hz": 20, "block_s": 0.05, "sysfs": sysfs}
    yield Stand(options, *moved(sysfs / "class/hwmon/hwmon1"))


THERMAL = {
    "class/thermal/thermal_zone0/type": "cpu-thermal",
    "class/thermal/thermal_zone0/temp": "61200",
    "class/thermal/thermal_zone1/type": "gpu-thermal",
    "class/thermal/thermal_zone1/temp": "58000",
}


@stand("thermal")
def thermal(directory: Path) -> Iterator[Stand]:
    sysfs = tree(directory / "sys", THERMAL)
    options = {"zones": ["gpu-thermal", "thermal_zone0"], "rate_hz": 20, "block_s": 0.05, "sysfs": sysfs}
    yield Stand(options, *moved(sysfs / "class/thermal/thermal_zone1"))


IIO = {
    "name": "lsm6dsox",
    "in_accel_x_raw": "100",
    "in_accel_y_raw": "-200",
    "in_accel_z_raw": "16384",
    "in_accel_scale": "0.000598",
    "in_temp_raw": "256",
    "in_temp_offset": "6400",
    "in_temp_scale": "3.90625",
    "in_voltage0_raw": "2048",
    "in_voltage_scale": "0.805664",
    "in_humidityrelative_input": "43210",
}
DEVICE = "bus/iio/devices/iio:device0"


@stand("iio")
def iio(directory: Path) -> Iterator[Stand]:
    tree(directory / "sys" / DEVICE, IIO)
    options = {
        "device": "lsm6dsox",
        "channels": ["accel_x", "temp"],
        "rate_hz": 20,
        "block_s": 0.05,
        "sysfs": directory / "sys",
    }
    yield Stand(options, *moved(directory / "sys" / DEVICE))


SCAN = {
    "scan_elements/in_accel_x_en": "0",
    "scan_elements/in_accel_x_index": "0",
    "scan_elements/in_accel_x_type": "le:s12/16>>4",
    "scan_elements/in_accel_y_en": "1",
    "scan_elements/in_accel_y_index": "1",
    "scan_elements/in_accel_y_type": "le:s16/16>>0",
    "scan_elements/in_accel_z_en": "1",
    "scan_elements/in_accel_z_index": "2",
    "scan_elements/in_accel_z_type": "be:u24/32>>8",
    "scan_elements/in_timestamp_en": "0",
    "scan_elements/in_timestamp_index": "3",
    "scan_elements/in_timestamp_type": "le:s64/64>>0",
    "buffer/enable": "0",
    "buffer/length": "2",
    "buffer/watermark": "1",
    "sampling_frequency": "12.5",
    "trigger/current_trigger": "",
    "current_timestamp_clock": "realtime",
}
# What our choice of x, z and the timestamp makes of a scan: x at 0, z at 4, the time at 8, 16 bytes.
SCAN_OF_XZ = np.dtype(
    {"names": ["x", "z", "t"], "formats": ["<u2", ">u4", "<i8"], "offsets": [0, 4, 8], "itemsize": 16}
)


def scans(first: int, n: int, now_ns: int) -> bytes:
    """Scans as the kernel would give them: x counts down from zero, z counts up."""
    made = np.zeros(n, SCAN_OF_XZ)
    numbers = first + np.arange(n)
    made["x"] = ((-numbers) & 0xFFF) << 4
    made["z"] = numbers << 8
    made["t"] = now_ns + np.arange(n) * 10_000_000
    return made.tobytes()


@stand("iio_buffer")
def iio_buffer(directory: Path) -> Iterator[Stand]:
    import time

    device = tree(directory / "sys" / DEVICE, IIO | SCAN)
    (directory / "dev").mkdir()
    node = directory / "dev" / "iio:device0"
    os.mkfifo(node)
    fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)

    def feed(turn: int) -> None:
        if (device / "buffer/enable").exists() and (device / "buffer/enable").read_text().strip() == "1":
            try:
                os.write(fd, scans(turn * 5, 5, time.time_ns()))
            except BlockingIOError:  # nobody reads
                return

    options = {
        "device": "lsm6dsox",
        "channels": ["accel_z", "accel_x"],
        "rate_hz": 100,
        "block_s": 0.05,
        "sysfs": directory / "sys",
        "dev": directory / "dev",
    }
    gone, back = moved(device)
    node_gone, node_back = moved(node)

    def cut() -> None:
        gone()
        node_gone()
        os.close(fd)

    def mend() -> None:
        nonlocal fd
        tree(device.with_name("_away_" + device.name), {"buffer/enable": "0"})
        back()
        node_back()
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)

    with repeating(feed, every_s=0.05):
        yield Stand(options, cut, mend)
    os.close(fd)


# ---- serial lines, over a real pty


class Pty:
    """A serial port that can be pulled out and put back; it stays the same link, as below /dev/serial/by-id."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.plug()

    def plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))
        self.is_in = True

    def pull(self) -> None:
        self.is_in = False
        os.close(self._master)
        os.close(self._slave)
        self.link.unlink()

    def say(self, data: bytes) -> None:
        try:
            if self.is_in:
                os.write(self._master, data)
        except OSError:  # nobody listens, or it was pulled out this moment
            return


@contextmanager
def talking(link: Path, say: Callable[[int], bytes], *, every_s: float = 0.05) -> Iterator[Pty]:
    """A device on a pty that says something again and again."""
    pty = Pty(link)
    try:
        with repeating(lambda turn: pty.say(say(turn)), every_s=every_s):
            yield pty
    finally:
        if pty.is_in:
            pty.pull()


def nmea_sentence(body: str) -> bytes:
    total = 0
    for byte in body.encode():
        total ^= byte
    return f"${body}*{total:02X}\r\n".encode()


def sds011_frame(pm2_5: float, pm10: float) -> bytes:
    body = round(pm2_5 * 10).to_bytes(2, "little") + round(pm10 * 10).to_bytes(2, "little") + b"\x12\x34"
    return b"\xaa\xc0" + body + bytes([sum(body) & 0xFF]) + b"\xab"


def pms5003_frame(*words: int) -> bytes:
    frame = b"BM\x00\x1c" + b"".join(word.to_bytes(2, "big") for word in (*words, *[0] * (13 - len(words))))
    return frame + sum(frame).to_bytes(2, "big")


def on_a_pty(
    say: Callable[[int], bytes], *, unit_is_known: bool = True, **options: Any
) -> Callable[[Path], Iterator[Stand]]:
    def build(directory: Path) -> Iterator[Stand]:
        with talking(directory / "ttyUSB0", say) as pty:
            yield Stand({"port": str(pty.link), **options}, pty.pull, pty.plug, unit_is_known)

    return build


stand("nmea")(
    on_a_pty(
        lambda turn: (
            nmea_sentence(f"GPGGA,{turn:06d}.00,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,")
            + nmea_sentence(f"GPRMC,{turn:06d}.00,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W")
        ),
        rate_hz=20,
    )
)
stand("serial_csv")(on_a_pty(lambda turn: b"%d,20.5,ok\r\n" % turn, columns=["n", "t", "_"], units=["1", "°C"]))
stand("serial_json")(
    on_a_pty(
        lambda turn: b'{"n": %d, "air": {"t": 20.5}}\n' % turn,
        channels={"n": "n", "temperature": "air.t"},
        unit_is_known=False,
    )
)
stand("sds011")(on_a_pty(lambda turn: sds011_frame(turn % 50, 20.5), rate_hz=20))
stand("pms5003")(on_a_pty(lambda turn: pms5003_frame(*range(turn % 50, turn % 50 + 12)), channels=["pm2_5", "n0_3"]))


# ---- MQTT and HTTP


@stand("mqtt")
def mqtt(directory: Path) -> Iterator[Stand]:
    with mosquitto(directory / "broker") as broker:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()

        def say(turn: int) -> None:
            client.publish("tele/porch/SENSOR", tasmota(turn))

        try:
            with repeating(say, every_s=0.05):
                options = {
                    "broker": broker.url,
                    "topic": "tele/porch/SENSOR",
                    "channels": {"temperature": "AM2301.Temperature", "humidity": "AM2301.Humidity"},
                }
                yield Stand(options, broker.kill, broker.start, unit_is_known=False)
        finally:
            client.disconnect()
            client.loop_stop()


def tasmota(turn: int) -> str:
    return f'{{"Time": "2026-11-21T02:17:00", "AM2301": {{"Temperature": {turn / 10}, "Humidity": 40.5}}}}'


class WebServer:
    """A web server on a loopback port that can be stopped and started again."""

    def __init__(self, answer: Callable[[str], tuple[int, bytes]], tls: ssl.SSLContext | None = None) -> None:
        self._answer, self._tls = answer, tls
        self.port = 0
        self.authorizations: list[str] = []
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ours.authorizations.append(self.headers.get("Authorization", ""))
                status, body = ours._answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def web_server(answer: Callable[[str], tuple[int, bytes]], tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    server = WebServer(answer, tls)
    try:
        yield server
    finally:
        server.stop()


@stand("http")
def http(directory: Path) -> Iterator[Stand]:
    is_there = True

    def answer(path: str) -> tuple[int, bytes]:
        return (200, b'{"air": {"t": 20.5}, "on": true}') if is_there else (503, b"")

    def cut() -> None:
        nonlocal is_there
        is_there = False

    def mend() -> None:
        nonlocal is_there
        is_there = True

    with web_server(answer) as server:
        options = {
            "url": f"{server.url}/status",
            "channels": {"temperature": "air.t", "relay": "on"},
            "rate_hz": 20,
            "block_s": 0.05,
        }
        yield Stand(options, cut, mend, unit_is_known=False)


@stand("modbus")
def modbus(directory: Path) -> Iterator[Stand]:
    with modbus_server(holding={0: [235, 1013]}) as server:
        options = {
            "host": "127.0.0.1",
            "port": server.port,
            "rate_hz": 20,
            "block_s": 0.05,
            "registers": {"t": {"address": 0, "unit": "0.1 °C"}, "p": {"address": 1, "unit": "hPa"}},
        }
        yield Stand(options, server.stop, server.start)


@stand("circuitpython")
def circuitpython(directory: Path) -> Iterator[Stand]:
    chip = directory / "chip"
    chip.write_text("20.5 0.1 0.2 9.8")
    options = {
        "driver": "tests.sensors.drivers.Motion",
        "bus": "none",
        "arguments": {"file": str(chip)},
        "channels": {"temperature": "temperature", "x": "acceleration.0", "z": "acceleration.2"},
        "rate_hz": 20,
        "block_s": 0.05,
    }
    yield Stand(options, *moved(chip))


# ---- audio and images


def wav_bytes(samples: NDArray[Any], rate_hz: int, *, form: int = 1, bits: int = 16) -> bytes:
    """A WAV file with samples that are written as they shall stand in it, ``(n, channels)``."""
    channels = samples.shape[1] if samples.dtype != np.uint8 or bits == 8 else 1
    body = samples.tobytes()
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", form, channels, rate_hz, rate_hz * frame, frame, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + head + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@stand("wav", can_be_lost=False, ends=True)
def wav(directory: Path) -> Iterator[Stand]:
    ramp = np.arange(8000, dtype="<i2").reshape(-1, 1)
    (directory / "a.wav").write_bytes(wav_bytes(ramp, 8000))
    yield Stand({"file": directory / "a.wav", "block_s": 0.1, "speed": 4})


ALSA = """\
</usr/share/alsa/alsa.conf>
pcm.recorded {{
  type file
  slave.pcm null
  file /dev/null
  infile {fifo}
  format raw
  hint {{ show on description "a recording" }}
}}
"""


@cache
def alsa_fifo() -> Path:
    """An input of ALSA's that plays what is written to a pipe; it is configured once, before PortAudio looks."""
    if find_library("portaudio") is None or not Path("/usr/share/alsa/alsa.conf").is_file():
        pytest.skip("PortAudio is not installed: apt-get install libportaudio2")
    directory = Path(mkdtemp(prefix="edge-alsa-"))
    atexit.register(rmtree, directory, ignore_errors=True)
    os.mkfifo(directory / "sound")
    (directory / "asound.conf").write_text(ALSA.format(fifo=directory / "sound"))
    os.environ["ALSA_CONFIG_PATH"] = str(directory / "asound.conf")
    return directory / "sound"


@stand("microphone", can_be_lost=False)
def microphone(directory: Path) -> Iterator[Stand]:
    fd = os.open(alsa_fifo(), os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)  # what was played before somebody listens is not heard all at once

    def play(turn: int) -> None:
        try:
            os.write(fd, np.full(400, 0.25, "<f4").tobytes())
        except BlockingIOError:  # nobody listens
            return

    try:
        with repeating(play, every_s=0.025):
            yield Stand({"device": "recorded", "rate_hz": 16_000, "block_s": 0.05})
    finally:
        os.close(fd)


def picture(path: Path, value: int) -> None:
    """A picture whose upper half is `value` and whose lower half is red."""
    import cv2

    image = np.full((48, 64, 3), value, np.uint8)
    image[24:] = (0, 0, 255)  # blue, green, red
    assert cv2.imwrite(str(path), image)


@stand("image_folder")
def image_folder(directory: Path) -> Iterator[Stand]:
    folder = directory / "images"
    folder.mkdir()
    for n in range(6):
        picture(folder / f"{n}.png", 10 * n)
    options = {"folder": folder, "width": 8, "height": 6, "frames_hz": 20, "repeat": True}
    yield Stand(options, *moved(folder))


@stand("camera")
def camera(directory: Path) -> Iterator[Stand]:
    """OpenCV reads a video file as it reads a camera; a camera that is pulled out is a file that ends, and is gone."""
    import cv2

    video = directory / "video.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    assert writer.isOpened()
    for n in range(600):
        writer.write(np.full((48, 64, 3), n % 250, np.uint8))
    writer.release()
    cut, mend = moved(video)

    def pulled_out() -> None:
        cut()
        with video.with_name("_away_video.avi").open("r+b") as file:
            file.truncate(5_000)

    def put_back() -> None:
        mend()
        video.write_bytes(whole)

    whole = video.read_bytes()
    yield Stand({"device": str(video), "width": 8, "height": 6, "frames_hz": 20}, pulled_out, put_back)
