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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointae.errors import DataError, StorageError, UsageError
from pointae.geometry import deepclean3d_geometry, even_geometry, torch_geometry
from pointae.hits import PER_HIT, HitBatch
from pointae.io import FORMATS, open_writer, read_attributes, read_blocks, read_hits, write_hits

TABLES = [".h5", ".npz", ".csv"]
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same(got: HitBatch, wanted: HitBatch, but: tuple[str, ...] = ()) -> None:
    """Equal in every field, dtypes included."""
    assert got.geometry == wanted.geometry
    assert got.feature_names == wanted.feature_names
    for name in ("coords", "offsets", "features", "event_time_ns", "event_id", *PER_HIT):
        a, b = getattr(got, name), getattr(wanted, name)
        if name in but:
            continue
        if isinstance(b, torch.Tensor):
            assert isinstance(a, torch.Tensor), name
            assert a.dtype == b.dtype, name
            assert torch.equal(a, b), name
        else:
            assert a == b, name


def some_hits(counts=(3, 0, 2), shape=(5, 4, 9), seed=0, distinct=False, **fields) -> HitBatch:
    """Hits at random cells; ``distinct``: no two of an event in one pixel."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    coords = torch.stack([torch.randint(0, b, (int(offsets[-1]),), generator=generator) for b in shape], 1).int()
    if distinct:
        pixels = [torch.randperm(shape[0] * shape[1], generator=generator)[:n] for n in counts]
        flat = torch.cat(pixels)
        coords[:, 0], coords[:, 1] = flat % shape[0], flat // shape[0]
    return HitBatch(even_geometry(shape), coords, offsets, **fields)


@st.composite
def hit_batches(draw) -> HitBatch:
    counts = draw(st.lists(st.integers(0, 5), max_size=5))
    n = sum(counts)
    geometry = draw(st.sampled_from([even_geometry((3, 2, 40_000), (0.5, 1.0, 2.0)), torch_geometry()]))
    column = [draw(st.lists(st.integers(0, axis.bins - 1), min_size=n, max_size=n)) for axis in geometry.axes]
    coords = torch.tensor(list(zip(*column, strict=True)), dtype=torch.int32).view(n, 3)
    optional = draw(st.sets(st.sampled_from([*PER_HIT, "features", "event_time_ns"])))

    def values(kind: st.SearchStrategy, length: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(draw(st.lists(kind, min_size=length, max_size=length)), dtype=dtype)

    kinds = {torch.bool: st.booleans(), torch.float32: st.floats(width=32, allow_nan=False, allow_infinity=False)}
    fields = {}
    for name in sorted(optional & PER_HIT.keys()):
        size = {torch.int8: 7, torch.int32: 31, torch.int64: 63}.get(PER_HIT[name], 0)
        kind = kinds.get(PER_HIT[name], st.integers(-(1 << size), (1 << size) - 1))
        fields[name] = values(kind, n, PER_HIT[name])
    if "features" in optional:
        fields["features"] = values(kinds[torch.float32], 2 * n, torch.float32).view(n, 2)
        fields["feature_names"] = ("tot", 'µ, "q"')
    if "event_time_ns" in optional:
        fields["event_time_ns"] = values(st.floats(-1e12, 1e12), len(counts), torch.float64)
    letters = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)
    ids = draw(st.sampled_from([None, st.integers(-(1 << 63), (1 << 63) - 1), letters]))
    if ids is not None:
        drawn = draw(st.lists(ids, min_size=len(counts), max_size=len(counts), unique=True))
        fields["event_id"] = tuple(drawn) if ids is letters else torch.tensor(drawn, dtype=torch.int64)
    return HitBatch(geometry, coords, torch.tensor([0, *counts]).cumsum(0), **fields)


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
    read = read_hits(path, geometry=hits.geometry)
    blocks = HitBatch.concat(list(read_blocks(path, block, geometry=hits.geometry)))
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
    hits = read_hits(tmp_path / "a.csv", columns={"event": "evt", "x": "col", "y": "row", "t": "tof"})
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


# ---- images ---------------------------------------------------------------------------------------------


@pytest.fixture
def bundle():
    """A bundle in DeepClean3D's layout: 5 events, one of them blank."""
    generator = torch.Generator().manual_seed(1)
    steps = torch.randint(1, 1001, (5, 1, 128, 88), generator=generator).double()
    images = steps * (torch.rand(steps.shape, generator=generator) < 0.02)
    images[2] = 0
    return images


def test_bundles_are_written_back_bit_for_bit(tmp_path, bundle):
    torch.save(bundle, tmp_path / "a.pt")
    hits = read_hits(tmp_path / "a.pt")
    assert hits.geometry == deepclean3d_geometry()
    batch, _, y, x = (bundle > 0).nonzero().T
    assert hits.coords.tolist() == torch.stack([x, y, bundle[bundle > 0].long() - 1], 1).tolist()
    assert hits.batch.tolist() == batch.tolist()
    assert write_hits(tmp_path / "b.pt", hits).hits_lost == 0
    again = torch.load(tmp_path / "b.pt", weights_only=True)
    assert again.dtype == torch.float64
    assert again.numpy().tobytes() == bundle.numpy().tobytes()
    assert_same(HitBatch.concat(list(read_blocks(tmp_path / "a.pt", 2))), hits)


def test_hits_lost_to_shared_pixels_are_counted(tmp_path):
    coords = torch.tensor([[1, 2, 30], [1, 2, 40], [1, 2, 7], [3, 4, 5]], dtype=torch.int32)
    hits = HitBatch(torch_geometry(), coords, torch.tensor([0, 3, 4]), signal=torch.ones(4, dtype=torch.bool))
    report = write_hits(tmp_path / "a.pt", hits)
    assert (report.hits, report.hits_lost, report.fields_lost) == (2, 2, ("signal",))
    assert "2 hits" in str(report)
    assert read_hits(tmp_path / "a.pt", geometry=torch_geometry()).coords.tolist() == [[1, 2, 40], [3, 4, 5]]


@pytest.mark.parametrize("labels", ["Labels", "Labels_Sparse"])
def test_folders_of_images_with_labels(tmp_path, bundle, labels):
    for name, images in (("Data", bundle), (labels, bundle * (bundle > 500))):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            np.save(tmp_path / name / f"img_{i + 8}.npy", image[0])
    hits = read_hits(tmp_path)
    torch.save(bundle, tmp_path / "a.pt")
    assert_same(hits, read_hits(tmp_path / "a.pt"), but=("signal", "event_id"))
    assert hits.event_id == ("img_8", "img_9", "img_10", "img_11", "img_12")
    assert torch.equal(hits.signal, hits.coords[:, 2] + 1 > 500)
    assert_same(HitBatch.concat(list(read_blocks(tmp_path, 2))), hits)
    write_hits(tmp_path / "copy", hits)
    assert_same(read_hits(tmp_path / "copy"), hits)
    (tmp_path / "Data" / "img_9.npy").unlink()
    with pytest.raises(DataError, match=r"img_9\.npy"):
        read_hits(tmp_path)


def test_one_image(tmp_path, bundle):
    np.save(tmp_path / "a.npy", bundle[0, 0].numpy().astype(">i2"))
    hits = read_hits(tmp_path / "a.npy")
    write_hits(tmp_path / "b.npy", hits)
    assert np.array_equal(np.load(tmp_path / "b.npy"), bundle[0, 0])
    with pytest.raises(DataError, match="one event"):
        write_hits(tmp_path / "c.npy", some_hits(shape=(88, 128, 1000)))


def test_names_of_events_cannot_leave_the_folder(tmp_path):
    for name in ("../../evil", "a/b", "..", ""):
        hits = some_hits((1,), shape=(88, 128, 1000), event_id=(name,))
        with pytest.raises(DataError, match="no name"):
            write_hits(tmp_path / "out", hits)
    assert not list(tmp_path.iterdir())


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
