"""Hits judged by tracks that were fitted to them: a network finds, physics fits, a network decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointae.config import TrackFitSettings
from pointae.errors import UsageError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.event_sizes import WITHOUT_LOOPS
from pointae.nn.outputs import Encoding
from pointae.nn.segments import Padding, pooled
from pointae.nn.track_mixture import refuse_other_grids
from pointae.tracking.fit import COARSE, EXACT, explained
from pointae.tracking.hypotheses import SPREAD, from_unit, to_unit
from pointae.tracking.loops import loops_for
from pointae.tracking.paths import LightHits, emission, light_hits, trace
from pointae.tracking.posterior import Posterior, posterior
from pointae.tracking.search import fit_weights, reorder, search

_SCALES = (EXACT, COARSE)
_PAIR_FEATURES = 3 * len(_SCALES) + 5
_TRACK_FEATURES = 2 * len(SPREAD) + 2
_DRAWS, _LAST_DRAWS = 12, 32
"""Of each track from its posterior, and in the last pass, which decides."""
_STRONGEST = 8.0
"""Log of light over noise beyond which a hit is light, or not, in any case."""
_USUAL_EVIDENCE = 50.0
"""Log of a likelihood ratio, of the size that true tracks have."""
_FURTHEST = 20.0
"""Half squared standard deviations beyond which it does not matter how far a hit is from a track."""
_LENGTH = 3000.0
"""mm, a usual path."""
_SET_ASIDE = (1, 2)
"""Of the strongest tracks, before the finder looks again."""
_AT_ONCE = 16
"""Events fitted together: their arrays stay in the processor's cache."""


class TrackFitEncoder(nn.Module):
    """Hits with what fitted tracks say of them.

    A finder, a network that was trained before (``train.start``) and stays as it is, scores the hits and
    guesses the tracks; :func:`pointae.tracking.search.search` fits tracks to the likely hits; a network
    reads, for each hit, how each fitted track explains it. This is done again, with what was read in place
    of the finder's scores, and with what the finder sees in the hits that the strongest tracks leave: tracks
    that were missed. The scores of every pass (``judged``) are auxiliary targets. Linear in the hits, but for
    the finder; events above ``max_hits``, its own or the finder's, are refused.

    Args:
        settings: the finder, number of tracks, guesses and passes, width.
        geometry: the TORCH grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).

    Raises:
        UsageError: another grid, or a finder that does not guess tracks.
    """

    def __init__(
        self, settings: TrackFitSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        refuse_other_grids(geometry)
        if not getattr(settings.finder.encoder, "proposals", 0):
            raise UsageError("the finder of track_fit must guess tracks", fix="set its encoder's proposals, e.g. to 16")
        self.tracks, self.guesses, self.passes = settings.tracks, settings.guesses, settings.passes
        self.hit_channels = settings.channels
        self.finder = Autoencoder(settings.finder, geometry, in_features).requires_grad_(False)
        self._max_hits = min(settings.max_hits, self.finder.max_hits or settings.max_hits)
        self.reader = TrackReader(self.finder.encoder.hit_channels + 1, settings.channels)
        self.norm = nn.LayerNorm(settings.channels)
        self.judge = nn.Linear(settings.channels, 1)
        self.to_code = nn.Linear(2 * settings.channels, code_size)

    @property
    def max_hits(self) -> int:
        """Most hits of an event; fewer on a CPU without compiled loops."""
        return min(self._max_hits, WITHOUT_LOOPS) if self.takes_more_with else self._max_hits

    @property
    def takes_more_with(self) -> str:
        """What would let it take larger events, in words that begin a remedy; empty if nothing would."""
        weight = self.judge.weight
        slow = self._max_hits > WITHOUT_LOOPS and weight.device.type == "cpu" and loops_for(weight.float()) is None
        return (
            f"for up to {self._max_hits:,} hits pip install -e '.[fast]', whose loops are compiled; or " if slow else ""
        )

    def train(self, mode: bool = True) -> TrackFitEncoder:
        """As of any module, but for the finder, which is not trained here."""
        super().train(mode)
        self.finder.eval()
        return self

    def forward(self, hits: HitBatch) -> Encoding:
        encoding, logits = self._find(hits)
        assert encoding.hit_features is not None
        features = torch.cat([encoding.hit_features, logits[:, None].to(encoding.hit_features.dtype)], 1)
        if not hits.num_hits:
            h = features.new_zeros(0, self.hit_channels)
            return Encoding(self.to_code(pooled(h, hits)), h, judged=h.new_zeros(0, self.passes))
        assert encoding.tracks is not None
        padding = Padding(hits)
        light, guesses = light_hits(padding.pad(hits.coords)), from_unit(encoding.tracks.sample(self.guesses).float())
        found, judged = None, []
        for turn in range(self.passes):
            if found is not None:
                logits, guesses = self._look_beside(hits, padding, light, found, judged[-1], turn)
            draws = _LAST_DRAWS if turn == self.passes - 1 else _DRAWS
            found, *seen = self._fit(light, padding, logits, guesses, found, draws)
            h = self.norm(padding.unpad(self.reader(padding.pad(features), *seen)))
            judged.append(self.judge(h)[:, 0].float())
        return Encoding(self.to_code(pooled(h, hits)), h, judged=torch.stack(judged, 1))

    @torch.no_grad()
    def _find(self, hits: HitBatch) -> tuple[Encoding, Tensor]:
        """The finder's encoding and its logits (N,)."""
        encoding = self.finder.encoder(hits)
        z = self.finder.latent(encoding.code).z
        return encoding, self.finder.decoder(z, encoding.hit_features, hits).hit_logits(hits).float()

    @torch.no_grad()
    def _look_beside(
        self, hits: HitBatch, padding: Padding, light: LightHits, found: Tensor, logits: Tensor, turn: int
    ) -> tuple[Tensor, Tensor]:
        """What the finder thinks of the hits that the strongest tracks (B, K, 5) do not explain.

        With fewer tracks in the event it scores the others' hits better and guesses these tracks better.

        Returns:
            Logits (N,), the higher of ``logits`` and the finder's, and guesses (B, P, 5), others in each turn.
        """
        others, logits = self.passes - 1, logits.detach().clone()
        number, guesses = -(-self.guesses // len(_SET_ASIDE)), []
        for strongest in _SET_ASIDE:
            lit = padding.unpad(explained(light, found[:, :strongest], EXACT).sum(1)[..., None])[:, 0]
            left = lit < 1  # noise is likelier
            encoding, again = self._find(hits.select(left))
            logits[left] = torch.maximum(logits[left], again)
            assert encoding.tracks is not None
            guesses.append(from_unit(encoding.tracks.sample(others * number).float())[:, turn - 1 :: others])
        return logits, torch.stack(guesses, 2).flatten(1, 2)

    @torch.no_grad()
    def _fit(
        self,
        light: LightHits,
        padding: Padding,
        logits: Tensor,
        guesses: Tensor,
        known: Tensor | None,
        draws: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tracks fitted to the likely hits.

        Returns:
            hypotheses (B, K, 5); for the reader, how they explain all hits (B, L, K, F), what is known of them
            (B, K, T), and the log of their light over noise (B, L, K).
        """
        with torch.autocast(logits.device.type, enabled=False):
            weights = padding.pad(fit_weights(logits)[:, None])[..., 0]
            found, gains = _in_pieces(_searched, *reorder(light, weights), guesses, known, self.tracks)
            present = padding.pad(torch.ones_like(logits)[:, None])[..., 0]
            noise = padding.pad(torch.sigmoid(-logits)[:, None]).sum((1, 2))
            likely = Posterior(*_in_pieces(_averaged, light, present, noise, found, draws))
            lit = likely.light.clamp(min=1e-30).log().clamp(-_STRONGEST, _STRONGEST).transpose(1, 2)
            support = gains.log1p(), likely.evidence / _USUAL_EVIDENCE
            tracks = torch.cat([to_unit(found), likely.spread.log1p(), torch.stack(support, -1)], -1)
            return found, pair_features(light, found, lit), tracks, lit


class TrackReader(nn.Module):
    """Reads for each hit how each of the fitted tracks explains it.

    Of each track it judges how much of its light to count, and adds up the light over noise: with all tracks known that
    alone would be the likelihood ratio. What a hit hears of each track goes beside it.

    Shapes:
        hits (B, L, C'), pairs (B, L, K, F), tracks (B, K, T), log of light over noise (B, L, K) -> (B, L, C).
    """

    def __init__(self, hit_channels: int, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.from_hit = nn.Linear(hit_channels, channels)
        self.from_pair = nn.Linear(_PAIR_FEATURES, channels, bias=False)
        self.from_track = nn.Linear(_TRACK_FEATURES, channels, bias=False)
        self.counted = nn.Sequential(nn.Linear(_TRACK_FEATURES, channels), nn.GELU(), nn.Linear(channels, 1))
        self.mix = nn.Linear(channels, channels)
        self.attend = nn.Linear(channels, heads)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Sequential(nn.Linear(2 * channels + 2, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, hits: Tensor, pairs: Tensor, tracks: Tensor, lit: Tensor) -> Tensor:
        own = self.from_hit(hits)
        h = F.gelu(own[:, :, None] + self.from_pair(pairs) + self.from_track(tracks)[:, None])
        h = F.gelu(self.mix(h))  # (B, L, K, C)
        weights = self.attend(h).softmax(2)[..., None]  # (B, L, K, H, 1)
        read = (weights * self.value(h).unflatten(-1, (self.heads, -1))).sum(2).flatten(-2)
        ratio = (lit + F.logsigmoid(self.counted(tracks)).transpose(1, 2)).logsumexp(2, keepdim=True)  # (B, L, 1)
        return own + self.out(torch.cat([own, read, ratio / _STRONGEST, ratio.sigmoid()], -1))


def pair_features(hits: LightHits, hypotheses: Tensor, lit: Tensor) -> Tensor:
    """How each hypothesis explains each hit, (B, L, K, F).

    At each scale the log of how well the arrival fits, the mean lateness and the mean excess of the index over the
    paths that do; then the direction, side and length of these paths, whether there is more than one, and the log of
    the light over noise (B, L, K).
    """
    paths = trace(hits, emission(hypotheses), wide=True)
    features, finest = [], None
    for scale in _SCALES:
        pull = paths.late.square() * (-0.5 / scale.time**2) + paths.excess.square() * (-0.5 / scale.index**2)
        share = pull.softmax(-1)
        features += [
            pull.logsumexp(-1).clamp(min=-_FURTHEST) / 5,
            (share * paths.late).sum(-1) / scale.time,
            (share * paths.excess).sum(-1) / scale.index,
        ]
        finest = share if finest is None else finest
    assert finest is not None
    features += [(finest * value).sum(-1) for value in (paths.kx, paths.up, paths.length / _LENGTH)]
    features.append(finest.amax(-1))
    return torch.cat([torch.stack(features, -1).clamp(-4, 4).transpose(1, 2), lit[..., None] / 2], -1)


def _in_pieces(work: Callable[..., tuple[Tensor, ...]], hits: LightHits, *of_events: Any) -> tuple[Tensor, ...]:
    """``work`` on a few events at a time: hits, tensors by event, and whatever else, which all share."""
    parts = []
    for start in range(0, len(hits.x), _AT_ONCE):
        piece = slice(start, start + _AT_ONCE)
        own = (value[piece] if isinstance(value, Tensor) else value for value in of_events)
        parts.append(work(hits.events(piece), *own))
    return tuple(map(torch.cat, zip(*parts, strict=True)))


def _searched(
    hits: LightHits, weights: Tensor, guesses: Tensor, known: Tensor | None, tracks: int
) -> tuple[Tensor, Tensor]:
    return search(hits, weights, guesses, tracks, known)


def _averaged(hits: LightHits, *of_events: Any) -> tuple[Tensor, ...]:
    return tuple(vars(posterior(hits, *of_events)).values())
