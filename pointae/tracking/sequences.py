"""Numbers in place of random ones that fill their space evenly, the same in every call."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_EDGE = 1e-4
"""None is nearer to 0 or 1, so normal numbers made of them stay below four."""


@cache
def even_uniform(number: int, dimensions: int) -> Tensor:
    """(number, dimensions) in (0, 1): a scrambled Sobol sequence (Owen 1998, J. Complexity 14, 466)."""
    return torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=1).draw(number).clamp(_EDGE, 1 - _EDGE)
