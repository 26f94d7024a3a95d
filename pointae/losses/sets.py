"""Losses between the points of a set and the hits that they should reproduce.

All are ``position_weight * distance + presence_weight * BCE(presence) + category_weight *
CE(category)``; they differ in which point answers for which hit. The distance is the sum over the
axes of abs(difference) in the detector's unit positions (edges at -1 and 1) times ``axis_scale``,
averaged over events. Points that answer for a hit should be present, the others absent: an event
without hits asks only that no point be present.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pointae.hits import HitBatch
from pointae.losses.categories import CategoryWeights, category_error
from pointae.losses.cells import misfit, widen
from pointae.losses.elementwise import Weight
from pointae.losses.parts import Part, Parts, summed
from pointae.nn.outputs import Output, PointSet

AxisScale = tuple[Weight, Weight, Weight]
HUNGARIAN_SLOTS = 64
"""Up to this many points an event the cubic cost of the exact assignment is small."""


@summed
def hungarian(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    position_weight: Weight = 5.0,
    presence_weight: Weight = 1.0,
    category_weight: Weight = 1.0,
    category_weights: CategoryWeights = None,
    axis_scale: AxisScale = (1.0, 1.0, 1.0),
) -> Parts:
    """Set loss under the one-to-one assignment that makes distance and presence smallest.

    As in Carion et al., `End-to-End Object Detection with Transformers
    <https://arxiv.org/abs/2005.12872>`_. The distance is the mean over an event's matched hits;
    where there are more hits than points, as many are matched as there are points.

    Args:
        output: PointSet of K points an event.
        hits: the network's input; not used.
        target: the hits that it should have produced; with ``category`` 1..Q where the points have
            Q categories.
        position_weight, presence_weight, category_weight: of the three parts. Presence is averaged
            over all points, the category over the points that have a hit.
        category_weights: what an error of each category counts.
        axis_scale: how much a distance along (x, y, t) counts.

    Returns:
        0-d, at least float32; ``.parts`` gives its three parts.

    Raises:
        ConfigError: the output is not a PointSet.
        DataError: a category outside 1..Q.
    """
    weights = _Weights(position_weight, presence_weight, category_weight, category_weights)
    return _set_loss("hungarian", output, target, _assign, weights, axis_scale)


@summed
def chamfer(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    position_weight: Weight = 5.0,
    presence_weight: Weight = 1.0,
    category_weight: Weight = 1.0,
    category_weights: CategoryWeights = None,
    axis_scale: AxisScale = (1.0, 1.0, 1.0),
) -> Parts:
    """Set loss in which the nearest point answers for a hit: cheap, for large sets.

    The distance is the mean over an event's hits to their nearest point, plus the mean over its
    points, weighted by their probability of presence, to their nearest hit. As many points should be
    present as there are hits: those that are the nearest to any hit, then those with the nearest hit.
    Arguments and errors as of :func:`hungarian`.
    """
    weights = _Weights(position_weight, presence_weight, category_weight, category_weights)
    return _set_loss("chamfer", output, target, _nearest, weights, axis_scale)


@summed
def matched_set(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    position_weight: Weight = 5.0,
    presence_weight: Weight = 1.0,
    category_weight: Weight = 1.0,
    category_weights: CategoryWeights = None,
    axis_scale: AxisScale = (1.0, 1.0, 1.0),
) -> Parts:
    """:func:`hungarian` for sets of up to 64 points, :func:`chamfer` above.

    The number of points belongs to the network, so a run has one loss throughout. Arguments and
    errors as of :func:`hungarian`.
    """
    weights = _Weights(position_weight, presence_weight, category_weight, category_weights)
    small = isinstance(output, PointSet) and output.pos.shape[1] <= HUNGARIAN_SLOTS
    return _set_loss("set", output, target, _assign if small else _nearest, weights, axis_scale)


class _Weights(NamedTuple):
    position: float
    presence: float
    category: float
    categories: CategoryWeights


@dataclass(frozen=True)
class _Scene:
    """A batch's points and hits in one scaled space; ``spans`` are the hits of each event."""

    points: Tensor  # (B, K, 3)
    presence: Tensor  # (B, K)
    hits: Tensor  # (N, 3)
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class _Matches:
    """Which point answers for which hit.

    Pair e joins point ``slot[e]`` (numbered through the batch) and hit ``row[e]``; its distance
    counts ``weight[e]`` in its event. ``wanted_slot`` (F,) are the points that should be present
    and ``wanted_row`` (F,) the hits that give them their category.
    """

    slot: Tensor
    row: Tensor
    weight: Tensor
    wanted_slot: Tensor
    wanted_row: Tensor


def _set_loss(
    loss: str,
    output: Output,
    target: HitBatch,
    match: Callable[[_Scene, _Weights], _Matches],
    weights: _Weights,
    axis_scale: AxisScale,
) -> Parts:
    if type(output) is not PointSet:  # the cells of a CellSequence are choices, without a gradient
        raise misfit(loss, output, (PointSet,))
    scene = _scene_of(output, target, axis_scale)
    events, slots = scene.presence.shape
    matches = match(scene, weights)
    gap = (scene.points.reshape(-1, 3)[matches.slot] - scene.hits[matches.row]).abs().sum(1)
    distance = (matches.weight * gap).sum() / max(events, 1)
    presence = scene.presence.reshape(-1)
    wanted = torch.zeros_like(presence).index_fill(0, matches.wanted_slot, 1.0)
    presence_error = functional.binary_cross_entropy_with_logits(presence, wanted, reduction="sum")
    parts = {
        "position": Part(distance, weights.position),
        "presence": Part(presence_error / max(events * slots, 1), weights.presence),
    }
    if output.categories.shape[2] and target.category is not None:
        logits = widen(output.categories).flatten(0, 1)[matches.wanted_slot]
        errors = category_error(logits, target.category[matches.wanted_row], weights.categories)
        parts["category"] = Part(errors.sum() / max(len(errors), 1), weights.category)
    return parts


def _scene_of(output: PointSet, target: HitBatch, axis_scale: AxisScale) -> _Scene:
    pos = widen(output.pos)
    scale = pos.new_tensor(axis_scale)
    to_unit = target.geometry.unit_positions
    ends = target.offsets.tolist()
    spans = list(pairwise(ends))
    return _Scene(to_unit(pos) * scale, widen(output.presence), to_unit(target.pos.to(pos)) * scale, spans)


@torch.no_grad()
def _assign(scene: _Scene, weights: _Weights) -> _Matches:
    """The assignment of each event whose distance and presence terms sum to the least."""
    slots = scene.presence.shape[1]
    slot, row, weight = [], [], []
    for event, (start, stop) in enumerate(scene.spans):
        pairs = max(min(stop - start, slots), 1)
        distance = torch.cdist(scene.points[event], scene.hits[start:stop], p=1)  # (K, n)
        # What it costs to want a point is BCE(1) - BCE(0) = -logit.
        cost = weights.position * distance / pairs - weights.presence * scene.presence[event, :, None] / slots
        # Weights that diverged must show in the loss, not as a failure of the assignment.
        picked = linear_sum_assignment(cost.double().nan_to_num().cpu().numpy())
        slot.append(torch.from_numpy(picked[0]) + event * slots)
        row.append(torch.from_numpy(picked[1]) + start)
        weight.append(torch.full((len(picked[0]),), 1 / pairs, dtype=scene.points.dtype))
    device = scene.points.device
    slots_of_pairs, rows_of_pairs = _joined(slot, device), _joined(row, device)
    return _Matches(slots_of_pairs, rows_of_pairs, _joined(weight, device), slots_of_pairs, rows_of_pairs)


def _nearest(scene: _Scene, _: _Weights) -> _Matches:
    """The nearest point of every hit and the nearest hit of every point."""
    slots = scene.presence.shape[1]
    slot, row, weight, wanted_slot, wanted_row = [], [], [], [], []
    for event, (start, stop) in enumerate(scene.spans):
        if start == stop:
            continue
        with torch.no_grad():
            distance = torch.cdist(scene.points[event], scene.hits[start:stop], p=1)  # (K, n)
        nearest_slot, nearest_row = distance.argmin(0), distance.argmin(1)
        everyone = torch.arange(slots, device=distance.device)
        slot += [nearest_slot + event * slots, everyone + event * slots]
        row += [torch.arange(start, stop, device=distance.device), nearest_row + start]
        share = functional.logsigmoid(scene.presence[event]).softmax(0)  # p / sum of p, without underflow
        weight += [torch.full_like(distance[0], 1 / (stop - start)), share]
        wanted = _as_many_as_hits(distance, nearest_slot)
        wanted_slot.append(wanted + event * slots)
        wanted_row.append(nearest_row[wanted] + start)
    integers = [_joined(parts, scene.points.device) for parts in (slot, row, wanted_slot, wanted_row)]
    return _Matches(integers[0], integers[1], _joined(weight, scene.points.device), integers[2], integers[3])


def _as_many_as_hits(distance: Tensor, nearest_slot: Tensor) -> Tensor:
    """Numbers of the points that should be present, from distances (K, n) and the nearest point (n,) of each hit."""
    # Those nearest to any hit alone are a fifth of a large set: few answer for many, and all would be held absent.
    order = distance.amin(1).index_fill(0, nearest_slot, -1.0)
    return order.topk(min(distance.shape), largest=False).indices


def _joined(parts: list[Tensor], device: torch.device) -> Tensor:
    return torch.cat(parts).to(device) if parts else torch.zeros(0, dtype=torch.int64, device=device)


def overlap(output: Output, hits: HitBatch, target: HitBatch) -> Tensor:
    """How much points crowd into one cell: over pairs, ``p_i p_j (1 - d^2)^2`` where the distance d is below a cell.

    p is the probability of presence, d is measured in bins of the axes. Bounded by K (K - 1) / 2 an
    event; 0, and flat, where all points that are present lie a cell apart, as those of a true pattern do.

    Args:
        output: PointSet of K points an event.
        hits, target: not used; the same signature for every loss.

    Returns:
        0-d, at least float32, mean over events; 0 for a batch without events.

    Raises:
        ConfigError: the output is not a PointSet.
    """
    if type(output) is not PointSet:
        raise misfit("overlap", output, (PointSet,))
    pos = widen(output.pos) / output.pos.new_tensor(target.geometry.bin_widths).to(widen(output.pos))
    square = (pos[:, :, None] - pos[:, None]).square().sum(3)  # (B, K, K)
    near = (1 - square).clamp(min=0).square()
    present = widen(output.presence).sigmoid()
    crowd = (present[:, :, None] * present[:, None] * near).triu(diagonal=1)
    return crowd.sum() / max(len(pos), 1)
