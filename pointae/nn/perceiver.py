"""A few tokens that read all hits of an event, think, and tell each hit: wide where it is done once an event."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pointae.config import PerceiverSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.embedding import HitEmbedding
from pointae.nn.half import round_loops
from pointae.nn.half.whole_rounds import whole_rounds
from pointae.nn.loops import array_of
from pointae.nn.outputs import Encoding
from pointae.nn.segments import Padding, similar_sizes
from pointae.nn.token_exchange import read_hits, tell_hits
from pointae.nn.track_mixture import TrackMixture, TrackMixtureHead, refuse_other_grids

_SUMMARY = 16
"""Numbers that a token tells of the tracks: all of its channels would make the guess the largest layer by far."""


class TokenMixer(nn.Module):
    """What the tokens make of what they read: first each for itself, then all of a channel together.

    After MLP-Mixer (Tolstikhin et al. 2021, arXiv:2105.01601). (B, K, D) -> (B, K, D).
    """

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.inside = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))
        self.across = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.ReLU(), nn.Linear(2 * tokens, tokens))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.inside(self.norm_1(tokens))
        first, _, second = self.across
        return tokens + along_tokens(second, along_tokens(first, self.norm_2(tokens)).relu())


def along_tokens(linear: nn.Module, tokens: Tensor) -> Tensor:
    """A layer applied to all tokens of a channel together, (B, K, D) -> (B, K', D), without turning them."""
    assert isinstance(linear, nn.Linear)
    weight = linear.weight.expand(len(tokens), -1, -1)
    return torch.baddbmm(linear.bias[:, None], weight, tokens)


class TokenRound(nn.Module):
    """Hits to tokens and back: (B, L, C), (B, K, D) -> (B, L, C), (B, K, D).

    A token takes a weighted mean of the hits, a hit a weighted mean of the tokens, inside the hidden
    layer of its MLP. Layers of hits have neither a norm nor a bias: each would be one more pass over
    memory, which is what a round costs; the tokens carry both.
    """

    def __init__(self, channels: int, tokens: int, token_channels: int) -> None:
        super().__init__()
        self.weights = nn.Linear(channels, 2 * tokens, bias=False)
        self.read = nn.Linear(channels, token_channels)
        self.mixer = TokenMixer(tokens, token_channels)
        self.tell = nn.Sequential(nn.LayerNorm(token_channels), nn.Linear(token_channels, channels))
        self.to_hidden = nn.Linear(channels, channels, bias=False)
        self.to_hits = nn.Linear(channels, channels, bias=False)
        nn.init.uniform_(self.to_hits.weight, -0.5 * channels**-0.5, 0.5 * channels**-0.5)

    def forward(self, h: Tensor, tokens: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """Of hits padded to L an event; ``absent``: as of :func:`~pointae.nn.token_exchange.read_hits`."""
        h, seen, shares = read_hits(h, self.weights.weight, absent)
        tokens = self.mixer(tokens + self.read(seen))
        told = self.tell(tokens).to(h.dtype)  # (B, K, C)
        return tell_hits(h, shares, told, self.to_hidden.weight, self.to_hits.weight), tokens

    def weights_in_order(self) -> tuple[Tensor, ...]:
        """Those of hits, then those of tokens, as :func:`~pointae.nn.half.whole_rounds.whole_rounds` takes them."""
        mixer, (norm, tell) = self.mixer, self.tell
        layers: tuple[Any, ...] = (
            self.read, mixer.norm_1, mixer.inside[0], mixer.inside[2], mixer.norm_2, mixer.across[0], mixer.across[2],
            norm, tell,
        )  # fmt: skip
        of_tokens = [weight for layer in layers for weight in (layer.weight, layer.bias)]
        return self.weights.weight, self.to_hidden.weight, self.to_hits.weight, *of_tokens


class PerceiverEncoder(nn.Module):
    """Tokens that read the hits and are read by them, round after round; linear in the hits.

    A latent bottleneck as in Perceiver (Jaegle et al. 2021, arXiv:2103.03206), with hits that hear
    back, as from the induced points of the Set Transformer (Lee et al. 2019, arXiv:1810.00825).

    Args:
        settings: width of hits and of tokens, number of tokens and of rounds.
        geometry: the detector's grid.
        code_size: D.
        in_features: C of ``hits.features``.

    Shapes:
        N hits of B events -> code (B, D), hit_features (N, channels).
    """

    def __init__(
        self, settings: PerceiverSettings, geometry: DetectorGeometry, code_size: int, in_features: int = 0
    ) -> None:
        super().__init__()
        self.hit_channels = settings.channels
        self.sizes = settings.channels, settings.tokens, settings.token_channels
        self.embedding = HitEmbedding(geometry, in_features, settings.channels)
        self.tokens = nn.Parameter(torch.randn(settings.tokens, settings.token_channels) / 2)
        self.rounds = nn.ModuleList(
            TokenRound(settings.channels, settings.tokens, settings.token_channels) for _ in range(settings.rounds)
        )
        self.to_code = nn.Linear(settings.tokens * settings.token_channels, code_size)
        self.to_tracks: nn.Sequential | None = None
        if settings.proposals:
            refuse_other_grids(geometry)
            head = TrackMixtureHead(settings.tokens * _SUMMARY, settings.proposals)
            self.to_tracks = nn.Sequential(nn.Linear(settings.token_channels, _SUMMARY), nn.Flatten(1), head)

    def forward(self, hits: HitBatch) -> Encoding:
        if loops := round_loops(hits, *self.sizes):
            return self.encode_at_once(hits, loops)
        groups = similar_sizes(hits)
        if len(groups) <= 1:
            return self.encode(hits)
        numbered = hits.replace(hit_id=torch.arange(hits.num_hits, device=hits.device))
        parts = [numbered.events(events) for events in groups]
        encoded = [self.encode(part) for part in parts]
        rows = torch.cat([part.present["hit_id"] for part in parts]).argsort()
        events = torch.cat(groups).argsort()
        features = torch.cat([part.hit_features for part in encoded if part.hit_features is not None])
        guesses = [part.tracks for part in encoded if part.tracks is not None]
        tracks = TrackMixture.concat(guesses).events(events) if guesses else None
        return Encoding(torch.cat([part.code for part in encoded])[events], features[rows], tracks)

    def encode(self, hits: HitBatch) -> Encoding:
        """Events of similar sizes."""
        padding = Padding(hits)
        absent = padding.absent()
        kind = hits.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        h = self.embedding(padding.filled(hits), dtype).unflatten(0, (hits.batch_size, padding.length))  # (B, L, C)
        tokens = self.tokens.expand(hits.batch_size, -1, -1)
        for round_ in self.rounds:
            h, tokens = round_(h, tokens, absent)
        return self._encoding(tokens, padding.unpad(h))

    def encode_at_once(self, hits: HitBatch, loops: Any) -> Encoding:
        """Events of any sizes, all rounds one operation of compiled loops in bf16."""
        h = self.embedding(hits, torch.bfloat16)  # (N, C)
        tokens = self.tokens.expand(hits.batch_size, -1, -1)
        weights = [round_.weights_in_order() for round_ in self.rounds if isinstance(round_, TokenRound)]
        h, tokens = whole_rounds(h, tokens, array_of(hits.offsets), weights, loops)
        with torch.autocast("cpu", enabled=False):  # a few small products: to round what they take takes longer
            return self._encoding(tokens, h)

    def _encoding(self, tokens: Tensor, hit_features: Tensor) -> Encoding:
        tracks = None if self.to_tracks is None else self.to_tracks(tokens)
        return Encoding(self.to_code(tokens.flatten(1)), hit_features, tracks)
