"""Where the inner loops are compiled ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pointae.optional import compiled_loops

LOOPS, ROW_LOOPS = "pointae.nn.sparse.compiled", "pointae.nn.sparse.compiled_rows"


def loops_for(tensor: Tensor, module: str = LOOPS) -> Any:
    """A module of compiled loops for a tensor on a CPU; ``None``: torch alone."""
    return compiled_loops(module)[0] if tensor.device.type == "cpu" else None
