"""A perceiver's rounds and the decoder of hits in half precision, each as one operation of compiled loops on a CPU.

In single operations they are bound by memory: every one goes over arrays of all hits. Here an event, or a few, go
through all of a round in the second cache, and hits are not padded to the longest event.
"""

from __future__ import annotations

from typing import Any

import torch

from pointae.hits import HitBatch
from pointae.nn.loops import HEAD_LOOPS, LANES_LOOPS, ROUND_LOOPS
from pointae.optional import compiled_loops

LARGEST = 1 << 13
"""Hits of an event, at most: of larger ones all of torch's threads work on each, and caches hold none."""


def round_loops(hits: HitBatch, *sizes: int) -> Any:
    """The loops of a round for layers of these sizes; ``None``: torch alone."""
    return _loops_for(hits, sizes, ROUND_LOOPS)


def head_loops(hits: HitBatch, *sizes: int) -> Any:
    """The loops of the decoder of hits for layers of these sizes; ``None``: torch alone."""
    return _loops_for(hits, sizes, HEAD_LOOPS)


def _loops_for(hits: HitBatch, sizes: tuple[int, ...], modules: tuple[str, ...]) -> Any:
    if hits.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return None
    if torch.get_autocast_dtype("cpu") != torch.bfloat16 or not hits.num_hits or int(hits.counts.max()) > LARGEST:
        return None
    lanes, _ = compiled_loops(*LANES_LOOPS)
    fits = lanes and lanes.HAS_DOTS and not any(size % lanes.LANES for size in sizes)
    return compiled_loops(*modules)[0] if fits else None
