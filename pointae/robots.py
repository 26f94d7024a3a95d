"""What a robot is: up to eight voxels of four kinds on a grid of 11 x 11 x 11, grown from its centre.

A robot is an event of a :class:`~pointae.hits.HitBatch`, a voxel a hit, its kind the hit's ``category``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pointae.hits import HitBatch

KINDS = ("wheel", "sensor", "joint", "caster")
"""Names of ``category`` 1, 2, 3 and 4; an empty cell is of kind 0 and no hit."""
GRID = 11
"""Cells along each axis of :func:`~pointae.geometry.robot_geometry`; the centre is cell 5, 5, 5."""
MAX_VOXELS = 8
REACH_CELLS = 2
"""Along each axis, how far a voxel may be from the centre or from the nearest other voxel."""


def padded(hits: HitBatch) -> tuple[Tensor, Tensor]:
    """The voxels of each robot side by side.

    Args:
        hits: N voxels of B robots.

    Returns:
        coords: (B, K, 3) int32, K of the largest robot; 0 behind the last voxel.
        mask: (B, K) bool, where there is a voxel.
    """
    slots = int(hits.counts.max()) if hits.batch_size else 0
    mask = torch.arange(slots, device=hits.device) < hits.counts[:, None]  # (B, K)
    coords = hits.coords.new_zeros(hits.batch_size, slots, 3)
    coords[mask] = hits.coords
    return coords, mask


def valid_robots(hits: HitBatch) -> Tensor:
    """Which events are robots that can be: 1 to 8 voxels, one in a cell, each within reach of the centre or another.

    Args:
        hits: N voxels of B events, in any order.

    Returns:
        (B,) bool.
    """
    valid = (hits.counts >= 1) & (hits.counts <= MAX_VOXELS)
    coords, mask = padded(hits.events(valid.nonzero()[:, 0]))  # pairs of a thousand voxels would fill the memory
    apart = (coords[:, :, None] - coords[:, None]).abs().amax(3)  # (B', K, K) cells along the longest axis
    pair = mask[:, :, None] & mask[:, None] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=hits.device)
    reached = ((apart <= REACH_CELLS) & pair).any(2) | ((coords - GRID // 2).abs().amax(2) <= REACH_CELLS)
    shared = ((apart == 0) & pair).flatten(1).any(1)
    valid[valid.clone()] = ~shared & (reached | ~mask).all(1)
    return valid


def symmetric_robots(hits: HitBatch) -> Tensor:
    """(B,) bool, which robots are their own mirror image in x, kinds included."""
    mirrored = hits.coords * hits.coords.new_tensor([-1, 1, 1]) + hits.coords.new_tensor([GRID - 1, 0, 0])
    here, there = robot_codes(hits), robot_codes(hits.replace(coords=mirrored))
    return (here == there).all(1)


def turned_robots(hits: HitBatch, way: Tensor) -> HitBatch:
    """Robots mirrored along the axes, and with y and z exchanged: valid and symmetric ones stay so.

    Args:
        hits: N voxels of B robots.
        way: (B,) int64 in 0..15; its bits: mirror x, mirror y, mirror z, exchange y and z.
    """
    bits = ((way[:, None] >> torch.arange(4, device=way.device)) & 1).bool()[hits.batch]  # (N, 4)
    coords = torch.where(bits[:, :3], GRID - 1 - hits.coords, hits.coords)
    return hits.replace(coords=torch.where(bits[:, 3:], coords[:, [0, 2, 1]], coords))


def robot_codes(hits: HitBatch) -> Tensor:
    """Equal rows for equal robots, whatever the order of their voxels.

    Args:
        hits: N voxels of B robots with ``category``.

    Returns:
        (B, K) int64, ascending in each row; -1 behind the last voxel of the smaller ones.
    """
    assert hits.category is not None
    x, y, z = hits.coords.long().unbind(1)
    code = ((x * GRID + y) * GRID + z) * (len(KINDS) + 1) + hits.category
    order = torch.argsort(hits.batch * (GRID**3 * (len(KINDS) + 1)) + code)
    _, mask = padded(hits)
    codes = code.new_full(mask.shape, -1)
    codes[mask] = code[order]
    return codes


def first_of_each(hits: HitBatch) -> Tensor:
    """(B,) bool, which robots have no equal before them."""
    codes = np.ascontiguousarray(robot_codes(hits).cpu().numpy())
    first = torch.zeros(hits.batch_size, dtype=torch.bool, device=hits.device)
    if codes.shape[1]:
        rows = codes.view(np.dtype((np.void, codes.dtype.itemsize * codes.shape[1])))[:, 0]
        first[torch.from_numpy(np.unique(rows, return_index=True)[1])] = True
    elif len(codes):
        first[0] = True
    return first


def cleaned(hits: HitBatch) -> HitBatch:
    """The robots without duplicates and empty ones: the first of equal ones is kept, the order stays."""
    return hits.events((first_of_each(hits) & (hits.counts > 0)).nonzero()[:, 0])
