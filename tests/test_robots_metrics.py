"""Metrics of robots against loops over voxels and against scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from events import shuffled_inside
from sklearn.metrics import f1_score, precision_score, recall_score

from pointae.config import RobotSource
from pointae.geometry import robot_geometry
from pointae.hits import HitBatch
from pointae.metrics import RobotMetrics, count_voxels, exact_robots, position_errors
from pointae.robots import KINDS
from pointae.simulate import simulate_events

SHAPE = (11, 11, 11)


def disturbed(truth: HitBatch, seed: int = 0) -> HitBatch:
    """Robots of which a third of the voxels are lost, moved or of another kind, and some are added."""
    draw = torch.Generator().manual_seed(seed)
    coords, category = truth.coords.clone(), truth.category.clone()
    moved = torch.rand(truth.num_hits, generator=draw) < 0.15
    coords[moved] = (coords[moved] + torch.tensor([1, 0, 0], dtype=torch.int32)).clamp(max=10)
    other = torch.rand(truth.num_hits, generator=draw) < 0.15
    category[other] = category[other] % 4 + 1
    kept = truth.replace(coords=coords, category=category).select(torch.rand(truth.num_hits, generator=draw) < 0.9)
    # One hit a cell, as scikit-learn's one prediction a cell needs.
    dense = torch.zeros(truth.batch_size, *SHAPE, dtype=torch.int8)
    dense[(kept.batch, *kept.coords.long().T)] = kept.category
    batch, *cell = dense.nonzero(as_tuple=True)
    values = dense[(batch, *cell)]
    coords = torch.stack(cell, 1).int()
    return HitBatch.from_batch_index(truth.geometry, coords, batch, truth.batch_size, category=values)


def dense(hits: HitBatch) -> np.ndarray:
    cells = np.zeros((hits.batch_size, *SHAPE), int)
    cells[(hits.batch.numpy(), *hits.coords.numpy().T)] = hits.category.numpy()
    return cells.reshape(hits.batch_size, -1)


@pytest.fixture(scope="module")
def pair() -> tuple[HitBatch, HitBatch]:
    truth = simulate_events(RobotSource(empties=0.05), 3, torch.arange(300))
    return disturbed(truth), truth


def test_against_scikit_learn(pair):
    made, true = map(dense, pair)
    told = computed(pair)
    classes = {"y_true": true.ravel(), "y_pred": made.ravel(), "labels": [1, 2, 3, 4]}
    assert told["category_f1"] == pytest.approx(f1_score(average="weighted", **classes))
    each = f1_score(average=None, **classes)
    assert [told[f"{kind}_f1"] for kind in KINDS] == pytest.approx(each.tolist())
    occupied = {"y_true": true.ravel() > 0, "y_pred": made.ravel() > 0}
    assert told["voxel_precision"] == pytest.approx(precision_score(**occupied))
    assert told["voxel_recall"] == pytest.approx(recall_score(**occupied))
    assert told["voxel_f1"] == pytest.approx(f1_score(**occupied))
    assert told["exact_accuracy"] == pytest.approx((made == true).all(1).mean())
    assert 0.2 < told["exact_accuracy"] < 0.9
    assert (told["robots"], told["true_voxels"], told["generated_voxels"]) == (300, (true > 0).sum(), (made > 0).sum())


def computed(*pairs: tuple[HitBatch, HitBatch]) -> dict[str, float]:
    metrics = RobotMetrics()
    for generated, truth in pairs:
        metrics.update(generated, truth)
    return metrics.compute()


def test_position_error_against_a_loop(pair):
    generated, truth = pair
    expected = []
    for event in range(truth.batch_size):
        made, true = generated.events([event]).coords.double(), truth.events([event]).coords.double()
        expected += [min(float((voxel - other).norm()) for other in made) for voxel in true if len(made)]
    assert sorted(position_errors(generated, truth).tolist()) == pytest.approx(sorted(expected))
    assert computed(pair)["position_error"] == pytest.approx(np.mean(expected))


def test_the_order_of_voxels_does_not_matter(pair):
    generated, truth = pair
    assert computed((generated.reordered(shuffled_inside(generated)), truth.reordered(shuffled_inside(truth, 1)))) == (
        pytest.approx(computed(pair))
    )


def test_batches_of_any_size_give_the_same(pair):
    generated, truth = pair
    parts = [slice(0, 7), slice(7, 7), slice(7, 200), slice(200, 300)]
    assert computed(*((generated.events(part), truth.events(part)) for part in parts)) == pytest.approx(computed(pair))


def test_a_perfect_reconstruction(pair):
    _, truth = pair
    told = computed((truth.reordered(shuffled_inside(truth)), truth))
    shares = ("exact_accuracy", "voxel_precision", "voxel_recall", "voxel_f1", "category_f1")
    assert all(told[name] == 1 for name in (*shares, *(f"{kind}_f1" for kind in KINDS)))
    assert told["position_error"] == 0
    assert told["validity"] == pytest.approx(float((truth.counts > 0).double().mean()))


def robot(*voxels: tuple[int, int, int, int]) -> HitBatch:
    table = torch.tensor(voxels, dtype=torch.int32).reshape(-1, 4)
    kinds = table[:, 3].to(torch.int8)
    return HitBatch(robot_geometry(), table[:, :3], torch.tensor([0, len(table)]), category=kinds)


def test_a_cell_twice_counts_once_and_is_invented_once():
    truth = robot((5, 5, 6, 1), (5, 5, 4, 2))
    twice = [(5, 5, 6, 1), (5, 5, 6, 1), (5, 5, 4, 3)]
    for order in itertools.permutations(twice):
        counts = count_voxels(robot(*order), truth)
        assert counts.tp.tolist() == [2, 1, 0, 0, 0]
        assert counts.fp.tolist() == [1, 1, 0, 1, 0]
        assert counts.fn.tolist() == [0, 0, 1, 0, 0]
        assert exact_robots(robot(*order), truth).tolist() == [False]
    assert exact_robots(robot((5, 5, 6, 1), (5, 5, 6, 1)), robot((5, 5, 6, 1))).tolist() == [False]


def test_all_empty_scores_nothing(pair):
    _, truth = pair
    told = computed((truth.select(torch.zeros(truth.num_hits, dtype=torch.bool)), truth))
    assert (told["category_f1"], told["voxel_recall"], told["validity"]) == (0, 0, 0)
    assert math.isnan(told["voxel_precision"])
    assert math.isnan(told["position_error"])
    assert told["exact_accuracy"] == pytest.approx(float((truth.counts == 0).double().mean()))


def test_without_events():
    nothing = HitBatch.empty(robot_geometry()).replace(category=torch.zeros(0, dtype=torch.int8))
    told = computed((nothing, nothing))
    assert told["robots"] == 0
    assert all(math.isnan(told[name]) for name in ("exact_accuracy", "category_f1", "validity", "position_error"))


def test_full_volumes_are_judged_too():
    cells = torch.cartesian_prod(*(torch.arange(11),) * 3).int()
    full = HitBatch(
        robot_geometry(), cells.repeat(40, 1), torch.arange(41) * 1331, category=torch.ones(40 * 1331, dtype=torch.int8)
    )
    truth = simulate_events(RobotSource(), 1, torch.arange(40))
    told = computed((full, truth))
    assert (told["voxel_recall"], told["validity"], told["position_error"]) == (1, 0, 0)
