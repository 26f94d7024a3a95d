"""How well generated robots reproduce the true ones, cell by cell: pure functions, and a class that counts.

Nothing depends on the order of a robot's voxels. A cell that is generated once too often is one false positive more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from pointae.hits import HitBatch
from pointae.metrics.nearest import nearest_in_event
from pointae.metrics.per_hit import f1, share
from pointae.robots import KINDS, robot_codes, valid_robots
from pointae.voxels import pack_keys, voxel_indices


class VoxelCounts(NamedTuple):
    """True positives, false positives and false negatives, (1 + Q,) int64 each: of any kind, then of each."""

    tp: Tensor
    fp: Tensor
    fn: Tensor


def count_voxels(generated: HitBatch, truth: HitBatch) -> VoxelCounts:
    """Voxels found, invented and missed, over all robots.

    Any kind: is the cell occupied? Of a kind: is the cell occupied by that kind? A voxel of a wrong kind is a
    false positive of its kind and a false negative of the true one. Empty cells count nowhere.

    Args:
        generated, truth: robots of the same B events, with ``category``.
    """
    counted = [_count(_cells(generated, 0), _cells(truth, 0))]
    counted += [_count(_cells(generated, kind), _cells(truth, kind)) for kind in range(1, len(KINDS) + 1)]
    return VoxelCounts(*torch.tensor(counted, device=truth.device).T)


def exact_robots(generated: HitBatch, truth: HitBatch) -> Tensor:
    """(B,) bool, robots that are generated without a fault: the same cells and kinds, nothing else.

    Args:
        generated, truth: robots of the same B events, with ``category``.
    """
    made, true = robot_codes(generated), robot_codes(truth)
    slots = max(made.shape[1], true.shape[1])
    filled = [torch.cat([codes, codes.new_full((len(codes), slots - codes.shape[1]), -1)], 1) for codes in (made, true)]
    return (filled[0] == filled[1]).all(1)


def position_errors(generated: HitBatch, truth: HitBatch) -> Tensor:
    """(N',) float64, cells from each true voxel to the nearest generated one of its robot, where it has any."""
    distance = torch.from_numpy(nearest_in_event(truth, generated, [1.0, 1.0, 1.0])[0][:, 0])
    return distance[distance.isfinite()].double()


def weighted_f1(counts: VoxelCounts) -> Tensor:
    """F1 of the kinds, averaged with the number of true voxels of each as weight; ``nan`` without any.

    As ``sklearn.metrics.f1_score(..., labels=[1, 2, 3, 4], average="weighted")`` of all cells.
    """
    support = (counts.tp + counts.fn)[1:].double()
    return (f1(counts.tp, counts.fp, counts.fn)[1:].double().nan_to_num() * support).sum() / support.sum()


class RobotMetrics(Metric):
    """Metrics of generated robots against the true ones.

    Example:
        >>> metrics = RobotMetrics()
        >>> for generated, truth in batches:
        ...     metrics.update(generated, truth)
        >>> metrics.compute()["exact_accuracy"]
    """

    full_state_update = False
    counts: Tensor
    robots: Tensor
    distance: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("counts", torch.zeros(3, 1 + len(KINDS), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("robots", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("distance", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, generated: HitBatch, truth: HitBatch) -> None:
        """Count a batch: robots that the model made, and the true ones of the same events."""
        errors = position_errors(generated, truth)
        robots = [
            truth.counts.new_tensor(truth.batch_size),
            exact_robots(generated, truth).sum(),
            valid_robots(generated).sum(),
        ]
        self.counts += torch.stack(count_voxels(generated, truth)).to(self.counts)
        self.robots += torch.stack(robots).to(self.robots)
        self.distance += torch.tensor([float(errors.sum()), len(errors)]).to(self.distance)

    def compute(self) -> dict[str, float]:
        """The metrics of everything counted so far; undefined ones are ``nan``.

        ``exact_accuracy`` and ``validity`` are shares of the robots; ``position_error`` is in cells.
        """
        counts = VoxelCounts(*self.counts.unbind())
        tp, fp, fn = counts
        of_kind = f1(*counts).tolist()
        return {
            "exact_accuracy": float(share(self.robots[1], self.robots[0])),
            "voxel_precision": float(share(tp[0], tp[0] + fp[0])),
            "voxel_recall": float(share(tp[0], tp[0] + fn[0])),
            "voxel_f1": of_kind[0],
            "category_f1": float(weighted_f1(counts)),
            **{f"{kind}_f1": value for kind, value in zip(KINDS, of_kind[1:], strict=True)},
            "position_error": float(self.distance[0] / self.distance[1]),
            "validity": float(share(self.robots[2], self.robots[0])),
            "robots": int(self.robots[0]),
            "true_voxels": int(tp[0] + fn[0]),
            "generated_voxels": int(tp[0] + fp[0]),
        }


def _cells(robots: HitBatch, kind: int) -> Tensor:
    """(N',) int64, one number for each (event, cell), of the voxels of a kind; 0: of all."""
    assert robots.category is not None
    cells = pack_keys(voxel_indices(robots), robots.geometry.spatial_shape)
    return cells[robots.category == kind] if kind else cells


def _count(made: Tensor, true: Tensor) -> tuple[int, int, int]:
    """Hits, inventions and misses of cells, each of which the truth has once at most."""
    found = int(torch.isin(true, made).sum())
    return found, len(made) - found, len(true) - found
