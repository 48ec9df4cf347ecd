"""Resampling: samples at any times become cells of a grid, each known to be measured or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR = 0.5
"""A cell is measured if a sample lies no further from it than this, in grid periods …"""
SPAN = 1.5
"""… or if the two samples around it lie no further apart than this, in the source's own periods."""
_HOLD = 0.75


def lock(positions: NDArray[np.float64], phase: float) -> tuple[NDArray[np.float64], float]:
    """Put evenly spaced samples that are already on the rate onto the grid: nearest neighbour, values untouched.

    The phase against the grid is kept from block to block while it is below three quarters of a period, so that
    a phase near one half does not flip to and fro with jitter. Interpolation would be a low-pass filter instead
    (gain cos(π·phase·f/rate)), whose strength depends on when the sensor happened to be switched on.

    Args:
        positions: float64 ``(n,)``, rising, in grid periods.
        phase: What `lock` gave back for the block before; 0 at first.

    Returns:
        Whole-numbered positions, and the phase to keep.
    """
    phase = float(positions[0]) - lock_to(float(positions[0]), phase)
    return np.rint(positions - phase), phase


def lock_to(position: float, phase: float) -> int:
    """The cell that `lock` puts a block's first sample on."""
    first = round(position - phase)
    return first if abs(position - first) <= _HOLD else round(position)


def interpolate(
    knots: NDArray[np.float64], rows: NDArray[np.float32], n_cells: int, *, span: float, tolerance: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Linear interpolation at the positions 0 … n_cells - 1.

    Args:
        knots: float64 ``(n,)``, strictly rising, n ≥ 2; the first lies before position 0, the last behind the end.
        rows: float32 ``(n, n_channels)``, the sample at each knot; all finite.
        n_cells: How many cells.
        span: Widest distance of two knots between which a cell still counts as measured.
        tolerance: Positions that differ by less are the same.

    Returns:
        float32 ``(n_cells, n_channels)``, and for each cell whether it counts as measured.
    """
    cells = np.arange(n_cells, dtype=np.float64)
    right = np.clip(np.searchsorted(knots, cells, side="left"), 1, len(knots) - 1)
    before, after = knots[right - 1], knots[right]
    share = np.clip((cells - before) / (after - before), 0.0, 1.0).astype(np.float32)[:, None]
    values = rows[right - 1] * (1 - share) + rows[right] * share
    measured = (after - before <= span + tolerance) | (cells - before <= NEAR) | (after - cells < NEAR)
    return values, measured
