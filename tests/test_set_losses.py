"""Losses of point sets against slow sums over pairs, orders and assignments."""

import math
from itertools import permutations

import pytest
import torch
from outputs import (
    GRID,
    SET_LOSSES,
    number,
    random_output,
    three_events,
    told_of,
)
from torch.nn import functional

from pointae.config import LossSettings, LossTerm
from pointae.errors import DataError
from pointae.losses import LOSSES, build_loss, total
from pointae.losses.sliced import half_sphere
from pointae.nn.outputs import CellSequence, PointSet


@pytest.fixture
def hits():
    return three_events()


def test_hungarian_is_the_best_of_all_assignments(hits):
    output, _ = random_output(PointSet, hits, slots=4)
    unit, wanted = GRID.unit_positions(output.pos), GRID.unit_positions(hits.pos.double())
    total = 0.0
    for event in range(3):
        rows = range(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        best = math.inf
        for slots in permutations(range(4), len(rows)):
            gap = sum(number((unit[event, s] - wanted[r]).abs().sum()) for s, r in zip(slots, rows, strict=True))
            label = torch.zeros(4, dtype=torch.float64)
            label[list(slots)] = 1
            presence = number(functional.binary_cross_entropy_with_logits(output.presence[event], label))
            best = min(best, 5 * gap / max(len(rows), 1) + presence)
        total += best / 3
    assert number(LOSSES["hungarian"](output, hits, hits)) == pytest.approx(total)
    assert number(LOSSES["set"](output, hits, hits)) == pytest.approx(total)


def test_chamfer_is_the_slow_sum_over_nearest(hits):
    output, _ = random_output(PointSet, hits, slots=70)
    unit, wanted = GRID.unit_positions(output.pos), GRID.unit_positions(hits.pos.double())
    position, label = 0.0, torch.zeros(3, 70, dtype=torch.float64)
    for event in (0, 2):
        rows = slice(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        gap = (unit[event][:, None] - wanted[rows][None]).abs().sum(-1)
        p = output.presence[event].sigmoid()
        position += number(gap.min(0).values.mean() + (p * gap.min(1).values).sum() / p.sum()) / 3
        ranked = sorted(range(70), key=lambda slot: (slot not in gap.argmin(0), float(gap[slot].min())))
        label[event, ranked[: gap.shape[1]]] = 1
    presence = number(functional.binary_cross_entropy_with_logits(output.presence, label))
    expected = pytest.approx(5 * position + presence)
    assert number(LOSSES["chamfer"](output, hits, hits)) == expected
    assert number(LOSSES["set"](output, hits, hits)) == expected  # 70 points are too many to assign


def test_chamfer_wants_as_many_points_as_hits(hits):
    logits = torch.zeros(3, 70, dtype=torch.float64, requires_grad=True)
    output, _ = random_output(PointSet, hits, slots=70)
    crowd = PointSet(output.pos * 0, logits, output.categories, output.reach)  # one place: one is nearest to every hit
    LOSSES["chamfer"](crowd, hits, hits).backward()
    assert (logits.grad < 0).sum(1).tolist() == hits.counts.tolist()


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_sliced_is_the_slow_transport_along_each_line(slots, hits):
    output, _ = random_output(PointSet, hits, slots=slots)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    lines = half_sphere(5)
    assert lines.norm(dim=0).tolist() == pytest.approx([1] * 5)
    unit, wanted = GRID.unit_positions(output.pos) * scale, GRID.unit_positions(hits.pos.double()) * scale
    total = 0.0
    for event in (0, 2):
        rows = slice(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        for line in lines.T:
            points, stand_for = sorted((unit[event] @ line).tolist()), sorted((wanted[rows] @ line).tolist())
            for k, point in enumerate(points):
                total += abs(point - stand_for[int((k + 0.5) / slots * len(stand_for))]) / slots / 5 / 2
    value = LOSSES["sliced"](output, hits, hits, axis_scale=tuple(scale.tolist()), directions=5)
    assert number(value) == pytest.approx(total)


def test_sliced_calls_a_crowd_apart_where_chamfer_leaves_it(hits):
    target = hits.events([0])  # three hits
    pos = target.pos.double()[[0, 0, 0]][None]  # three points, all on the first of them
    leaves = {name: pos.clone().requires_grad_() for name in ("chamfer", "sliced")}
    for name, leaf in leaves.items():
        crowd = PointSet(leaf, torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 3, 0), torch.ones(3))
        LOSSES[name](crowd, target, target).backward()
    moved = {name: int((leaf.grad[0] != 0).any(1).sum()) for name, leaf in leaves.items()}
    assert moved == {"chamfer": 1, "sliced": 3}
    exact = PointSet(target.pos.double()[None].flip(1), torch.zeros(1, 3), torch.zeros(1, 3, 0), torch.ones(3))
    assert number(LOSSES["sliced"](exact, target, target)) == pytest.approx(0, abs=1e-12)


def test_set_losses_ignore_order_and_learn_categories(hits):
    output, _ = random_output(PointSet, hits)
    shuffled = torch.randperm(4)
    other = PointSet(
        output.pos[:, shuffled], output.presence[:, shuffled], output.categories[:, shuffled], torch.ones(3)
    )
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    for name in SET_LOSSES:
        value = number(LOSSES[name](output, hits, target))
        assert number(LOSSES[name](other, hits, target)) == pytest.approx(value)
        assert value > number(LOSSES[name](output, hits, hits))
        with pytest.raises(DataError, match=r"1\.\.2"):
            LOSSES[name](output, hits, hits.replace(category=torch.full((5,), 3, dtype=torch.int8)))


def test_parts_sum_to_the_loss_and_are_told_raw_and_scaled(hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    for name, kind in [*((name, PointSet) for name in SET_LOSSES), ("sequence", CellSequence)]:
        output, _ = random_output(kind, target)
        weights = {"position_weight": 2.0, "presence_weight": 3.0, "category_weight": 0.5}
        loss = build_loss(LossSettings(name=name, options=weights))
        parts = loss.parts(output, hits, target)
        assert {part: value.weight for part, value in parts.items()} == dict(
            position=2.0, presence=3.0, category=0.5
        )  # fmt: skip
        assert number(total(parts)) == pytest.approx(number(loss(output, hits, target)))
        assert all(number(part.scaled) == part.weight * number(part.raw) for part in parts.values())


def test_parts_of_a_weighted_sum(hits):
    output, _ = random_output(PointSet, hits)
    terms = [LossTerm(name="set", weight=2.0), LossTerm(name="chamfer"), LossTerm(name="overlap", weight=0.1)]
    loss = build_loss(LossSettings(name="weighted_sum", terms=terms))
    parts = loss.parts(output, hits, hits)
    assert set(parts) == {"set_position", "set_presence", "chamfer_position", "chamfer_presence", "overlap"}
    assert parts["set_position"].weight == 10.0
    assert number(loss(output, hits, hits)) == pytest.approx(number(total(parts)))


def test_sequence_is_the_slow_sum_over_the_steps(hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    output, (presence, position, categories) = random_output(CellSequence, target)
    expected, row, step = 0.0, 0, 0
    for count in hits.counts.tolist():
        for _ in range(count):
            p = [math.exp(number(value)) for value in categories[row]]
            kind = int(target.category[row]) - 1
            expected -= math.log(1 / (1 + math.exp(-number(presence[step]))))
            expected -= math.log(1 / (1 + math.exp(-number(position[row]))))
            expected -= (1.5, 0.5)[kind] * math.log(p[kind] / sum(p))
            row, step = row + 1, step + 1
        expected -= math.log(1 - 1 / (1 + math.exp(-number(presence[step]))))
        step += 1
    loss = LOSSES["sequence"](output, target, target, category_weights=(1.5, 0.5))
    assert number(loss) == pytest.approx(expected / 3)
    sure = [torch.where(output.told.present, 60.0, -60.0), position * 0 + 60, categories * 0]
    sure[2][torch.arange(5), target.category.long() - 1] = 60
    assert number(LOSSES["sequence"](told_of(target, *sure), target, target)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [*SET_LOSSES, "overlap"])
def test_set_losses_vanish_at_a_perfect_reconstruction(name, hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    pos, presence = torch.full((3, 6, 3), 9.0).double(), torch.full((3, 6), -60.0).double()
    categories = torch.zeros(3, 6, 2).double()
    for event, slot, row in ((0, 4, 0), (0, 1, 1), (0, 2, 2), (2, 0, 3), (2, 5, 4)):  # in any order
        pos[event, slot], presence[event, slot] = target.pos[row].double(), 60.0
        categories[event, slot, target.category[row].long() - 1] = 60.0
    pos.requires_grad_()
    loss = LOSSES[name](PointSet(pos, presence, categories, torch.ones(3)), target, target)
    assert number(loss) == pytest.approx(0, abs=1e-12)
    loss.backward()
    if name == "overlap":
        assert float(pos.grad.abs().max()) < 1e-12


def test_overlap_is_the_slow_sum_over_pairs_and_bounded(hits):
    output, _ = random_output(PointSet, hits, slots=5)
    close = PointSet(2 + (output.pos - 2) * 0.3, output.presence, output.categories, output.reach)
    expected = 0.0
    for pos, presence in zip(close.pos.tolist(), close.presence.sigmoid().tolist(), strict=True):
        for i in range(5):
            for j in range(i):
                square = sum((a - b) ** 2 for a, b in zip(pos[i], pos[j], strict=True))
                expected += presence[i] * presence[j] * max(0.0, 1 - square) ** 2 / 3
    assert expected > 0.1
    assert number(LOSSES["overlap"](close, hits, hits)) == pytest.approx(expected)
    worst = PointSet(close.pos * 0, close.presence * 0 + 99, close.categories, close.reach)
    assert number(LOSSES["overlap"](worst, hits, hits)) == pytest.approx(5 * 4 / 2)


def test_points_that_diverged_give_nan_rather_than_a_crash(hits):
    output, _ = random_output(PointSet, hits)
    broken = PointSet(output.pos * torch.nan, output.presence, output.categories, output.reach)
    for name in SET_LOSSES:
        assert LOSSES[name](broken, hits, hits).isnan()


def test_more_hits_than_points(hits):
    output, _ = random_output(PointSet, hits, slots=1)
    for name in SET_LOSSES:
        assert LOSSES[name](output, hits, hits).isfinite()
