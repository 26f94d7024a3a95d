"""Robots on disk: tables without a header, whole, combined, cached, and what is refused."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from pointae.config import DataSettings, RobotSource
from pointae.config_files import load_config
from pointae.data import robots as robots_of_data
from pointae.data.events import EventData
from pointae.data.export import write_dataset
from pointae.data.robots import different_robots
from pointae.errors import ConfigError, DataError
from pointae.geometry import robot_geometry
from pointae.hits import HitBatch
from pointae.io import read_attributes, read_blocks, read_hits, write_hits
from pointae.io.summary import summarise
from pointae.simulate import simulate_events

CELLS = 11**3


def grid(*voxels: tuple[int, int]) -> list[int]:
    """1331 cells, empty but for (cell, kind)."""
    cells = [0] * CELLS
    for cell, kind in voxels:
        cells[cell] = kind
    return cells


def table(path: Path, *rows: list[object]) -> Path:
    path.write_text("".join(f"{','.join(map(str, row))}\n" for row in rows))
    return path


def slowly_read(path: Path) -> list[tuple[str, np.ndarray]]:
    """Ids and grids by the csv module: slow and obvious."""
    with open(path, newline="") as file:
        return [
            (row[-CELLS - 2], np.array([int(float(v)) for v in row[-CELLS:]]).reshape(11, 11, 11))
            for row in csv.reader(file)
        ]


def dense(hits: HitBatch) -> np.ndarray:
    cells = np.zeros((hits.batch_size, 11, 11, 11), int)
    cells[(hits.batch.numpy(), *hits.coords.numpy().T)] = hits.category.numpy()
    return cells


def check_against_slow(path: Path) -> HitBatch:
    hits, truth = read_hits(path), slowly_read(path)
    assert hits.event_id == tuple(name for name, _ in truth)
    assert np.array_equal(dense(hits), np.array([cells for _, cells in truth]).reshape(-1, 11, 11, 11))
    assert hits.geometry == robot_geometry()
    return hits


# ---- reading and writing -----------------------------------------------------------------------------------


def test_generated_robots_survive_a_table(tmp_path):
    source = RobotSource(duplicates=0.3, empties=0.05)
    path = tmp_path / "robots.csv"
    manifest = write_dataset(path, DataSettings(source=source), 700, seed=3)
    hits, truth = check_against_slow(path), simulate_events(source, 3, torch.arange(700))
    assert np.array_equal(dense(hits), dense(truth))
    assert hits.event_id == tuple(map(str, range(700)))
    assert manifest["empty_events"] == int((hits.counts == 0).sum()) > 0
    assert path.read_text().count("\n") == 700
    blocks = list(read_blocks(path, 300))
    assert [block.batch_size for block in blocks] == [300, 300, 100]
    assert np.array_equal(dense(HitBatch.concat(blocks)), dense(hits))
    write_hits(tmp_path / "robots.h5", hits)
    assert np.array_equal(dense(read_hits(tmp_path / "robots.h5")), dense(hits))


def test_cells_may_be_written_in_other_ways(tmp_path):
    plain, float_like = grid((0, 1), (1330, 4)), [f"{v}.0" for v in grid((7, 2))]
    spaced = [f" {v}" for v in grid((5, 3))]
    path = table(tmp_path / "a.csv", ["r 1", 0.5, *plain], ["007", "", *float_like], ["ü", "x", *spaced])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    hits = read_hits(path)
    assert hits.event_id == ("r 1", "007", "ü")
    assert hits.coords.tolist() == [[0, 0, 0], [10, 10, 10], [0, 0, 7], [0, 0, 5]]
    assert hits.category.tolist() == [1, 4, 2, 3]


def test_a_combined_file_has_an_index_and_a_file_name(tmp_path):
    first, second = grid((3, 1)), grid((4, 2))
    path = table(tmp_path / "a.csv", [0, '"a,b.csv"', "r1", 9, *first], [1, "c.csv", "r1", 9, *second])
    hits = read_hits(path)
    assert hits.event_id == ("r1", "r1")  # of two files: not one id for two robots
    assert hits.coords.tolist() == [[0, 0, 3], [0, 0, 4]]


def test_several_files_are_taken_together_cleaned_and_cached(tmp_path, monkeypatch):
    one, other = (
        simulate_events(RobotSource(), 1, torch.arange(60)),
        simulate_events(RobotSource(), 2, torch.arange(60)),
    )
    paths = [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.h5")]
    for path, hits in zip(paths, (one, HitBatch.concat([one, other]), other), strict=True):
        write_hits(path, hits.replace(event_id=tuple(f"r{i}" for i in range(hits.batch_size))))
    cache = tmp_path / "cleaned.h5"
    plain, cached = RobotSource(paths=paths), RobotSource(paths=paths, cache=str(cache))
    first = different_robots(cached, seed=1)
    assert 100 < first.batch_size <= 120
    assert np.array_equal(dense(first), dense(different_robots(plain, seed=1)))
    monkeypatch.setattr(robots_of_data, "_read", lambda paths: pytest.fail("the cache was not read"))
    again = different_robots(cached, seed=1)
    assert np.array_equal(dense(again), dense(first))
    assert again.event_id == first.event_id
    monkeypatch.undo()
    about = {name: read_attributes(cache)[name] for name in (robots_of_data.CLEANED, robots_of_data.DIGEST)}
    for spoilt in (first.events(slice(1, None)), first.replace(category=(first.category + 1) % 4)):
        write_hits(cache, spoilt, about)
        with pytest.raises(DataError, match=r"cleaned\.h5: was changed after it was written"):
            different_robots(cached, seed=1)
    write_hits(paths[0], other.events([0]))  # a file has changed: the cache is made anew
    assert different_robots(cached, seed=1).batch_size == different_robots(plain, seed=1).batch_size
    config = load_config("configs/_base_/data/robots.yaml", [f"data.source.paths={paths}"])
    data = EventData(config.data, 1)
    assert sum(data.num_events(split) for split in ("train", "validation", "test")) == first.batch_size


def test_a_file_of_something_else_is_no_cache(tmp_path):
    path, other = table(tmp_path / "a.csv", ["r", 0, *grid((3, 1))]), tmp_path / "mine.h5"
    write_hits(other, HitBatch.empty(robot_geometry(), 2))
    before = other.read_bytes()
    with pytest.raises(ConfigError, match="no cache of robots"):
        different_robots(RobotSource(paths=[str(path)], cache=str(other)), seed=1)
    assert other.read_bytes() == before


def test_the_attributes_name_the_grid(tmp_path):
    path = table(tmp_path / "a.csv", ["r", 0, *grid()])
    assert read_attributes(path)["spatial_shape"] == [11, 11, 11]
    assert read_hits(path).counts.tolist() == [0]


def test_a_packed_table_is_told_to_be_unpacked(tmp_path):
    path = table(tmp_path / "a.csv", ["r", 0, *grid()])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"is packed by gzip, not a robots table \(unpack it: gunzip\)"):
        read_hits(tmp_path / "a.csv.gz", geometry=robot_geometry())


def test_the_summary_of_robots(tmp_path):
    rows = [grid((3, 1), (4, 1), (5, 2)), grid((3, 1)), grid(), grid((3, 1)), grid((7, 4))]
    path = table(tmp_path / "a.csv", *([f"r{i}", 0, *cells] for i, cells in enumerate(rows)))
    for blocks in (read_blocks(path, 2), read_blocks(path, 100)):
        told = summarise(blocks)
        assert told["hits_per_event"] == {"min": 0, "median": 1, "mean": 1.2, "max": 3}
        assert (told["empty_events"], told["single_hit_events"], told["duplicate_events"]) == (1, 3, 1)
        assert told["different_events"] == 3  # what cleaning leaves
        assert told["hits_of_kind"] == {"wheel": 4, "sensor": 1, "joint": 0, "caster": 1}
        assert told["share_of_kind"] == pytest.approx({"wheel": 4 / 6, "sensor": 1 / 6, "joint": 0, "caster": 1 / 6})
        assert told["empty_cells"] == 5 * CELLS - 6
        assert told["share_of_empty_cells"] == pytest.approx(1 - 6 / 5 / CELLS)
    assert read_hits(path).batch_size == 5


def test_the_summary_of_nothing():
    told = summarise([HitBatch.empty(robot_geometry()).replace(category=torch.zeros(0, dtype=torch.int8))])
    assert (told["duplicate_events"], told["different_events"]) == (0, 0)
    assert (told["hits_of_kind"]["wheel"], told["share_of_kind"]["wheel"]) == (0, None)


# ---- bad input ---------------------------------------------------------------------------------------------

GOOD = ["r0", 0, *grid((3, 1))]
BAD = {
    "another width": ([["r1", 0, *grid()[1:]]], "line 2 has 1332 columns", "1333"),
    "one too many": ([["r1", 0, 0, *grid()]], "line 2 has 1334 columns", "1333"),
    "a combined row among others": ([[0, "f", "r1", 0, *grid()]], "line 2 has 1335 columns", "1333"),
    "above 4": ([["r1", 0, *grid((10, 5))]], "cell 11 of 1331 in line 2 is '5'", "0 to 4"),
    "negative": ([["r1", 0, *grid((10, -1))]], "line 2 is '-1'", "0 to 4"),
    "a fraction": ([["r1", 0, *grid((10, 1.5))]], "line 2 is '1.5'", "0 to 4"),
    "no number": ([["r1", 0, *grid((10, "nan"))]], "line 2 is 'nan'", "0 to 4"),
    "nothing": ([["r1", 0, *grid((1330, ""))]], "cell 1331 of 1331 in line 2 is ''", "0 to 4"),
    "nine voxels": ([["r1", 0, *grid(*((i, 1) for i in range(9)))]], "line 2 has 9 occupied voxels", "at most 8"),
    "an id twice": ([["r1", 0, *grid()], ["r0", 0, *grid((3, 2))]], "robot 'r0' of line 3", "line 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_told(tmp_path, case):
    rows, *told = BAD[case]
    check_refused(table(tmp_path / "a.csv", GOOD, *rows), *told)


def check_refused(path: Path, *told: str) -> None:
    for read in (read_hits, lambda path, **options: list(read_blocks(path, 1, **options))):
        with pytest.raises(DataError) as error:
            read(path, geometry=robot_geometry())
        line = str(error.value)
        assert line.startswith(str(path))
        assert error.value.fix
        assert all(words in line for words in told), line


def test_the_same_robot_twice_is_no_mistake(tmp_path):
    assert read_hits(table(tmp_path / "a.csv", GOOD, GOOD)).batch_size == 2


def test_a_bad_row_far_down_is_told_with_its_line(tmp_path):
    rows = [[f"r{i}", 0, *grid((i % CELLS, 1))] for i in range(1300)]
    rows[1234][500] = 7
    check_refused(table(tmp_path / "a.csv", *rows), "cell 499 of 1331 in line 1235 is '7'")


def test_files_that_hold_no_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("")
    check_refused(path, "empty")
    path.write_text("\n\n")
    check_refused(path, "has no rows", "1333")
    path.write_text("a,b\n1,2\n")
    check_refused(path, "line 1 has 2 columns", "1333")
    path.write_text("x" * 200_000)
    check_refused(path, "line 1 has more than 65,536 bytes")
    table(path, ["id", "more", *(f"c{i}" for i in range(CELLS))])
    check_refused(path, "cell 1 of 1331 in line 1 is 'c0'", "no header")


def test_a_source_without_robots(tmp_path):
    path = table(tmp_path / "a.csv", ["r0", 0, *grid()], ["r1", 0, *grid()])
    with pytest.raises(DataError, match="no robot is left of 2 rows"):
        different_robots(RobotSource(paths=[str(path)]), seed=1)
    write_hits(tmp_path / "a.h5", simulate_events(RobotSource(), 1, torch.arange(3)).replace(category=None))
    with pytest.raises(DataError, match="holds no robots"):
        different_robots(RobotSource(paths=[str(tmp_path / "a.h5")]), seed=1)
    with pytest.raises(DataError, match="no such file"):
        different_robots(RobotSource(paths=[str(tmp_path / "b.csv")]), seed=1)


def test_what_is_no_robot_is_not_written_as_one(tmp_path):
    nine = torch.tensor([[5, 5, z] for z in range(9)], dtype=torch.int32)
    hits = HitBatch(robot_geometry(), nine, torch.tensor([0, 9]), category=torch.ones(9, dtype=torch.int8))
    for wrong in (hits, hits.replace(category=None)):
        with pytest.raises(DataError):
            write_hits(tmp_path / "a.csv", wrong)
    assert list(tmp_path.iterdir()) == []
