"""From what a network says to hits: the measured ones with a decision, or a pattern it made up."""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.errors import DataError, NonFiniteError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.images import gapped_restore, hits_of_image
from pointae.nn.outputs import CategoryGrid, HitLogits, Output, PointSet, Volume


def recover(hits: HitBatch, logits: Tensor, threshold: float) -> HitBatch:
    """Score every hit and decide which are kept; ``hits.select(hits.kept)`` then cuts.

    Args:
        hits: N measured hits; x, y and time stay exactly as they are.
        logits: (N,), above 0 means signal.
        threshold: a hit is kept where its score is at least this.

    Returns:
        The hits with ``score`` (sigmoid in float32) and ``kept``.

    Raises:
        DataError: ``logits`` do not match the hits.
        NonFiniteError: they are not finite.
    """
    if logits.shape != (hits.num_hits,):
        raise DataError(f"logits must be ({hits.num_hits},), one a hit, got {tuple(logits.shape)}")
    score = logits.detach().float().sigmoid()
    if not bool(score.isfinite().all()):
        raise NonFiniteError("the network gave scores that are not finite")
    return hits.replace(score=score, kept=score >= threshold)


def generated_pattern(output: Output, geometry: DetectorGeometry) -> HitBatch | None:
    """The hits that a decoder made from the code alone; ``None`` for a per-hit decoder, which makes none.

    Args:
        output: of a decoder, for B events.
        geometry: the detector's grid.

    Returns:
        hits of B events: present points, with ``category`` where they have one, the centres of occupied voxels,
        the cells of a kind, or the lit pixels.
    """
    if isinstance(output, HitLogits):
        return None
    if isinstance(output, PointSet):
        batch, slot = (output.presence > 0).nonzero(as_tuple=True)
        coords, _ = geometry.coords_of(output.pos[batch, slot])
        kinds = output.categories[batch, slot]  # (N, Q)
        category = (kinds.argmax(1) + 1).to(torch.int8) if kinds.shape[1] else None
        return HitBatch.from_batch_index(geometry, coords, batch, len(output.presence), category=category)
    if isinstance(output, Volume):
        batch, *cell = (output.logits[:, 0] > 0).nonzero(as_tuple=True)
        centres = [
            (index * step + step // 2).clamp(max=bins - 1)
            for index, step, bins in zip(cell, output.stride, geometry.spatial_shape, strict=True)
        ]
        return HitBatch.from_batch_index(geometry, torch.stack(centres, dim=1).int(), batch, len(output.logits))
    if isinstance(output, CategoryGrid):
        kinds = (output.values * output.kinds).round().to(torch.int8)
        batch, *cell = kinds.nonzero(as_tuple=True)
        coords = torch.stack(cell, dim=1).int()
        return HitBatch.from_batch_index(geometry, coords, batch, len(kinds), category=kinds[(batch, *cell)])
    steps = geometry.spatial_shape[2]
    image = gapped_restore(output.image, steps, output.gap).round().clamp(max=steps)
    return hits_of_image(image, geometry)
