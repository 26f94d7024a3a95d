"""Each small input that was once read wrongly or refused without need: what reading it gives. What tools make of them
stands beside those of their subjects."""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path

import pytest
import torch

from pointae.errors import ComponentError, DataError
from pointae.io import read_hits

CASES = Path(__file__).parent / "data" / "cases"
ONE_TABLE = {
    "bracket.csv": ("tot [ns]",),
    "bracket_close.csv": ("E[/keV]",),
    "big_ints.csv": ("tot", "toa_ps", "cluster_id"),
    "cr_only.csv": ("tot",),
    "event_and_event_id.csv": ("event", "tot"),
    "nan_feature.csv": ("tot",),
    "pandas_index.csv": ("", "tot"),
    "plain.csv.gz": ("tot",),
    "savetxt.csv": ("tot",),
    "semicolon.csv": ("tot",),
    "spaces.csv": ("tot",),
    "tab.csv": ("tot",),
    "timestamp.parquet": ("tot", "when"),
}
"""The same hits in many dresses, and which of their columns are the user's."""
READ = {
    "all_noise.csv": (20, 200), "rare_signal.csv": (20, 210), "float64.csv": (3, 50), "leak_index.csv": (200, 6000),
    "lab_a.csv": (20, 600), "lab_b.csv": (20, 600), "lab_c.csv": (20, 600),
    "own_a.csv": (20, 600), "own_b.csv": (20, 566), "single_hit_event.csv": (11, 301),
    "filtered.parquet": (11, 384), "long_feature.h5": (12, 386), "userblock.h5": (12, 386),
    "tpx_pause15.tpx3": (3, 3), "tpx_pause30.tpx3": (2, 2), "tpx_tdc.tpx3": (5, 300),
}  # fmt: skip
"""Events and hits of the others."""
ROBOTS = ("rob.csv", "rob_tiny.csv")
REFUSED = {
    "blosc.h5": (ComponentError, "filter 'blosc'.*pip install hdf5plugin"),
    "compound.h5": (DataError, "found hits .a table of event, x, y, t"),
    "float_time_ns.csv": (DataError, "t = '57.36.*' in line 2 is not a whole number"),
    "groups.h5": (DataError, "found event_0000 .a group"),
    "hits.root": (DataError, "is ROOT.*uproot"),
    "lists.parquet": (DataError, "x holds list<.*one row a hit"),
    "named.csv": (DataError, "--columns x=col,y=row,t=toa"),
    "tpx_cut_chunk.tpx3": (DataError, "80 of its 88 bytes.*--on-bad skip"),
}


def plain_rows() -> list[list[str]]:
    """The table that the others dress up, by the csv module alone."""
    with gzip.open(CASES / "plain.csv.gz", "rt") as file:
        return list(csv.reader(file))[1:]


def test_no_case_is_left_out():
    known = {*ONE_TABLE, *READ, *ROBOTS, *REFUSED}
    assert {path.name for path in CASES.iterdir()} - {"README.md"} == known


@pytest.mark.parametrize("name", ONE_TABLE)
def test_the_same_table_in_any_dress(name):
    rows = plain_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hits = read_hits(CASES / name)
    assert hits.coords.tolist() == [[int(cell) for cell in row[1:4]] for row in rows]
    assert hits.signal.tolist() == [row[4] == "1" for row in rows]
    assert hits.batch.tolist() == [list(dict.fromkeys(row[0] for row in rows)).index(row[0]) for row in rows]
    assert tuple(hits.carried.names) == ONE_TABLE[name]
    assert hits.feature_names == ()


@pytest.mark.parametrize("name", READ)
def test_events_and_hits(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hits = read_hits(CASES / name)
    assert (hits.batch_size, hits.num_hits) == READ[name]


@pytest.mark.parametrize("name", ROBOTS)
def test_robots(name):
    with open(CASES / name, newline="") as file:
        grids = [[float(cell) for cell in row[-1331:]] for row in csv.reader(file)]
    hits = read_hits(CASES / name)
    assert hits.counts.tolist() == [sum(cell > 0 for cell in grid) for grid in grids]
    full = torch.zeros(len(grids), 11, 11, 11)
    x, y, z = hits.coords.long().unbind(1)
    full[hits.batch, x, y, z] = hits.category.float()
    assert torch.equal(full.flatten(1), torch.tensor(grids))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_says_why(name):
    error, told = REFUSED[name]
    with pytest.raises(error, match=told) as caught:
        read_hits(CASES / name)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
