"""Events, outputs of every kind with leaves that take gradients, and their values, for the losses."""

import torch
from torch.nn import functional

from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.nn.outputs import CellSequence, HitLogits, PointSet, TofImage, Told, Volume

GRID = even_geometry((4, 4, 6))
CELL_LOSSES = ("mse", "mae", "bce", "focal", "acb_mse", "split")
SET_LOSSES = ("set", "hungarian", "chamfer")
STRIDE = (2, 2, 3)


def make_hits(coords, batch, batch_size, signal=None, **fields):
    coords = torch.tensor(coords, dtype=torch.int32).reshape(-1, 3)
    signal = None if signal is None else torch.tensor(signal, dtype=torch.bool)
    return HitBatch.from_batch_index(
        GRID, coords, torch.tensor(batch, dtype=torch.int64), batch_size, signal=signal, **fields
    )


def number(value):
    return value.detach().item()


def three_events() -> HitBatch:
    """Three events; the second is empty."""
    coords = [[0, 0, 0], [1, 2, 3], [3, 3, 5], [2, 1, 4], [0, 3, 1]]
    return make_hits(coords, [0, 0, 0, 2, 2], 3, signal=[True, False, False, True, True])


def random_output(kind, hits, seed=0, dtype=torch.float64, slots=4):
    """An output with leaves that take gradients, and those leaves."""
    draw = torch.Generator().manual_seed(seed)
    events = hits.batch_size

    def leaf(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()

    if kind is HitLogits:
        leaves = (leaf(hits.num_hits),)
        return HitLogits(*leaves), leaves
    if kind is Volume:
        leaves = (leaf(events, 1, 2, 2, 2),)
        return Volume(*leaves, STRIDE), leaves
    if kind is TofImage:
        leaves = (leaf(events, 1, 4, 4),)
        return TofImage(leaves[0].sigmoid(), 0.25), leaves
    if kind is CellSequence:
        leaves = (leaf(hits.num_hits + events), leaf(hits.num_hits), leaf(hits.num_hits, 2))
        return told_of(hits, *leaves), leaves
    leaves = (leaf(events, slots, 3), leaf(events, slots), leaf(events, slots, 2))
    return PointSet(2 + leaves[0], leaves[1], leaves[2], torch.ones(3)), leaves


def told_of(hits, presence, position, categories):
    """A sequence that tells every hit, and after the last of each event asks once more."""
    event = torch.repeat_interleave(hits.counts + 1)
    last = torch.cat([event[1:] != event[:-1], torch.ones(len(event[:1]), dtype=torch.bool)])
    category = torch.zeros(hits.num_hits, dtype=torch.int64) if hits.category is None else hits.category.long()
    told = Told(event, presence, ~last, functional.logsigmoid(position), categories, category)
    slots = position.new_zeros(hits.batch_size, 4)
    return CellSequence(slots[..., None].repeat(1, 1, 3), slots, slots[..., None], torch.ones(3), told)


def with_leaves(kind, leaves, hits=None):
    if kind is CellSequence:
        return told_of(hits, *leaves)
    if kind is HitLogits:
        return HitLogits(*leaves)
    if kind is Volume:
        return Volume(*leaves, STRIDE)
    if kind is TofImage:
        return TofImage(leaves[0].sigmoid(), 0.25)
    return PointSet(2 + leaves[0], leaves[1], leaves[2], torch.ones(3))
