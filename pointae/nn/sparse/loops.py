"""Where the inner loops are compiled ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pointae.optional import compiled_loops

LOOPS = "pointae.nn.sparse.compiled", "pointae.nn.sparse.lanes"
ROW_LOOPS = "pointae.nn.sparse.compiled_rows", "pointae.nn.sparse.lanes"
"""Modules of compiled loops, each with what is compiled in."""


def loops_for(tensor: Tensor, modules: tuple[str, str] = LOOPS) -> Any:
    """A module of compiled loops for a tensor on a CPU; ``None``: torch alone."""
    return compiled_loops(*modules)[0] if tensor.device.type == "cpu" else None
