"""Hits in Parquet tables, of pointae and of others."""

import sys

import numpy as np
import pytest
import torch
from hit_files import assert_same, hit_batches, quick, some_hits
from hypothesis import given

from pointae.errors import ComponentError, DataError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.io import open_writer, read_attributes, read_blocks, read_hits, write_hits

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

GRID = even_geometry((5, 4, 9))


def table(path, **columns):
    told = {"event": [7, 7, 3], "x": [1, 2, 3], "y": [0, 1, 2], "t": [5, 6, 7], **columns}
    parquet.write_table(arrow.table({name: values for name, values in told.items() if values is not None}), path)
    return path


def write_both(path, *blocks):
    with open_writer(path) as writer:
        for block in blocks:
            writer.append(block)


@quick
@given(hits=hit_batches())
def test_a_table_gives_back_events_with_hits_and_their_grid(tmp_path, hits):
    path = tmp_path / "hits.parquet"
    report = write_hits(path, hits, {"seed": 3})
    full = hits.counts.nonzero()[:, 0]
    assert report.events_lost == hits.batch_size - len(full)
    numbered = hits.replace(event_id=torch.arange(hits.batch_size)) if hits.event_id is None else hits
    got = read_hits(path)
    assert_same(got, numbered.events(full), ("hit_id",) if hits.hit_id is None else ())
    assert_same(HitBatch.concat(list(read_blocks(path, 2))), got)
    assert read_attributes(path)["seed"] == 3


def test_blocks_become_one_table_and_nothing_is_left_of_a_failure(tmp_path):
    hits = some_hits((3, 1, 4, 1, 5), hit_id=torch.arange(14), event_id=tuple("abcde"))
    write_both(tmp_path / "a.parquet", *(hits.events(slice(first, first + 2)) for first in range(0, 5, 2)))
    assert_same(read_hits(tmp_path / "a.parquet"), hits)
    with pytest.raises(DataError, match="same fields"):
        write_both(tmp_path / "b.parquet", hits, hits.replace(hit_id=None))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    write_hits(tmp_path / "empty.parquet", HitBatch.empty(GRID))
    assert read_hits(tmp_path / "empty.parquet").batch_size == 0


@pytest.mark.parametrize("labels", [[7, 3, 7], ["b", "a", "b"]])
def test_a_table_of_others(tmp_path, labels):
    """Scattered rows, other names and types, row groups, a column of text codes left as a dictionary."""
    path = table(
        tmp_path / "a.parquet", event=None, x=None, evt=labels, col=np.array([1, 2, 3], np.uint16), tot=[0.5, 1.5, 2.5]
    )
    hits = read_hits(path, geometry=GRID, columns={"event": "evt", "x": "col"}, features=["tot"])
    assert hits.coords.tolist() == [[1, 0, 5], [3, 2, 7], [2, 1, 6]]
    assert hits.hit_id.tolist() == [0, 2, 1]
    assert hits.features.tolist() == [[0.5], [2.5], [1.5]]
    assert hits.feature_names == ("tot",)
    ids = hits.event_id if isinstance(hits.event_id, tuple) else hits.event_id.tolist()
    assert list(ids) == labels[:2]
    assert read_attributes(path)["columns"] == ["y", "t", "evt", "col", "tot"]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"t": None}, "has no column t; found event, x, y"),
        ({"x": [1, None, 3]}, "x is empty in 1 of 3 rows"),
        ({"x": [1.0, 2.0, 3.0]}, "x must be whole numbers of an integer type, got float64"),
        ({"x": [1, 2, 1 << 40]}, "does not fit int32"),
        ({"x": [1, 2, 5]}, r"x = 5 is outside the grid.*hit 0 of event 1"),
        ({"tot": ["a", "b", "c"]}, "'tot' must be real numbers, got objects"),
        ({"tot": [1.0, float("nan"), 2.0]}, "feature 'tot' is not finite: hit 1 of event 0"),
        ({"signal": [0, 1, 2]}, "signal must be true or false"),
        ({"event": [1.5, 2.5, 3.5]}, "event must be whole numbers"),
        ({"event": [[1], [2], [3]]}, "event must be whole numbers or strings"),
    ],
)
def test_wrong_columns_are_told_in_one_line(tmp_path, columns, told):
    path = table(tmp_path / "a.parquet", **columns)
    with pytest.raises(DataError, match=told) as error:
        read_hits(path, geometry=GRID, features=["tot"])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_files(tmp_path):
    path = table(tmp_path / "a.parquet")
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:60], b"PAR1" + bytes(200), whole[:-8] + b"\xff\xff\xff\x7fPAR1"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
            read_hits(path)
    path.write_bytes(b"event,x,y,t\n")
    with pytest.raises(DataError, match="not as Parquet does"):
        read_hits(path)


def test_a_small_file_of_very_many_rows_is_refused(tmp_path):
    rows = arrow.array(np.zeros(20_000_000, np.int8))
    parquet.write_table(arrow.table({name: rows for name in ("event", "x", "y", "t")}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 20
    with pytest.raises(DataError, match="declares 160,000,000 bytes"):
        read_hits(tmp_path / "a.parquet")


def test_without_pyarrow_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    path = table(tmp_path / "a.parquet")
    monkeypatch.setattr("pointae.optional.is_installed", lambda module: module != "pyarrow")
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ComponentError, match=r"not installed .*\[parquet\]"):
        read_hits(path)
    with pytest.raises(ComponentError, match=r"\[parquet\]"):
        write_hits(tmp_path / "b.parquet", some_hits())
    assert not (tmp_path / "b.parquet").exists()
