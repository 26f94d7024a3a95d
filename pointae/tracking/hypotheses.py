"""A hypothesis of a track in the TORCH plate: the five numbers on which the arrival of its light depends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pointae.simulate.module import PLATE_HEIGHT, PLATE_WIDTH
from pointae.simulate.tracks import Tracks

PARAMETERS = ("x", "y", "slope_x", "inverse_beta", "time")
"""mm, mm, 1, 1, ns. The other slope follows from ``y``: tracks bend in x only and come from the collision."""
CENTRE = (0.0, 0.0, 0.0, 1.015, 33.3)
SPREAD = (330.0, 1250.0, 0.25, 0.03, 1.0)
"""What parameters are scaled by: half the plate, about the spread of the others."""
LEAST = (-PLATE_WIDTH / 2, -PLATE_HEIGHT / 2, -math.inf, 1.0, -math.inf)
MOST = (PLATE_WIDTH / 2, PLATE_HEIGHT / 2, math.inf, math.inf, math.inf)
"""A track hits the plate, and nothing is faster than light."""


def hypotheses_of(tracks: Tracks) -> Tensor:
    """(T, 5) float32: true parameters, as :data:`PARAMETERS`."""
    return torch.stack([getattr(tracks, name) for name in PARAMETERS], dim=1).float()


def physical(hypotheses: Tensor) -> Tensor:
    """Parameters (..., 5) within :data:`LEAST` and :data:`MOST`."""
    return hypotheses.clamp(hypotheses.new_tensor(LEAST), hypotheses.new_tensor(MOST))


def to_unit(hypotheses: Tensor) -> Tensor:
    """Parameters (..., 5) to numbers of order one."""
    return (hypotheses - hypotheses.new_tensor(CENTRE)) / hypotheses.new_tensor(SPREAD)


def from_unit(unit: Tensor) -> Tensor:
    """The inverse of :func:`to_unit`."""
    return unit * unit.new_tensor(SPREAD) + unit.new_tensor(CENTRE)
