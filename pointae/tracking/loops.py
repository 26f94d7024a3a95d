"""Where the fit's inner loops are compiled, and how hits are handed to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.optional import compiled_loops
from pointae.threads import parts_of, side_by_side
from pointae.tracking.paths import LightHits, dispersion_coefficients

_MADE_OF = ("pointae.tracking.compiled", "pointae.tracking", "pointae.simulate.module", "pointae.simulate.quartz")


_PRODUCTS = 20_000
"""Of numbers for each hypothesis, about: a hundred hits, eight paths, some twenty products each."""


def loops_for(values: Tensor) -> Any:
    """The module of compiled loops for float32 values on a CPU; ``None``: torch does it."""
    if values.device.type != "cpu" or values.dtype != torch.float32:
        return None
    return compiled_loops(*_MADE_OF)[0]


def by_event(work: Callable[[slice], object], hypotheses: Tensor) -> None:
    """``work`` on the events (B, K, 5) of hypotheses, in as many threads as torch uses, where that pays."""
    events, number = hypotheses.shape[:2]
    parts = max(1, min(events, parts_of(events * number * _PRODUCTS)))
    edges = [round(part * events / parts) for part in range(parts + 1)]
    side_by_side(lambda part: work(slice(edges[part], edges[part + 1])), parts)


def stacked(hits: LightHits) -> np.ndarray:
    """(B, 5, L) float32, the fields of hits."""
    return np.stack([value.numpy() for value in vars(hits).values()], 1)


@cache
def group_coefficients() -> np.ndarray:
    """(5,) float32 of the group index's polynomial."""
    return np.array(dispersion_coefficients(), np.float32)
