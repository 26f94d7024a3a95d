"""Every format gives back the hits it was given, whole or in blocks, or says what it could not hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hit_files import assert_same, hit_batches, quick, some_hits
from hypothesis import given
from hypothesis import strategies as st

from pointae.errors import DataError, StorageError, UsageError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.io import FORMATS, open_writer, read_attributes, read_blocks, read_hits, write_hits

TABLES = [".h5", ".npz", ".csv"]


@pytest.mark.parametrize("ending", [".h5", ".npz"])
@quick
@given(hits=hit_batches(), block=st.integers(1, 3))
def test_native_files_give_back_what_they_were_given(tmp_path, ending, hits, block):
    path = tmp_path / f"hits{ending}"
    write_hits(path, hits, {"seed": 3, "generator": {"noise": [1, 2]}})
    assert_same(read_hits(path), hits)
    assert_same(HitBatch.concat(list(read_blocks(path, block))), hits)
    stated = read_attributes(path)
    assert (stated["format"], stated["seed"], stated["generator"]) == ("pointae-hits", 3, {"noise": [1, 2]})
    assert tuple(stated["spatial_shape"]) == hits.geometry.spatial_shape


@quick
@given(hits=hit_batches(), block=st.integers(1, 3))
def test_tables_give_back_events_with_hits(tmp_path, hits, block):
    path = tmp_path / "hits.csv"
    report = write_hits(path, hits)
    full = hits.counts.nonzero()[:, 0]
    assert report.events_lost == hits.batch_size - len(full)
    numbered = hits.replace(event_id=torch.arange(hits.batch_size)) if hits.event_id is None else hits
    wanted = numbered.events(full)
    # Labels that read as whole numbers become numbers.
    loose = ("hit_id",) if hits.hit_id is None else ()
    loose += ("event_id",) if isinstance(hits.event_id, tuple) else ()
    options = {"geometry": hits.geometry, "features": hits.feature_names}
    read = read_hits(path, **options)
    blocks = HitBatch.concat(list(read_blocks(path, block, **options)))
    for got in (read, blocks):
        assert got.batch_size == wanted.batch_size
        # Without hits a table has no column to tell the type of its events from.
        if wanted.batch_size:
            assert_same(got, wanted, loose)
    if isinstance(hits.event_id, tuple) and full.numel():
        labels = read.event_id if isinstance(read.event_id, tuple) else tuple(map(str, read.event_id.tolist()))
        assert labels == wanted.event_id


@pytest.mark.parametrize("ending", [".h5", ".csv", ".npz"])
def test_blocks_are_whole_events_and_can_be_written_again(tmp_path, ending):
    hits = some_hits((3, 1, 4, 1, 5, 2, 6), hit_id=torch.arange(22), event_id=tuple("abcdefg"))
    write_hits(tmp_path / f"a{ending}", hits)
    with open_writer(tmp_path / f"b{ending}") as writer:
        for block in read_blocks(tmp_path / f"a{ending}", 3):
            assert block.batch_size in (3, 1)
            writer.append(block)
    assert writer.report.hits == 22
    assert_same(read_hits(tmp_path / f"b{ending}", geometry=hits.geometry), hits)
    if ending == ".csv":
        assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_attributes_of_every_kind(tmp_path):
    given = {
        "text": "µ",
        "long": "x" * 200_000,
        "n": None,
        "list": [1.5, 2.0],
        "mixed": [1, "a"],
        "none": [],
        "t": True,
    }
    for ending in (".h5", ".npz"):
        write_hits(tmp_path / f"a{ending}", some_hits(), given)
        stated = read_attributes(tmp_path / f"a{ending}")
        assert {name: stated[name] for name in given} == given


def test_foreign_arrays_of_other_types_and_byte_orders(tmp_path):
    hits = some_hits(signal=torch.tensor([True, False, True, True, False]))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["coords"] = hits.coords.numpy().astype(">u8")
        file["offsets"] = hits.offsets.numpy().astype("u2")
        file["signal"] = hits.signal.numpy().astype("u1")
        file["features"] = np.arange(10.0).reshape(5, 2).astype(">f8")
        file.create_dataset("track", data=np.arange(5, dtype="i8"), chunks=(2,), compression="gzip")
    arrays = {name: np.asfortranarray(file) for name, file in h5py.File(tmp_path / "a.h5").items()}
    np.savez(tmp_path / "b.npz", **arrays)
    for name in ("a.h5", "b.npz"):
        read = read_hits(tmp_path / name, geometry=hits.geometry)
        assert torch.equal(read.coords, hits.coords)
        assert torch.equal(read.signal, hits.signal)
        assert read.track.tolist() == [0, 1, 2, 3, 4]
        assert read.feature_names == ("feature_0", "feature_1")
        assert read.features[4].tolist() == [8, 9]


def test_a_file_that_states_its_grid_keeps_it(tmp_path):
    hits, other = some_hits(), even_geometry((88, 128, 1000))
    write_hits(tmp_path / "a.h5", hits)
    assert read_hits(tmp_path / "a.h5", geometry=other).geometry == hits.geometry
    np.savez(tmp_path / "b.npz", coords=hits.coords, offsets=hits.offsets)
    write_hits(tmp_path / "c.csv", hits)
    for name in ("b.npz", "c.csv"):
        assert "spatial_shape" not in read_attributes(tmp_path / name)
        assert read_hits(tmp_path / name, geometry=other).geometry == other
        tight = tuple((hits.coords.amax(0) + 1).tolist())
        assert read_hits(tmp_path / name).geometry.spatial_shape == tight
        assert next(read_blocks(tmp_path / name, 1)).geometry.spatial_shape == tight


@pytest.mark.parametrize("ids", [None, [40, 41, 50, 51, 60]])
def test_scattered_rows_are_grouped_and_go_back_in_order(tmp_path, ids):
    head, lines = "event,x,y,t", ["b,1,2,3", "a,4.0,5,6", "b,0,0,0", "c,1,1,1", "a,2,2,2"]
    if ids:
        head, lines = f"{head},hit_id", [f"{line},{i}" for line, i in zip(lines, ids, strict=True)]
    (tmp_path / "a.csv").write_text("\ufeff" + "\r\n".join([head, *lines]) + "\r\n\r\n", encoding="utf-8")
    hits = read_hits(tmp_path / "a.csv")
    assert hits.event_id == ("b", "a", "c")
    assert hits.coords.tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 6], [2, 2, 2], [1, 1, 1]]
    assert hits.hit_id.tolist() == ([40, 50, 41, 60, 51] if ids else [0, 2, 1, 4, 3])
    with open_writer(tmp_path / "b.csv") as writer:
        for block in read_blocks(tmp_path / "a.csv", 2):
            writer.append(block)
    rows = (tmp_path / "b.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["b", "a", "b", "c", "a"]


def test_rows_of_whole_events_stay_where_they_are(tmp_path):
    """Also where the user's hit_id descends or starts anew in each event."""
    for ids in ([7, 8, 1, 2], [0, 1, 0, 1], [9, 8, 7, 6]):
        text = "event,x,y,t,hit_id\n" + "".join(f"{e},1,2,3,{i}\n" for e, i in zip("5533", ids, strict=True))
        (tmp_path / "a.csv").write_text(text)
        write_hits(tmp_path / "b.csv", read_hits(tmp_path / "a.csv"))
        assert (tmp_path / "b.csv").read_text() == text


def test_columns_by_other_names(tmp_path):
    (tmp_path / "a.csv").write_text("evt,col,row,tof,tot\n7,1,2,3,0.5\n")
    hits = read_hits(tmp_path / "a.csv", columns={"event": "evt", "x": "col", "y": "row", "t": "tof"}, features=["tot"])
    assert hits.coords.tolist() == [[1, 2, 3]]
    assert (hits.event_id.tolist(), hits.feature_names, hits.features.tolist()) == ([7], ("tot",), [[0.5]])


@quick
@given(cells=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.booleans()), max_size=12))
def test_duplicates(tmp_path, cells):
    event, cell, signal = zip(*sorted(cells, key=lambda c: c[0]), strict=True) if cells else ((), (), ())
    coords = torch.tensor([[c, 0, 0] for c in cell], dtype=torch.int32).view(-1, 3)
    hits = HitBatch.from_batch_index(
        even_geometry((3, 1, 1)), coords, torch.tensor(event).long(), 2, signal=torch.tensor(signal, dtype=torch.bool)
    )
    path = tmp_path / "a.h5"
    write_hits(path, hits)
    assert_same(read_hits(path, duplicates="keep"), hits)
    best: dict[tuple[int, int], int] = {}
    for row, key in enumerate(zip(event, cell, strict=True)):
        if key not in best or (signal[row] and not signal[best[key]]):
            best[key] = row
    keep = torch.zeros(len(cell), dtype=torch.bool)
    keep[list(best.values())] = True
    assert_same(read_hits(path, duplicates="merge"), hits.select(keep))
    if len(best) == len(cell):
        assert_same(read_hits(path, duplicates="error"), hits)
    else:
        with pytest.raises(DataError, match="used twice"):
            read_hits(path, duplicates="error")


# ---- writing --------------------------------------------------------------------------------------------


def _write_two(path: Path, second: HitBatch | None) -> None:
    with open_writer(path) as writer:
        writer.append(some_hits())
        if second is None:
            raise RuntimeError("the model failed")
        writer.append(second)


@pytest.mark.parametrize("ending", [*TABLES, ".pt", ""])
def test_a_failure_leaves_what_was_there(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    if ending:
        path.write_text("older")
    for second, told in ((None, "model failed"), (some_hits(shape=(9, 9, 9)), "same grid")):
        with pytest.raises((RuntimeError, DataError), match=told):
            _write_two(path, second)
        assert [p.name for p in tmp_path.iterdir()] == ([path.name] if ending else [])
        assert not ending or path.read_text() == "older"
    with pytest.raises(StorageError, match="does not exist"):
        write_hits(tmp_path / "no" / f"out{ending}", some_hits())
    assert [p.name for p in tmp_path.iterdir()] == ([path.name] if ending else [])


FULL_DISK = """
import resource, signal, sys, torch
from pointae.errors import PointaeError
from pointae.hits import HitBatch
from pointae.io import write_hits
from pointae.geometry import deepclean3d_geometry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
coords = torch.randint(0, 88, (40_000, 3)).int()
hits = HitBatch(deepclean3d_geometry(), coords, torch.tensor([0, 40_000]))
for path in sys.argv[1:]:
    try:
        write_hits(path, hits)
    except PointaeError as error:
        print(error.exit_code, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by means of Linux")
def test_a_disk_without_room_is_told_and_leaves_what_was_there(tmp_path):
    files = [tmp_path / f"out{ending}" for ending in (*TABLES, ".pt", ".npy")]
    for file in files:
        file.write_text("older")
    paths = [*files, tmp_path / "folder"]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *paths], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert not done.stderr
    assert len(lines) == len(paths)
    assert all(line.startswith(f"5 {path}") for line, path in zip(lines, paths, strict=True)), lines
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.read_text() == "older" for file in files)


def test_only_kept_hits(tmp_path):
    kept = torch.tensor([True, False, False, True, True])
    hits = some_hits(kept=kept, score=torch.rand(5))
    write_hits(tmp_path / "a.h5", hits, kept_only=True)
    assert_same(read_hits(tmp_path / "a.h5"), hits.select(kept))
    with pytest.raises(UsageError, match="kept"):
        write_hits(tmp_path / "b.h5", some_hits(), kept_only=True)
    with pytest.raises(UsageError, match=r"\.tpx3"):
        write_hits(tmp_path / "b.tpx3", hits)
    assert not (tmp_path / "b.h5").exists()


def test_equal_hits_make_equal_files(tmp_path):
    for ending in (*TABLES, ".pt"):
        for name in "ab":
            write_hits(tmp_path / f"{name}{ending}", some_hits(shape=(88, 128, 1000)))
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


# ---- cost -----------------------------------------------------------------------------------------------

MEASURE = """
import json, resource, sys, threading, time
import pointae.io.native_h5
from pointae.io import read_hits
def resident(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before, peak, done = resident(), [0.0], []
def watch():
    while not done:
        peak[0] = max(peak[0], resident())
        time.sleep(0.002)
thread = threading.Thread(target=watch); thread.start()
hits = read_hits(sys.argv[1]); done.append(1); thread.join()
arrays = [hits.coords, hits.offsets, hits.signal, hits.track]
print(json.dumps([sum(a.numel() * a.element_size() for a in arrays) / 1e6, peak[0] - before]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measured by means of Linux")
@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_memory_of_loading_100_000_events(tmp_path, dtype):
    """23 million hits: at most 400 MB, and at most 800 MB on the way."""
    rows = 23_000_000
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["coords"] = np.zeros((rows, 3), dtype)
        file["offsets"] = np.arange(0, rows + 1, 230)
        file["signal"] = np.zeros(rows, bool)
        file["track"] = np.zeros(rows, dtype)
    out = subprocess.run([sys.executable, "-c", MEASURE, tmp_path / "a.h5"], capture_output=True, text=True, check=True)
    result, peak = json.loads(out.stdout)
    assert result <= 400
    assert peak <= 800


def test_every_format_has_what_is_asked_of_it():
    for known in FORMATS.values():
        assert all(hasattr(known.code, name) for name in ("read", "blocks", "attributes"))
        assert known.writable == hasattr(known.code, "Sink")
