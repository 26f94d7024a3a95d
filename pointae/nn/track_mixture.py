"""Where an event's tracks may be: a mixture of normal distributions, guessed from the hits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointae.errors import UsageError
from pointae.geometry import DetectorGeometry, torch_geometry
from pointae.nn.segments import Padding
from pointae.tracking.hypotheses import PARAMETERS

_NUMBERS = len(PARAMETERS)
_LARGEST_NLL = 30.0
"""A track further off than this teaches nothing more: it would drown the others."""
_SHARPEST, _WIDEST = 300.0, 0.01
"""Inverse standard deviations of a guess, in units of those of all tracks: beyond, numbers overflow and nothing is
told. Those of events of many hits are from 0.4 to 100."""
_FURTHEST = 10.0
"""Standard deviations of all tracks within which draws lie: further from the centre no track is, but a guess that
rests on a hit or two may be."""


@dataclass(frozen=True)
class TrackMixture:
    """A mixture of K normal distributions of a track's scaled parameters, for each of B events.

    Args:
        log_weights: (B, K), normalised.
        mean: (B, K, 5), scaled as by :func:`pointae.tracking.hypotheses.to_unit`.
        root: (B, K, 5, 5), lower triangle with positive diagonal; root^T root is the inverse covariance.
    """

    log_weights: Tensor
    mean: Tensor
    root: Tensor

    @staticmethod
    def concat(mixtures: Sequence[TrackMixture]) -> TrackMixture:
        """The mixtures of several batches as one."""
        columns = zip(*((part.log_weights, part.mean, part.root) for part in mixtures), strict=True)
        return TrackMixture(*(torch.cat(column) for column in columns))

    def events(self, index: Tensor) -> TrackMixture:
        """The mixtures of events (E,), in that order."""
        return TrackMixture(self.log_weights[index], self.mean[index], self.root[index])

    def negative_log_density(self, event: Tensor, unit: Tensor) -> Tensor:
        """(T,) of scaled parameters (T, 5) of tracks of the events (T,)."""
        root = self.root[event]
        pull = (root @ (unit[:, None] - self.mean[event])[..., None])[..., 0]
        log_volume = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_normal = log_volume - pull.square().sum(-1) / 2 - _NUMBERS / 2 * math.log(2 * math.pi)
        return -torch.logsumexp(self.log_weights[event] + log_normal, -1)

    def sample(self, number: int) -> Tensor:
        """(B, number, 5) draws, the same random numbers in every event: a hit set always gives the same draws.

        Those further from the centre of all tracks than ten of their standard deviations are moved to there.
        """
        generator = torch.Generator().manual_seed(number)
        normal = torch.randn(number, _NUMBERS, generator=generator).to(self.mean)
        place = (torch.arange(number, device=self.mean.device) + 0.5) / number
        cumulated = self.log_weights.exp().cumsum(-1)
        component = torch.searchsorted(cumulated, place.to(cumulated).expand(len(cumulated), -1).contiguous())
        component = component.clamp(max=self.mean.shape[1] - 1)[..., None]
        mean = self.mean.gather(1, component.expand(-1, -1, _NUMBERS))
        root = self.root.gather(1, component[..., None].expand(-1, -1, _NUMBERS, _NUMBERS))
        normal = normal.expand(len(mean), -1, -1)[..., None]
        drawn = mean + torch.linalg.solve_triangular(root, normal, upper=False)[..., 0]
        return drawn.clamp(-_FURTHEST, _FURTHEST)


def track_loss(mixture: TrackMixture, event: Tensor, unit: Tensor) -> Tensor:
    """Mean negative log density of true tracks, 0-d; 0 without tracks (mixture density network, Bishop 1994).

    Args:
        mixture: of B events.
        event: (T,) int64, event of each track.
        unit: (T, 5) scaled true parameters.
    """
    if not len(event):
        return mixture.mean.sum() * 0
    return mixture.negative_log_density(event, unit).clamp(max=_LARGEST_NLL).mean()


def refuse_other_grids(geometry: DetectorGeometry) -> None:
    """Tracks are those of TORCH.

    Raises:
        UsageError: another grid.
    """
    if geometry != torch_geometry():
        raise UsageError(f"tracks are guessed on the TORCH grid only, not on '{geometry.name}'")


class TrackMixtureHead(nn.Module):
    """Guesses an event's tracks from one vector.

    Args:
        channels: of the vector.
        components: K of the mixture.
        hidden: width of the network.

    Shapes:
        (B, channels) -> a mixture for each of B events.
    """

    def __init__(self, channels: int, components: int, hidden: int = 256) -> None:
        super().__init__()
        self.components = components
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        triangle = _NUMBERS * (_NUMBERS + 1) // 2
        self.head = nn.Linear(hidden, components * (1 + _NUMBERS + triangle))
        nn.init.normal_(self.head.bias, std=0.5)  # components begin apart
        rows, columns = torch.tril_indices(_NUMBERS, _NUMBERS)
        self.register_buffer("place", rows * _NUMBERS + columns, persistent=False)
        self.place: Tensor

    def forward(self, event: Tensor) -> TrackMixture:
        numbers = self.head(self.mlp(event)).unflatten(-1, (self.components, -1))
        numbers = numbers.double() if numbers.dtype == torch.float64 else numbers.float()
        flat = numbers.new_zeros(*numbers.shape[:-1], _NUMBERS**2)
        root = flat.index_copy(-1, self.place, numbers[..., 1 + _NUMBERS :]).unflatten(-1, (_NUMBERS, _NUMBERS))
        diagonal = root.diagonal(dim1=-2, dim2=-1)
        root = root + torch.diag_embed((diagonal + 1).exp().clamp(_WIDEST, _SHARPEST) - diagonal)
        return TrackMixture(numbers[..., 0].log_softmax(-1), numbers[..., 1 : 1 + _NUMBERS], root)


class PooledTrackMixtureHead(TrackMixtureHead):
    """Guesses an event's tracks from its hits, which learned queries pool.

    Args:
        channels: C of a hit.
        components: K of the mixture.
        queries: weighted means of the hits that are taken.

    Shapes:
        padded hits (B, L, C) -> a mixture for each of B events.
    """

    def __init__(self, channels: int, components: int, queries: int = 8) -> None:
        super().__init__(queries * channels, components)
        self.norm = nn.LayerNorm(channels)
        self.weights = nn.Linear(channels, queries)
        self.values = nn.Linear(channels, channels)

    def from_hits(self, h: Tensor, padding: Padding) -> TrackMixture:
        """The mixture of padded hits (B, L, C)."""
        h = self.norm(h)
        weights = self.weights(h).float()
        mask = padding.attention_mask()
        if mask is not None:
            weights = weights.masked_fill(~mask[:, 0, 0, :, None], -torch.inf)
        shares = weights.softmax(1)
        if not padding.is_full:
            shares = shares * padding.mask[..., None]  # of an event without hits nothing, as where no event has any
        pooled = shares.transpose(1, 2).to(h.dtype) @ self.values(h)  # (B, Q, C)
        mixture: TrackMixture = self(pooled.flatten(1))
        return mixture
