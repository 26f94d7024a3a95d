"""Robots: generated, cleaned, split."""

from __future__ import annotations

import pytest
import torch

from pointae.config import RobotSource, SplitShares
from pointae.config_files import load_config
from pointae.data.events import SPLITS, EventData
from pointae.data.robots import different_robots, split_robots
from pointae.errors import DataError
from pointae.geometry import robot_geometry
from pointae.hits import HitBatch
from pointae.robots import cleaned, first_of_each, symmetric_robots, turned_robots, valid_robots
from pointae.simulate import simulate_events

SOURCE = RobotSource()


def robots_of(*robots: list[tuple[int, int, int, int]]) -> HitBatch:
    """Robots from lists of (x, y, z, kind)."""
    voxels = torch.tensor([voxel for robot in robots for voxel in robot], dtype=torch.int32).reshape(-1, 4)
    offsets = torch.tensor([0, *map(len, robots)]).cumsum(0)
    return HitBatch(robot_geometry(), voxels[:, :3], offsets, category=voxels[:, 3].to(torch.int8))


def as_sets(hits: HitBatch) -> list[frozenset[tuple[int, ...]]]:
    """Each robot as a set of (x, y, z, kind): slow and obvious."""
    voxels = torch.cat([hits.coords, hits.category[:, None].int()], 1).tolist()
    return [frozenset(map(tuple, voxels[a:b])) for a, b in zip(hits.offsets, hits.offsets[1:], strict=False)]


@pytest.fixture(scope="module")
def generated() -> HitBatch:
    return simulate_events(SOURCE, 5, torch.arange(3000))


# ---- generator ---------------------------------------------------------------------------------------------


def test_generated_robots_are_as_told(generated):
    robots = cleaned(generated)
    assert bool(valid_robots(generated).all())
    assert set(generated.counts.tolist()) == set(range(1, 9))
    assert float(((robots.counts >= 3) & (robots.counts <= 6)).double().mean()) > 0.7
    shares = torch.bincount(robots.category.long(), minlength=5) / robots.num_hits
    assert shares.tolist() == pytest.approx([0, 0.55, 0.25, 0.15, 0.05], abs=0.02)
    assert float(symmetric_robots(robots).double().mean()) == pytest.approx(0.4, abs=0.04)
    far = (robots.coords - 5).abs().amax(1) >= 3
    wheels = robots.category == 1
    assert float(wheels[far].double().mean()) > float(wheels[~far].double().mean()) + 0.1


def test_a_robot_is_the_same_in_any_batch(generated):
    alone = [simulate_events(SOURCE, 5, torch.tensor([number])) for number in (0, 7, 2999)]
    assert as_sets(HitBatch.concat(alone)) == [as_sets(generated)[number] for number in (0, 7, 2999)]
    assert as_sets(simulate_events(SOURCE, 6, torch.arange(50))) != as_sets(generated)[:50]
    assert simulate_events(SOURCE, 5, torch.arange(0)).batch_size == 0


def test_duplicates_and_empties_are_injected_on_request():
    source = RobotSource(duplicates=0.5, empties=0.1)
    robots = as_sets(simulate_events(source, 5, torch.arange(2000)))
    empty = sum(not robot for robot in robots)
    assert empty / 2000 == pytest.approx(0.2, abs=0.04)  # half of the robots may be empty, a tenth of all is
    seen: set[frozenset] = set()
    repeats = [robot in seen or seen.add(robot) for robot in robots]
    assert sum(map(bool, repeats)) / 2000 > 0.5


# ---- what a robot is ---------------------------------------------------------------------------------------

CASES = {
    "beside the centre": ([(5, 5, 6, 1)], True),
    "two from the centre along each axis": ([(7, 3, 7, 4)], True),
    "three from the centre": ([(8, 5, 5, 1)], False),
    "a limb that leads there": ([(7, 5, 5, 1), (9, 5, 5, 1)], True),
    "two far away that hold each other": ([(0, 0, 0, 1), (2, 2, 2, 1)], True),
    "two in a cell": ([(5, 5, 6, 1), (5, 5, 6, 2)], False),
    "none": ([], False),
    "eight": ([(5, 5, z, 1) for z in range(1, 9)], True),
    "nine": ([(5, 5, z, 1) for z in range(1, 10)], False),
}


@pytest.mark.parametrize("case", CASES)
def test_validity(case):
    robot, valid = CASES[case]
    together = robots_of([(5, 5, 5, 1)], robot, [])
    assert valid_robots(together).tolist() == [True, valid, False]
    assert valid_robots(robots_of(robot)).tolist() == [valid]


def test_validity_of_an_empty_batch():
    assert valid_robots(HitBatch.empty(robot_geometry())).shape == (0,)


def test_symmetry_wants_the_same_kinds():
    pair = [(3, 5, 5, 1), (7, 5, 5, 1)]
    other = [(3, 5, 5, 1), (7, 5, 5, 2)]
    assert symmetric_robots(robots_of(pair, other, [(5, 1, 1, 3)], [(4, 5, 5, 1)])).tolist() == [1, 0, 1, 0]


def test_cleaning_against_a_loop_over_sets(generated):
    copies = generated.events(torch.arange(300) * 7 % 90)
    empty = HitBatch.concat([copies.events([3]), robots_of([]).replace(event_id=torch.zeros(1, dtype=torch.int64))])
    robots = HitBatch.concat([empty, copies, empty])
    kept, seen = [], set()
    for number, robot in enumerate(as_sets(robots)):
        if robot and robot not in seen:
            kept.append(number)
            seen.add(robot)
    assert as_sets(cleaned(robots)) == [as_sets(robots)[number] for number in kept]
    assert cleaned(robots).event_id.tolist() == robots.event_id[kept].tolist()


def test_equal_robots_are_equal_in_any_order_of_voxels():
    robot = [(5, 5, 6, 1), (5, 6, 5, 2), (4, 5, 5, 3)]
    assert first_of_each(robots_of(robot, robot[::-1], robot[:2], [], [])).tolist() == [1, 0, 1, 1, 0]
    assert first_of_each(robots_of([], [])).tolist() == [1, 0]
    assert cleaned(robots_of([], [])).batch_size == 0


# ---- splits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("robots", "sizes"),
    [(27_017, (18_911, 2_702, 5_404)), (280_375, (196_262, 28_038, 56_075)), (1000, (700, 100, 200))],
)
def test_sizes_of_the_splits(robots, sizes):
    parts = split_robots(robots, SplitShares(train=0.7, validation=0.1, test=0.2), 1.0, seed=1)
    assert tuple(map(len, parts)) == sizes
    assert torch.cat(parts).sort().values.tolist() == list(range(robots))


def test_sizes_are_those_of_scikit_learn():
    from sklearn.model_selection import train_test_split

    for robots in range(20, 60):
        rest, test = train_test_split(range(robots), test_size=0.2)
        train, validation = train_test_split(rest, test_size=0.125)
        parts = split_robots(robots, SplitShares(train=0.7, validation=0.1, test=0.2), 1.0, seed=1)
        assert tuple(map(len, parts)) == (len(train), len(validation), len(test))


def test_a_toy_set_is_part_of_the_training_split_alone():
    shares = SplitShares(train=0.7, validation=0.1, test=0.2)
    whole, toy = (split_robots(27_017, shares, subset, seed=1) for subset in (1.0, 0.2))
    assert len(toy[0]) == round(0.2 * 18_911)
    assert set(toy[0].tolist()) < set(whole[0].tolist())
    assert all(torch.equal(a, b) for a, b in zip(toy[1:], whole[1:], strict=True))


def test_the_data_of_a_config():
    config = load_config("configs/_base_/data/robots.yaml", ["data.source.robots=200"])
    data = EventData(config.data, 1)
    assert [data.num_events(split) for split in SPLITS] == [140, 20, 40]
    assert data.geometry == robot_geometry()
    parts = [data.all_events(split) for split in SPLITS]
    robots = {robot for part in parts for robot in as_sets(part.hits)}
    assert len(robots) == 200
    assert robots == set(as_sets(different_robots(config.data.source, 1)))
    assert all(as_sets(part.hits) == as_sets(part.target) for part in parts)
    again = EventData(config.data, 1).all_events("train")
    assert as_sets(again.hits) == as_sets(parts[0].hits)


def test_too_few_robots_to_split():
    config = load_config("configs/_base_/data/robots.yaml", ["data.source.robots=1"])
    with pytest.raises(DataError, match="no events of 1 are left for train"):
        EventData(config.data, 1)


# ---- turned ------------------------------------------------------------------------------------------------


def test_turned_robots_are_the_slow_mirrors_and_stay_what_they_are(generated):
    few = generated.events(slice(0, 200))
    for way in range(16):
        turned = turned_robots(few, torch.full((200,), way))
        for before, after in zip(as_sets(few), as_sets(turned), strict=True):
            expected = set()
            for x, y, z, kind in before:
                x, y, z = (10 - c if way >> axis & 1 else c for axis, c in enumerate((x, y, z)))
                expected.add((x, z, y, kind) if way & 8 else (x, y, z, kind))
            assert after == expected
        assert bool(valid_robots(turned).all())
        assert torch.equal(symmetric_robots(turned), symmetric_robots(few))
    assert turned_robots(few.events([]), torch.zeros(0, dtype=torch.int64)).batch_size == 0


def test_training_robots_turn_with_the_epoch_and_no_others_do():
    config = load_config("configs/robots/attention_set.yaml", ["data.source.robots=300", "data.source.turn=true"])
    plain = load_config("configs/robots/attention_set.yaml", ["data.source.robots=300", "data.source.turn=false"])
    turning, still = EventData(config.data, 1), EventData(plain.data, 1)
    rows = torch.arange(100)
    train = [turning.source.events("train", rows, epoch) for epoch in (1, 2, 2)]
    assert torch.equal(train[1].coords, train[2].coords)
    assert not torch.equal(train[0].coords, train[1].coords)
    alone = turning.source.events("train", rows[40:41], 2)
    assert as_sets(alone) == as_sets(train[1])[40:41]
    assert torch.equal(train[0].category, still.source.events("train", rows, 1).category)
    for split in ("validation", "test"):
        assert as_sets(turning.all_events(split).hits) == as_sets(still.all_events(split).hits)
