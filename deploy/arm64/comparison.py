"""Comparison: how far apart two machines' answers are, and whether that is near enough."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 0.02
"""Of a probability: an int8 step or two at the output. Labels must not differ where the answer is surer than that."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One bundle on one runtime, here and there.

    Attributes:
        bundle: The model's name.
        runtime: What ran it.
        windows: How many were compared.
        largest: Largest difference of a probability.
        other_labels: Windows whose label differs.
        undecided: Those of them where the two best labels lie within the tolerance.
    """

    bundle: str
    runtime: str
    windows: int
    largest: float
    other_labels: int
    undecided: int

    @property
    def is_near(self) -> bool:
        """Whether the two machines say the same."""
        return self.largest <= TOLERANCE and self.other_labels == self.undecided


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    """Compare ``bundle.runtime`` → probabilities ``(n_windows, n_classes)``.

    Raises:
        ValueError: They are not of the same models and windows.
    """
    if here.keys() != there.keys():
        raise ValueError(f"Answers of {sorted(here)} cannot be compared with those of {sorted(there)}.")
    found = []
    for name in sorted(here):
        ours, theirs = np.asarray(here[name]), np.asarray(there[name])
        if ours.shape != theirs.shape:
            raise ValueError(f"{name}: {ours.shape} answers here, {theirs.shape} there.")
        bundle, runtime = name.rsplit(".", 1)
        other = ours.argmax(axis=1) != theirs.argmax(axis=1)
        best = np.sort(ours, axis=1)
        close = best[:, -1] - best[:, -2] <= TOLERANCE
        largest = float(np.abs(ours - theirs).max())
        found.append(Difference(bundle, runtime, len(ours), largest, int(other.sum()), int((other & close).sum())))
    return found


def compare_files(here: Path, there: Path) -> list[Difference]:
    """Compare two ``.npz`` files of `answers`."""
    with np.load(here) as ours, np.load(there) as theirs:
        return differences(dict(ours), dict(theirs))


def read_about(path: Path) -> dict[str, Any]:
    """What gave the answers: the ``.json`` beside them."""
    about: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="ascii"))
    return about


def is_all_near(found: Sequence[Difference]) -> bool:
    """Whether every model says the same on both machines."""
    return bool(found) and all(one.is_near for one in found)
