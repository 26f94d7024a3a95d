"""What the predecessor does, on images with embedded time of flight: its denoising and its degradation, batched.

DeepClean3D (github.com/Adillwma/DeepClean3D) does both on every pixel of an image, signal or not. Written here as
well as torch allows on images, so that what is compared is the representation and not the programming.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.config import DegradationSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.images import embed_tof, gapped_normalise, gapped_restore, hits_of_image
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.dense2d import Dense2dEncoder


def images_of(hits: HitBatch, gap: float) -> tuple[Tensor, Tensor]:
    """Steps (B, 1, Y, X) of the image with embedded time of flight, and the same by gapped normalisation."""
    steps, _ = embed_tof(hits)
    return steps, gapped_normalise(steps, hits.geometry.t.bins, gap)


def restored_images(model: Autoencoder, image: Tensor, hits: HitBatch) -> Tensor:
    """(B, 1, Y, X) in (0, 1): what the network makes of normalised images."""
    encoder = model.encoder
    assert isinstance(encoder, Dense2dEncoder)
    return model.decoder(model.latent(encoder.code_of(image)).z, None, hits).image


def kept_hits(steps: Tensor, restored: Tensor, gap: float, geometry: DetectorGeometry) -> HitBatch:
    """Inverse of the normalisation, the mask on the measured image, and what is left of it as hits."""
    lit = gapped_restore(restored, geometry.t.bins, gap) > 0
    return hits_of_image(torch.where(lit, steps, 0.0), geometry)


@torch.no_grad()
def denoise_images(model: Autoencoder, hits: HitBatch, gap: float) -> HitBatch:
    """The whole way: hits, image, network, mask, hits; where hits share a pixel all but one are lost."""
    steps, image = images_of(hits, gap)
    return kept_hits(steps, restored_images(model, image, hits), gap, hits.geometry)


def degrade_images(
    steps: Tensor, settings: DegradationSettings, geometry: DetectorGeometry, generator: torch.Generator
) -> Tensor:
    """Thin, smear and add noise to images (B, 1, Y, X), as :func:`pointae.degrade.degrade` does to hits.

    Args:
        steps: 0 no hit, else t + 1.
        settings: with fixed ``thin`` and ``noise`` and a ``smear`` of evenly pitched axes.
        geometry: a grid of (X, Y, T).
        generator: of torch; faster than the counter-based draws that hits get.

    Returns:
        images; hits that come to share a pixel are lost but for the latest.
    """
    assert isinstance(settings.thin, int)
    assert isinstance(settings.noise, int)
    events, pixels = len(steps), geometry.x.bins * geometry.y.bins
    flat = steps.view(events, pixels)
    score = torch.rand(flat.shape, generator=generator).masked_fill_(flat == 0, -1.0)
    chosen = score.topk(settings.thin, dim=1).indices  # of events with fewer hits also dark pixels, which add none
    thinned = torch.zeros_like(flat).scatter_(1, chosen, flat.gather(1, chosen))
    moved = _smeared(thinned.view_as(steps), settings, geometry, generator).view(events, pixels)
    places = torch.rand(flat.shape, generator=generator).topk(settings.noise, dim=1).indices
    times = torch.randint(1, geometry.t.bins + 1, places.shape, generator=generator).float()
    return moved.scatter_reduce_(1, places, times, "amax").view_as(steps)


def _smeared(
    steps: Tensor, settings: DegradationSettings, geometry: DetectorGeometry, generator: torch.Generator
) -> Tensor:
    """Every pixel moved by a Gaussian error; what leaves the grid is dropped."""
    rows, columns = torch.meshgrid(*(torch.arange(size) for size in steps.shape[2:]), indexing="ij")
    inside = steps > 0
    places = {"x": columns.expand_as(steps), "y": rows.expand_as(steps), "t": steps.long() - 1}
    for name, width in settings.smear.items():
        axis = geometry.axes[geometry.index_of(name)]
        shift = torch.randn(steps.shape, generator=generator).mul_(width / axis.width)
        moved = (places[name] + shift).round_()
        inside &= (moved >= 0) & (moved < axis.bins)
        places[name] = moved.clamp_(0, axis.bins - 1).long()
    event = torch.arange(len(steps))[:, None, None, None]
    pixel = (event * geometry.y.bins + places["y"]) * geometry.x.bins + places["x"]
    value = torch.where(inside, places["t"] + 1.0, 0.0)
    return torch.zeros(steps.numel()).scatter_reduce_(0, pixel.flatten(), value.flatten(), "amax").view_as(steps)
