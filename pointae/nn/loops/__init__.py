"""Where the inner loops are compiled ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pointae.optional import compiled_loops

_ALL = "pointae.nn.loops.lanes", "pointae.nn.loops.compile"
ROW_LOOPS = "pointae.nn.loops.rows", *_ALL
LOOPS = "pointae.nn.sparse.compiled", *ROW_LOOPS
NORM_LOOPS = "pointae.nn.loops.norms", *_ALL
EVENT_LOOPS = "pointae.nn.sparse.compiled_events", *_ALL
BLOCK_LOOPS = "pointae.nn.sparse.compiled_block", *LOOPS, *NORM_LOOPS, *EVENT_LOOPS
LANES_LOOPS = "pointae.nn.half.lanes", *_ALL
_HALF_LOOPS = "pointae.nn.half.layouts", "pointae.nn.half.products", *LANES_LOOPS, *ROW_LOOPS
ROUND_LOOPS = (
    "pointae.nn.half.compiled_round", "pointae.nn.half.compiled_tokens", "pointae.nn.half.compiled_shares",
    "pointae.nn.half.token_rooms",
    *_HALF_LOOPS, *NORM_LOOPS,
)  # fmt: skip
HEAD_LOOPS = "pointae.nn.half.compiled_head", *_HALF_LOOPS
"""Modules of compiled loops, each with what is compiled in."""


def loops_for(tensor: Tensor, modules: tuple[str, ...] = LOOPS) -> Any:
    """A module of compiled loops for a tensor on a CPU; ``None``: torch alone."""
    return compiled_loops(*modules)[0] if tensor.device.type == "cpu" else None


def arrays_of(*tensors: Tensor) -> tuple[Any, ...]:
    """As :func:`array_of`, of several."""
    return tuple(array_of(tensor) for tensor in tensors)


def array_of(tensor: Tensor) -> Any:
    """What loops read or fill of a tensor on a CPU: its own memory, unless that is not in C order."""
    plain = tensor.detach() if tensor.requires_grad else tensor
    return np.ascontiguousarray(plain.numpy())
