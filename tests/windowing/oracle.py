"""Windowing and alignment said again, sample by sample, as plainly as can be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.manifest import Windowing


@dataclass(frozen=True)
class Expected:
    end: int
    samples: NDArray[np.float64]
    coverage: float


def windows(spec: Windowing, samples: Sequence[tuple[float, Sequence[float]]], *, span: float = 1.5) -> list[Expected]:
    """Windows of ``(position in periods, row)`` in rising order; ends are grid indices."""
    if not samples:
        return []
    positions = [position for position, _ in samples]
    begin = math.floor(positions[0] + 0.5)
    last = math.floor(positions[-1])
    made = []
    for end in range(begin + 1, last + 1 + spec.length + 1):
        if end % spec.stride:
            continue
        inside = [_cell(spec, cell, end, samples, span, begin) for cell in range(end - spec.length, end)]
        coverage = sum(measured for _, measured in inside) / spec.length
        at_edge = end - spec.length < begin or end > last + 1
        if coverage > 0 and (not at_edge or coverage >= spec.minimum_coverage):
            made.append(Expected(end, np.array([value for value, _ in inside]), coverage))
    return made


def _cell(
    spec: Windowing, cell: int, end: int, samples: Sequence[tuple[float, Sequence[float]]], span: float, begin: int
) -> tuple[NDArray[np.float64], bool]:
    left = [(position, row) for position, row in samples if position <= cell]
    right = [(position, row) for position, row in samples if position >= cell]
    if not left:
        return np.array(right[0][1], dtype=float), cell >= begin
    if not right:
        return np.array(left[-1][1], dtype=float), cell - left[-1][0] <= 0.5
    (before, low), (after, high) = left[-1], right[0]
    if after == before:
        return np.array(low, dtype=float), True
    near = cell - before <= 0.5 or after - cell < 0.5
    if after - before > spec.length + 1:  # too long: held from the end that the window reaches
        from_right = end > math.floor(after + 0.5)
        return np.array(high if from_right else low, dtype=float), near
    share = (cell - before) / (after - before)
    return np.array(low) * (1 - share) + np.array(high) * share, near or after - before <= span


def moments(
    contributors: Sequence[str], ends: Mapping[str, Sequence[int]], max_age: int
) -> list[tuple[int, tuple[str, ...]]]:
    """``on_all`` without any lateness: every distinct end, and the state of each contributor."""
    told = []
    for t in sorted({end for each in ends.values() for end in each}):
        states = []
        for name in contributors:
            before = [end for end in ends[name] if end < t]
            if t in ends[name]:
                states.append("fresh")
            elif before and t - before[-1] <= max_age:
                states.append("stale")
            else:
                states.append("absent")
        told.append((t, tuple(states)))
    return told


def latest(
    names: Sequence[str], heard: Mapping[str, Sequence[int]], t: int, max_age: int
) -> tuple[int, tuple[str, ...]]:
    """A moment of ``on_any`` or ``tick``: the state of each by the age of its last word."""
    states = []
    for name in names:
        before = [end for end in heard[name] if end <= t]
        states.append("absent" if not before else "fresh" if t - max(before) <= max_age else "stale")
    return t, tuple(states)


def based(
    names: Sequence[str], ends: Mapping[str, Sequence[int]], base: str, tolerance: int, max_age: int
) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
    """``basepad`` without any lateness: for each word of the base, state and end of each contributor's word."""
    told = []
    for t in ends[base]:
        said = []
        for name in names:
            near = min(ends[name], key=lambda end: (abs(end - t), end), default=None)
            before = [end for end in ends[name] if end <= t]
            if near is not None and abs(near - t) <= tolerance:
                said.append(("fresh", near))
            elif before and t - before[-1] <= max_age:
                said.append(("stale", before[-1]))
            else:
                said.append(("absent", t))
        told.append((t, tuple(said)))
    return told
