"""A set of categorised hits told one after another, from the code alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointae.config import AutoregressiveSettings
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.cells import outward_order
from pointae.nn.embedding import HitEmbedding, category_of
from pointae.nn.outputs import CellSequence, Told

FAR_BINS = 1.0
"""Reach of a told cell, in bins of each axis: it speaks for measured hits in itself."""
ABSENT = -30.0
"""Logit of the slots behind the last hit: they are absent beyond doubt."""


class AutoregressiveDecoder(nn.Module):
    """Hits in a fixed order, each given those before it and the code.

    The density of a sorted set is a product: is there another hit, its x, its y given x, its t given
    both, then its kind. A hit is a choice among bins rather than a point in space, so that a right cell
    is right exactly, and a drawn one always lies in the grid. What was told so far enters as a sum over
    its hits (Zaheer et al. 2017, arXiv:1703.06114) with the last one apart; so all steps of a
    known sequence are computed at once. PointGrow (Sun et al. 2020, arXiv:1810.05591) does so for clouds.

    In training the steps are given the true hits, the ``signal`` of the input (teacher forcing); the
    points of the result are then the likeliest next hits. A share of the true hits may be held back (word
    dropout, Bowman et al. 2016, arXiv:1511.06349): one wrong hit then spoils fewer of those after it.
    In evaluation the points are made of the
    code alone, each step given those that it chose itself.

    Args:
        settings: most hits, width, blocks, number of kinds.
        geometry: the detector's grid; hits are told from its centre outward.
        code_size: D of z.
        hit_channels, in_features: not used; the same signature for every decoder.

    Shapes:
        z (B, D), N hits of B events -> K points an event, and what was expected at each step.
    """

    def __init__(
        self,
        settings: AutoregressiveSettings,
        geometry: DetectorGeometry,
        code_size: int,
        hit_channels: int = 0,
        in_features: int = 0,
    ) -> None:
        super().__init__()
        width, self.geometry, self.slots = settings.hidden, geometry, settings.slots
        self.categories, self.hold_back = settings.categories, settings.hold_back
        self.from_code = nn.Sequential(
            nn.Linear(code_size, settings.code_hidden),
            *(ResidualBlock(settings.code_hidden, settings.code_hidden) for _ in range(settings.layers)),
            nn.LayerNorm(settings.code_hidden),
            nn.Linear(settings.code_hidden, settings.slots * width),
            nn.Unflatten(1, (settings.slots, width)),
        )
        self.place = HitEmbedding(geometry, 0, width)
        self.kind = nn.Embedding(settings.categories + 1, width)
        self.to_token = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.from_last = nn.Linear(width, width, bias=False)
        self.slot = nn.Embedding(settings.slots, width)
        self.blocks = nn.ModuleList(ResidualBlock(width, 2 * width) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.to_presence = nn.Linear(width, 1)
        self.to_cell = _CellHead(geometry.spatial_shape, width)
        self.place_of_kind = nn.Linear(width, width)
        self.to_kind = nn.Sequential(nn.GELU(), nn.Linear(width, settings.categories))
        reach = torch.tensor(geometry.bin_widths, dtype=torch.float32) * FAR_BINS
        self.register_buffer("reach", reach, persistent=False)
        self.reach: Tensor

    def forward(self, z: Tensor, hit_features: Tensor | None, hits: HitBatch) -> CellSequence:
        code = self.from_code(z)  # (B, K, H): what each slot hears of the code
        points, told = self.tell(code, told_sequence(hits, self.slots))
        if not self.training:
            points = self.make(code)
        pos = self.geometry.positions(points.coords.flatten(0, 1)).to(self.reach).unflatten(0, points.coords.shape[:2])
        return CellSequence(pos, points.presence, points.categories, self.reach, told)

    def tell(self, code: Tensor, hits: HitBatch) -> tuple[_Points, Told]:
        """Every step of a known sequence, each given the true hits before it.

        Args:
            code: (B, K, H).
            hits: of :func:`told_sequence`, T of them.
        """
        slot = hits.local_index()  # (T,)
        kind = self._kinds(hits)
        place = self.place(hits)  # (T, H)
        tokens = code.new_zeros(len(code), self.slots + 1, code.shape[2])
        tokens[hits.batch, slot + 1] = self._held_back(self._token(place, kind).to(code.dtype))
        so_far, last = tokens.cumsum(1)[:, :-1], tokens[:, :-1]  # (B, K, H), of the hits before each slot
        asked = (
            torch.arange(self.slots, device=code.device) <= hits.counts[:, None]
        )  # (B, K), and once more: no further?
        event, step = asked.nonzero(as_tuple=True)  # (S,)
        present = step < hits.counts[event]
        h = self._context(code[asked], so_far[asked], last[asked], step)  # (S, H)
        presence = _wide(self.to_presence(h)[:, 0])
        h = h[present]  # (T, H)
        log_prob, coords = self.to_cell(h, hits.coords)
        kinds = self._kind_logits(h, place)
        points = _Points.nothing(len(code), self.slots, self.categories, presence)
        points.presence[event, step] = presence.detach()
        points.coords[event[present], step[present]] = coords
        points.categories[event[present], step[present]] = kinds.detach()
        return points, Told(event, presence, present, log_prob, kinds, kind)

    @torch.no_grad()
    def make(self, code: Tensor) -> _Points:
        """K hits an event, the likeliest at each step, from the code (B, K, H) alone."""
        events = len(code)
        points = _Points.nothing(events, self.slots, self.categories, _wide(code))
        so_far, last = torch.zeros_like(code[:, 0]), torch.zeros_like(code[:, 0])
        presence = points.presence.new_full((events,), torch.inf)
        for slot in range(self.slots):
            step = torch.full((events,), slot, device=code.device)
            h = self._context(code[:, slot], so_far, last, step)
            presence = torch.minimum(presence, _wide(self.to_presence(h)[:, 0]))  # nothing comes after the end
            _, coords = self.to_cell(h)
            place = self.place(_one_an_event(coords, self.geometry))
            kinds = self._kind_logits(h, place)
            points.presence[:, slot], points.coords[:, slot], points.categories[:, slot] = presence, coords, kinds
            last = self._token(place, kinds.argmax(1) + 1 if self.categories else step * 0).to(code.dtype)
            so_far = so_far + last
        return points

    def _context(self, code: Tensor, so_far: Tensor, last: Tensor, step: Tensor) -> Tensor:
        """(S, H) of what a step knows: the code, the hits before it, the last of them, its number."""
        h = code + so_far + self.from_last(last) + self.slot(step)
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    def _token(self, place: Tensor, kind: Tensor) -> Tensor:
        return self.to_token(place + self.kind(kind))

    def _held_back(self, tokens: Tensor) -> Tensor:
        """Tokens (T, H), in training some of them zero: no step may lean on those before it alone."""
        if not self.training or not self.hold_back:
            return tokens
        return tokens * (torch.rand(len(tokens), 1, device=tokens.device) >= self.hold_back)

    def _kind_logits(self, h: Tensor, place: Tensor) -> Tensor:
        return _wide(self.to_kind(h + self.place_of_kind(place)))

    def _kinds(self, hits: HitBatch) -> Tensor:
        """(T,) int64 category of each hit, 0 where there are none to tell."""
        if hits.category is None or not self.categories:
            return torch.zeros(hits.num_hits, dtype=torch.int64, device=hits.device)
        return category_of(hits, self.categories)


@dataclass
class _Points:
    """K slots of B events: bin numbers (B, K, 3), presence (B, K) and kinds (B, K, Q) as logits."""

    coords: Tensor
    presence: Tensor
    categories: Tensor

    @classmethod
    def nothing(cls, events: int, slots: int, kinds: int, like: Tensor) -> _Points:
        coords = torch.zeros((events, slots, 3), dtype=torch.int32, device=like.device)
        return cls(coords, like.new_full((events, slots), ABSENT), like.new_zeros((events, slots, kinds)))


class ResidualBlock(nn.Module):
    """Residual perceptron. (S, H) -> (S, H)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.mlp(self.norm(h))


class _CellHead(nn.Module):
    """A cell as three choices, each axis given those before it: as many logits as bins along the axes, not cells.

    Shapes:
        (S, H) and, where known, bin numbers (S, 3) -> log probability (S,) of the cell, likeliest bins (S, 3) int32.
    """

    def __init__(self, spatial_shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Linear(width, width) for _ in spatial_shape)
        self.leave = nn.ModuleList(nn.Linear(width, bins) for bins in spatial_shape)
        self.known = nn.ModuleList(  # of axis i, told to each axis after it
            nn.ModuleList(nn.Embedding(bins, width) for _ in range(2 - axis))
            for axis, bins in enumerate(spatial_shape[:2])
        )

    def forward(self, h: Tensor, coords: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = _wide(h.new_zeros(len(h)))
        chosen: list[Tensor] = []
        for axis in range(3):
            hidden = self.enter[axis](h)
            for before in range(axis):
                told = chosen[before] if coords is None else coords[:, before].long()
                tables = self.known[before]
                assert isinstance(tables, nn.ModuleList)
                hidden = hidden + tables[axis - before - 1](told)
            logits = _wide(self.leave[axis](F.gelu(hidden)))
            chosen.append(logits.argmax(1))
            bins = chosen[axis] if coords is None else coords[:, axis].long()
            total = total - F.cross_entropy(logits, bins, reduction="none")
        return total, torch.stack(chosen, dim=1).int()


def told_sequence(hits: HitBatch, slots: int) -> HitBatch:
    """The signal hits of each event in the order in which they are told: from the centre of the grid outward.

    As of :func:`~pointae.nn.cells.outward_order`. Of hits that share a cell only the first is told, and of
    each event only the first ``slots`` cells.
    """
    if hits.signal is not None:
        hits = hits.select(hits.signal)
    hits = hits.reordered(outward_order(hits))
    repeats = (hits.coords[1:] == hits.coords[:-1]).all(1) & (hits.batch[1:] == hits.batch[:-1])
    hits = hits.select(torch.cat([repeats.new_ones(min(1, hits.num_hits)), ~repeats]))
    return hits.select(hits.local_index() < slots)


def _one_an_event(coords: Tensor, geometry: DetectorGeometry) -> HitBatch:
    """Events of one hit each, from bin numbers (B, 3)."""
    offsets = torch.arange(len(coords) + 1, device=coords.device)
    return HitBatch(geometry, coords, offsets, trusted=True)


def _wide(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()
