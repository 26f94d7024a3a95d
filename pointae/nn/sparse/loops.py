"""Where the inner loops are compiled ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pointae.optional import compiled_loops

LOOPS = "pointae.nn.sparse.compiled"


def loops_for(tensor: Tensor) -> Any:
    """The module of compiled loops for a tensor on a CPU; ``None``: torch alone."""
    return compiled_loops(LOOPS)[0] if tensor.device.type == "cpu" else None
