"""Events in parts for the threads, and bf16 as the words of the loops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.threads import parts_of


def event_parts(starts: Any, products: int) -> list[tuple[int, int]]:
    """First event and the one behind the last of each part of the work.

    Args:
        starts: (B + 1,) int64, hits of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        products: of numbers, for a hit.
    """
    events, hits = len(starts) - 1, int(starts[-1])
    parts = max(1, min(events, parts_of(hits * products)))
    edges = np.searchsorted(starts, [part * hits // parts for part in range(parts)])
    return list(pairwise([*edges.tolist(), events]))


def words_of(tensor: Tensor) -> Any:
    """The memory of bf16 (..., C) as words (..., C / 2), of a copy where that is not in C order."""
    plain = tensor.detach() if tensor.requires_grad else tensor
    return plain.contiguous().view(torch.int32).numpy()
