"""The predecessor's picture of an event: a 2D image whose pixels hold the time of flight.

One hit a pixel: where several hits share one, the largest step is kept and the others are lost;
:func:`embed_tof` says how many. Kept for the dense baseline and for DeepClean3D's own files.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.errors import ConfigError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch


def embed_tof(hits: HitBatch) -> tuple[Tensor, Tensor]:
    """Images with embedded time of flight.

    Args:
        hits: N hits of B events on a grid of (X, Y, T).

    Returns:
        image: (B, 1, Y, X) float32; 0 = no hit, otherwise the step t + 1 in 1..T.
        lost: (B,) int64, hits that share a pixel with a later one and are not in the image.
    """
    columns, rows, _ = hits.geometry.spatial_shape
    flat = hits.batch_size * rows * columns
    pixel = (hits.batch * rows + hits.coords[:, 1]) * columns + hits.coords[:, 0]
    steps = hits.coords[:, 2].float() + 1
    image = torch.zeros(flat, device=hits.device).scatter_reduce_(0, pixel, steps, "amax")
    image = image.view(hits.batch_size, 1, rows, columns)
    return image, hits.counts - (image > 0).sum((1, 2, 3))


def hits_of_image(image: Tensor, geometry: DetectorGeometry) -> HitBatch:
    """The hits of images with embedded time of flight: the inverse of :func:`embed_tof`.

    Args:
        image: (B, 1, Y, X); 0 = no hit, otherwise the step 1..T.
        geometry: a grid of (X, Y, T).

    Returns:
        hits with t = step - 1, ordered by (event, y, x).
    """
    batch, _, row, column = image.nonzero(as_tuple=True)
    step = image[batch, 0, row, column]
    coords = torch.stack([column, row, step.long() - 1], dim=1).int()
    return HitBatch.from_batch_index(geometry, coords, batch, len(image))


def pixel_values(image: Tensor, hits: HitBatch) -> Tensor:
    """(N,) value of image (B, 1, Y, X) at each hit's pixel."""
    return image[hits.batch, 0, hits.coords[:, 1].long(), hits.coords[:, 0].long()]


def gapped_normalise(image: Tensor, steps: int, gap: float) -> Tensor:
    """``y = (1 - r) x / T + r`` for x > 0, else 0: the gap r parts "no hit" from "early hit".

    Args:
        image: steps 0..T.
        steps: T.
        gap: r, in (0, 1).

    Returns:
        float32 in [0, 1], whatever the autocast: half precision is wrong for hundreds of steps.
    """
    _check_gap(gap)
    wide = image.float()
    return torch.where(wide > 0, (1 - gap) * wide / steps + gap, 0.0)


def gapped_restore(image: Tensor, steps: int, gap: float) -> Tensor:
    """``x = T (y - r) / (1 - r)`` for y > r, else 0; rounded (half to even) it inverts exactly for 1..1000."""
    _check_gap(gap)
    wide = image.float()
    return torch.where(wide > gap, steps * (wide - gap) / (1 - gap), 0.0)


def _check_gap(gap: float) -> None:
    if not 0 < gap < 1:
        raise ConfigError(f"the gap of the normalisation must be in (0, 1), got {gap}")
