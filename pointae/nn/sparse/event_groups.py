"""Groups of whole events, small enough that what a block of a network makes of one stays in the second cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.nn.sparse.pairs import Pairs

GROUP = 1 << 15
"""Numbers of a group's rows, as near as events let: an eighth of a second cache of a megabyte."""

MOST_SHARES = 1.5
"""Shares of a thread that an event may be: a larger one is better shared out itself."""


@dataclass(frozen=True, eq=False)
class EventGroups:
    """Events of a level in groups, and the pairs of each; arrays for compiled loops.

    Args:
        starts: (B + 1,) int64, rows of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        groups: (G + 1,) int64, events of group g are ``groups[g]`` to ``groups[g + 1] - 1``.
        edges: (R + 1,) int64, of ranges of rows, none in two groups.
        ranges: (G + 1,) int64, those of group g are ``ranges[g]`` to ``ranges[g + 1] - 1``.
        pairs: of the convolution within the level.
        there, back: source and target (P,) of the pairs and of the same the other way, begin and end (R, K) in each
            range.
    """

    starts: Any
    groups: Any
    edges: Any
    ranges: Any
    pairs: Pairs
    there: tuple[Any, ...]
    back: tuple[Any, ...]

    @classmethod
    def build(cls, pairs: Pairs, counts: Tensor, channels: int) -> EventGroups | None:
        """Groups for rows of ``channels``; ``None`` where an event is far more than a thread's share of the work.

        Args:
            pairs: of a level.
            counts: (B,) int64, its rows in each event.
        """
        size = max(1, GROUP // channels)
        starts = np.concatenate([[0], np.cumsum(counts.numpy())])
        rows = int(starts[-1])
        share = MOST_SHARES * rows / torch.get_num_threads()
        if not rows or int(counts.max()) > max(size, share):
            return None
        groups = np.append(np.unique(starts[:-1] // size, return_index=True)[1], len(counts))
        first = starts[groups]
        ranges, edges = _ranges(first, size)
        there, back = pairs.cut_at(edges), pairs.reversed.cut_at(edges)
        return cls(starts, groups, edges, ranges, pairs, there, back)

    @property
    def places(self) -> tuple[Any, ...]:
        """Starts, groups, edges and ranges."""
        return self.starts, self.groups, self.edges, self.ranges

    @property
    def number(self) -> int:
        """G."""
        return len(self.groups) - 1

    @cached_property
    def largest(self) -> int:
        """Most rows of a group."""
        return int(np.diff(self.starts[self.groups]).max())


def _ranges(first: Any, size: int) -> tuple[Any, Any]:
    """``ranges`` and ``edges`` for groups of rows ``first[g]`` to ``first[g + 1] - 1``, some ``size`` in a range."""
    rows = np.diff(first)
    number = np.maximum(1, rows // size)
    ranges = np.concatenate([[0], np.cumsum(number)])
    group = np.repeat(np.arange(len(rows)), number)
    place = np.arange(ranges[-1]) - ranges[group]
    return ranges, np.append(first[group] + place * rows[group] // number[group], first[-1])
