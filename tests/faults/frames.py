"""Moves Ethernet frames between two interfaces, and loses, delays or swallows them: the kernel here may have no netem.

``python -m tests.faults.frames ONE OTHER``; standard input: JSON ``{"loss": 0.3, "delay_s": 2.0, "cut": [true, true]}``
a line, loss and delay each way, `cut` from one to the other and back. Ends with its input.
"""

from __future__ import annotations

import array
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass

_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x17, 0x15, 0x1F, 0x24, 0x2C)  # ETHTOOL_STXCSUM, SRXCSUM, STSO, SGSO, SGRO: off, or checksums are wrong
_OUTGOING = 4
_FRAME_BYTES = 65_600


@dataclass
class Weather:
    """What happens to frames now."""

    loss: float = 0.0
    delay_s: float = 0.0
    cut: tuple[bool, bool] = (False, False)


def without_offload(interface: str) -> None:
    """Let the kernel put whole checksums and frames of ordinary size on the wire."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _OFFLOADS:
            value = array.array("B", struct.pack("II", command, 0))
            try:
                fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), value.buffer_info()[0]))
            except OSError:
                continue  # this interface has no such offload


def tap(interface: str) -> socket.socket:
    without_offload(interface)
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((interface, 0))
    made.setblocking(False)
    return made


def relay(names: list[str]) -> None:
    taps = [tap(name) for name in names]
    weather, waiting, number = Weather(), list[tuple[float, int, int, bytes]](), 0
    latest = [0.0, 0.0]
    told = b""
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, side, frame = heapq.heappop(waiting)
            if not weather.cut[side]:
                try:
                    taps[1 - side].send(frame)
                except OSError:
                    continue  # the interface is down, or its queue is full: a network may lose frames
        wait_s = max(0.0, waiting[0][0] - now) if waiting else None
        ready, _, _ = select.select([*(one.fileno() for one in taps), 0], [], [], wait_s)
        for handle in ready:
            if handle == 0:
                read = os.read(0, 65_536)
                if not read:
                    return
                *lines, told = (told + read).split(b"\n")
                for line in lines:
                    said = json.loads(line)
                    weather = Weather(said["loss"], said["delay_s"], tuple(said["cut"]))
                continue
            side = 0 if handle == taps[0].fileno() else 1
            frame, address = taps[side].recvfrom(_FRAME_BYTES)
            if address[2] == _OUTGOING or weather.cut[side] or random.random() < weather.loss:
                continue
            latest[side] = max(time.monotonic() + weather.delay_s, latest[side])  # the order stays
            number += 1
            heapq.heappush(waiting, (latest[side], number, side, frame))


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        without_offload(sys.argv[2])
    else:
        relay(sys.argv[1:])
