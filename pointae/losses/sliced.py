"""The sliced Wasserstein distance: how far points must be carried to lie as densely as hits do.

Under the Chamfer distance alone a large set crowds: a few points answer for most hits, and nothing calls the others
away from where hits are densest. Here every point has a share of the hits to stand for.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pointae.hits import HitBatch
from pointae.losses.cells import misfit, widen
from pointae.losses.sets import AxisScale
from pointae.nn.outputs import Output, PointSet


def sliced(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    axis_scale: AxisScale = (1.0, 1.0, 1.0),
    directions: Annotated[int, Field(ge=1)] = 16,
) -> Tensor:
    """Sliced Wasserstein distance of points and hits, averaged over the events that have hits.

    Points and hits are cast on a line and both are sorted: the k-th of K points stands for the hits
    between the shares k / K and (k + 1) / K and is compared with the hit in the middle of them. The
    mean of abs(difference) over points and over lines through the origin, even on a half sphere and
    the same in every call. As in Nguyen et al. 2021, arXiv:2102.04014. Presence is not looked at:
    add it by the loss ``set``.

    Args:
        output: PointSet of K points an event.
        hits: the network's input; not used.
        target: the hits that it should have produced.
        axis_scale: how much a distance along (x, y, t) counts, in the detector's unit positions.
        directions: lines, P. Memory is B x P x the most hits or points of an event.

    Returns:
        0-d, at least float32; 0 with a gradient path for a batch without hits.

    Raises:
        ConfigError: the output is not a PointSet.
    """
    if not isinstance(output, PointSet):
        raise misfit("sliced", output, (PointSet,))
    pos, to_unit = widen(output.pos), target.geometry.unit_positions
    lines = half_sphere(directions).to(pos) * pos.new_tensor(axis_scale)[:, None]  # (3, P)
    with torch.autocast(pos.device.type, enabled=False):
        points = (to_unit(pos) @ lines).sort(dim=1).values  # (B, K, P)
        wanted = _quantiles(target, to_unit(target.pos.to(pos)) @ lines, pos.shape[1])
    gap = (points - wanted).abs()
    seen = (target.counts > 0).to(pos)
    return (gap.mean((1, 2)) * seen).sum() / seen.sum().clamp(min=1)


def half_sphere(number: int) -> Tensor:
    """(3, P) float64 unit vectors, even over half a sphere: a golden spiral (Gonzalez 2010, arXiv:0912.4540)."""
    rank = torch.arange(number, dtype=torch.float64)
    height = (rank + 0.5) / number
    angle = rank * math.pi * (3 - math.sqrt(5))
    across = (1 - height.square()).sqrt()
    return torch.stack([across * angle.cos(), across * angle.sin(), height])


def _quantiles(target: HitBatch, cast: Tensor, number: int) -> Tensor:
    """(B, K, P): of each event's hits, cast (N, P) on lines, those in the middle of K equal shares; 0 without hits."""
    counts = target.counts
    if not target.num_hits:
        return cast.new_zeros(len(counts), number, cast.shape[1])
    padded = cast.new_full((len(counts), int(counts.max()), cast.shape[1]), torch.inf)
    padded[target.batch, target.local_index()] = cast
    middle = (torch.arange(number, device=cast.device) + 0.5) / number  # (K,)
    rank = (middle * counts[:, None]).long()[:, :, None].expand(-1, -1, cast.shape[1])
    return padded.sort(dim=1).values.gather(1, rank).nan_to_num(posinf=0.0)
