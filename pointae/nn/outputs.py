"""What encoders, latents and decoders hand on. All are plain values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointae.hits import HitBatch
from pointae.images import pixel_values
from pointae.nn.track_mixture import TrackMixture
from pointae.voxels import Triple, gather_at

_PAIRS = 1 << 22
"""Of a hit and a point, compared at once: bounds memory."""


@dataclass(frozen=True)
class Encoding:
    """What an encoder makes of a batch.

    Args:
        code: (B, D), one vector an event.
        hit_features: (N, C), one vector a hit, or ``None`` where the encoder keeps none.
        tracks: where the events' tracks may be, or ``None`` where the encoder does not guess.
        alignment: (B, 3, 3), what each event's positions were multiplied with, or ``None``.
        judged: (N, J), logits of the hits being signal where the encoder itself judges them, J times, or ``None``.
    """

    code: Tensor
    hit_features: Tensor | None = None
    tracks: TrackMixture | None = None
    alignment: Tensor | None = None
    judged: Tensor | None = None


@dataclass(frozen=True)
class Latent:
    """The code as the decoder sees it.

    Args:
        z: (B, D).
        mean, log_var: (B, D) of the posterior; ``None`` for a plain latent.
    """

    z: Tensor
    mean: Tensor | None = None
    log_var: Tensor | None = None


@dataclass(frozen=True)
class HitLogits:
    """A logit for every measured hit.

    Args:
        logits: (N,), above 0 means signal.
    """

    logits: Tensor

    def hit_logits(self, hits: HitBatch) -> Tensor:
        """(N,) logit of each hit."""
        return self.logits


@dataclass(frozen=True)
class PointSet:
    """A pattern of K candidate points an event, made from the code alone.

    Args:
        pos: (B, K, 3), in the units of the detector's axes.
        presence: (B, K) logits: is this slot a hit?
        categories: (B, K, Q) logits of its kind; Q may be 0.
        reach: (3,) distance along each axis at which a point stops speaking for a hit.
    """

    pos: Tensor
    presence: Tensor
    categories: Tensor
    reach: Tensor

    def hit_logits(self, hits: HitBatch) -> Tensor:
        """(N,) logit of each measured hit: the best of presence - distance^2 / 2 over the points."""
        best = hits.pos.new_full((hits.num_hits,), -torch.inf, dtype=self.pos.dtype)
        pos = (hits.pos / self.reach).to(self.pos.dtype)
        for block in torch.arange(hits.num_hits, device=hits.device).split(max(1, _PAIRS // self.pos.shape[1])):
            event = hits.batch[block]
            square = (pos[block, None] - (self.pos / self.reach)[event]).square().sum(-1)
            best[block] = (self.presence[event] - square / 2).amax(1)
        return best


@dataclass(frozen=True)
class Told:
    """What an autoregressive decoder expected, step by step, when told a true sequence.

    A step asks whether there is another hit; where there is, T of S steps, it says where and of which kind.

    Args:
        event: (S,) int64, event of each step.
        presence: (S,) logits: is there another hit?
        present: (S,) bool, whether there was.
        position: (T,) log probability of the true cell.
        categories: (T, Q) logits of its kind; Q may be 0.
        category: (T,) int64, its true kind 1..Q; 0 where there is none to tell.
    """

    event: Tensor
    presence: Tensor
    present: Tensor
    position: Tensor
    categories: Tensor
    category: Tensor


@dataclass(frozen=True)
class CellSequence(PointSet):
    """Points told one after another: of a code alone in evaluation, in training each given the true ones before it.

    Args:
        pos, presence, categories, reach: as of :class:`PointSet`; every ``pos`` is the centre of a cell.
        told: how well the true sequence was expected: what losses compare.
    """

    told: Told


@dataclass(frozen=True)
class Volume:
    """A volume of logits, made from the code alone.

    Args:
        logits: (B, 1, X, Y, T) at ``stride``.
        stride: cells of the grid along (x, y, t) that make one voxel.
    """

    logits: Tensor
    stride: Triple

    def hit_logits(self, hits: HitBatch) -> Tensor:
        """(N,) logit of the voxel of each hit."""
        return gather_at(self.logits, hits, self.stride)[:, 0]


@dataclass(frozen=True)
class TofImage:
    """An image with embedded time of flight, made from the code alone.

    Args:
        image: (B, 1, Y, X) in (0, 1), gapped normalisation: below ``gap`` means no hit.
        gap: r of the normalisation.
    """

    image: Tensor
    gap: float

    def hit_logits(self, hits: HitBatch) -> Tensor:
        """(N,) how far the image at each hit's pixel is above the gap, as a logit."""
        value = pixel_values(self.image, hits).clamp(1e-6, 1 - 1e-6)
        return torch.logit(value) - torch.logit(torch.tensor(self.gap, device=value.device, dtype=value.dtype))


@dataclass(frozen=True)
class CategoryGrid:
    """The kind in each cell of the grid, made from the code alone.

    Args:
        values: (B, X, Y, T) in (0, 1): kind / Q, 0 where the cell is empty.
        kinds: Q.
    """

    values: Tensor
    kinds: int

    def hit_logits(self, hits: HitBatch) -> Tensor:
        """(N,) how far the value at each hit's cell is above half a kind, as a logit."""
        value = gather_at(self.values[:, None], hits)[:, 0].clamp(1e-6, 1 - 1e-6)
        return torch.logit(value) - torch.logit(value.new_tensor(0.5 / self.kinds))


Output = HitLogits | PointSet | Volume | TofImage | CategoryGrid
