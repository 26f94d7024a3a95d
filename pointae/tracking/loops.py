"""Where the fit's inner loops are compiled, and how hits are handed to them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.optional import compiled_loops
from pointae.tracking.paths import LightHits, dispersion_coefficients

_MADE_OF = ("pointae.tracking.compiled", "pointae.tracking", "pointae.simulate.module")


def loops_for(values: Tensor) -> Any:
    """The module of compiled loops for float32 values on a CPU; ``None``: torch does it."""
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return None
    return compiled_loops(*_MADE_OF)[0]


def stacked(hits: LightHits) -> np.ndarray:
    """(5, B, L) float32, the fields of hits."""
    return np.stack([value.numpy() for value in vars(hits).values()])


@cache
def group_coefficients() -> np.ndarray:
    """(5,) float32 of the group index's polynomial."""
    return np.array(dispersion_coefficients(), np.float32)
