"""What is not a file of hits is told in one line: which file, which event, which field, what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_files import GRID, WRITERS, check_refused, good, npy_header, to_npz, written

from pointae.errors import DataError, StorageError, UsageError
from pointae.hits import HitBatch
from pointae.io import read_blocks, read_hits

# ---- values -----------------------------------------------------------------------------------------------

VALUES = {
    "negative": (-1, "x = -1", "hit 1 of event 0"),
    "outside": (88, "x = 88", "hit 1 of event 0", "0..87"),
    "2^40": (1 << 40, "1099511627776", "hit 1 of event 0"),
    "2^63": (1 << 63, "9223372036854775808"),
}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("case", VALUES)
def test_impossible_coordinates(tmp_path, ending, case):
    value, *told = VALUES[case]
    arrays = good()
    arrays["coords"] = arrays["coords"].astype(np.uint64 if value >= 1 << 63 else np.int64)
    arrays["coords"][1, 0] = value
    WRITERS[ending](tmp_path / f"a{ending}", arrays)
    check_refused(tmp_path / f"a{ending}", *told)


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite(tmp_path, ending, value):
    tot = np.array([[1.0], [2.0], [value]])
    extra = {"tot": tot[:, 0]} if ending == ".csv" else {"features": tot}
    WRITERS[ending](tmp_path / f"a{ending}", good() | extra)
    name = "tot" if ending == ".csv" else "feature_0"
    check_refused(tmp_path / f"a{ending}", name, "hit 0 of event 1", "not finite", features=["tot"])


@pytest.mark.parametrize("text", ["1.5", "nan", "inf", "abc", "", "1e30", "0x10"])
def test_table_cells_that_are_no_bin_numbers(tmp_path, text):
    (tmp_path / "a.csv").write_text(f"event,x,y,t\n0,1,2,3\n0,1,2,{text}\n")
    check_refused(tmp_path / "a.csv", f"t = '{text}'", "line 3")


@pytest.mark.parametrize("ending", [".h5", ".npz"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"coords": np.zeros((3, 3))}, "coords must be whole numbers of an integer type, got float64"),
        ({"coords": np.zeros((3, 4), int)}, "coords must have shape (any, 3), got (3, 4)"),
        ({"coords": np.zeros(9, int)}, "coords must have shape (any, 3), got (9,)"),
        ({"coords": np.array([[b"1", b"2", b"3"]] * 3)}, "coords must be whole numbers"),
        ({"offsets": np.array([0, 2, 1, 3])}, "offsets run backwards at event 1: 2 then 1"),
        ({"offsets": np.array([0, 2, 9])}, "got 0 to 9"),
        ({"offsets": np.array([1, 2, 3])}, "got 1 to 3"),
        ({"offsets": np.array([0, 2])}, "got 0 to 2"),
        ({"offsets": np.empty(0, int)}, "offsets must be (E + 1,) integers"),
        ({"offsets": np.array([[0, 3]])}, "offsets must be (E + 1,) integers"),
        ({"offsets": np.array([0.0, 3.0])}, "offsets must be whole numbers"),
        ({"offsets": np.array([0, 1 << 63], np.uint64)}, "offsets = 9223372036854775808"),
        ({"signal": np.array([0, 1, 2])}, "signal must be true or false"),
        ({"signal": np.array([0.0, 1.0, 1.0])}, "signal must be true or false"),
        ({"signal": np.ones(2, bool)}, "signal must have shape (3), got (2,)"),
        ({"track": np.array([0, 1, 1 << 40])}, "track = 1099511627776 does not fit int32: hit 0 of event 1"),
        ({"track": np.zeros(3)}, "track must be whole numbers"),
        ({"score": np.array([0.5, np.nan, 1])}, "score is not finite: hit 1 of event 0"),
        ({"score": np.array(["a", "b", "c"], "S1")}, "score must be real numbers"),
        ({"features": np.zeros(3)}, "features must have shape (3, any), got (3,)"),
        ({"features": np.zeros((2, 1))}, "features must have shape (3, any), got (2, 1)"),
        ({"event_id": np.arange(3)}, "event_id must have shape (2), got (3,)"),
        ({"event_id": np.zeros(2)}, "event_id must be whole numbers"),
        ({"hit_id": np.array([0, 1, 1 << 63], np.uint64)}, "hit_id = 9223372036854775808"),
    ],
)
def test_arrays_of_another_type_or_shape(tmp_path, ending, change, told):
    WRITERS[ending](tmp_path / f"a{ending}", good() | change)
    check_refused(tmp_path / f"a{ending}", told)


@pytest.mark.parametrize("ending", [".h5", ".npz"])
@pytest.mark.parametrize("missing", ["coords", "offsets"])
def test_files_without_what_makes_them_hits(tmp_path, ending, missing):
    arrays = good()
    del arrays[missing]
    WRITERS[ending](tmp_path / f"a{ending}", arrays)
    check_refused(tmp_path / f"a{ending}", f"has no {missing}")


@pytest.mark.parametrize("shape", [[88, 128], [88, 0, 1000], "wide", [1, 2, float("nan")]])
def test_attributes_that_describe_no_grid(tmp_path, shape):
    to_npz(tmp_path / "a.npz", good() | {"attributes": np.array(json.dumps({"spatial_shape": shape}))})
    check_refused(tmp_path / "a.npz", "attributes describe no grid")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0,1,2,3\n0,4,5,6\n", "has no column event, x, y, t"),
        ("event:x:y:t\n0:1:2:3\n", "has no column"),
        ("event,x,y,t,x\n0,1,2,3,4\n", "two columns called 'x'"),
        ("event,x,y,t\n0,1,2,3\n0,1,2\n", "line 3 has 3 fields, the header 4"),
        ("event,x,y,t\n0,1,2,3\n\n0,1,2,3\n", "line 3 has 0 fields"),
        ("event,x,y,t,signal\n0,1,2,3,maybe\n", "signal = 'maybe' in line 2 is not 0 or 1"),
        ("event,x,y,t,tot\n0,1,2,3,high\n", "feature 'tot' = 'high' in line 2 is not a number"),
        ("event,x,y,t,track\n0,1,2,3,3000000000\n", "track = 3000000000 does not fit int32"),
        ('event,x,y,t\n"0,1,2,3\n', "CSV"),
        ("event,x,y,t\n" + "9" * (3 << 20), "line of more than"),
    ],
)
def test_tables_that_are_none(tmp_path, text, told):
    (tmp_path / "a.csv").write_text(text)
    check_refused(tmp_path / "a.csv", told, features=["tot"])


def test_a_table_in_another_encoding(tmp_path):
    (tmp_path / "a.csv").write_bytes("event,x,y,t,größe\n0,1,2,3,4\n".encode("latin-1"))
    check_refused(tmp_path / "a.csv", "utf-8")


# ---- whole files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".h5", ".npz", ".csv", ".pt", ".npy", ".tpx3"])
def test_empty_truncated_and_foreign_files(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    whole = written(path)
    assert read_hits(path).batch_size in (0, 1)
    path.write_bytes(b"")
    check_refused(path, "empty (0 bytes)")
    if ending != ".csv":
        for length in (3, 7, len(whole) // 3 | 1, len(whole) - 1):
            path.write_bytes(whole[:length])
            check_refused(path)
        path.write_bytes(bytes(200))
        check_refused(path, "begins with")
    for other in {".h5", ".npz", ".npy"} - {ending} - ({".npz"} if ending == ".pt" else set()):
        path.write_bytes(written(tmp_path / f"b{other}"))
        check_refused(path, "correct the ending")


@pytest.mark.parametrize("ending", [".npz", ".pt", ".npy"])
def test_flipped_bytes_are_an_error_or_harmless_never_a_crash(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    whole = bytearray(written(path))
    for at in range(0, min(len(whole), 2000), 37):
        damaged = whole.copy()
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        told = ""
        try:
            read_hits(path)
        except DataError as error:
            told = str(error)
        assert not told or told.startswith(str(path))


def test_an_archive_of_the_wrong_kind(tmp_path):
    written(tmp_path / "b.npz")
    os.replace(tmp_path / "b.npz", tmp_path / "a.pt")
    check_refused(tmp_path / "a.pt")
    written(tmp_path / "b.pt")
    os.replace(tmp_path / "b.pt", tmp_path / "a.npz")
    check_refused(tmp_path / "a.npz", "has no coords and no offsets")


def test_missing_files_folders_and_endings(tmp_path):
    for name in ("none.h5", "none.csv", "none"):
        check_refused(tmp_path / name, "no such file", "check the path")
    (tmp_path / "a.doc").write_text("hello")
    check_refused(tmp_path / "a.doc", "unknown ending '.doc'", ".h5")
    (tmp_path / "folder").mkdir()
    check_refused(tmp_path / "folder", "must hold .npy or .pt files")
    with pytest.raises(UsageError, match="did you mean 'window_ns'"):
        read_hits(tmp_path / "a.doc", windows_ns=3)
    with pytest.raises(UsageError, match="keep, merge"):
        read_hits(tmp_path / "a.doc", duplicates="drop")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    written(tmp_path / "a.npz")
    (tmp_path / "a.npz").chmod(0)
    check_refused(tmp_path / "a.npz", "ermission", kind=StorageError)


# ---- skipping ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", WRITERS)
def test_bad_events_can_be_skipped_up_to_one_in_a_hundred(tmp_path, ending):
    arrays = good()
    arrays["coords"] = np.tile(arrays["coords"][:1], (400, 1))
    arrays["coords"][[7, 8, 250], [0, 1, 2]] = [-1, 128, 1 << 40]
    arrays["offsets"] = np.arange(0, 401, 2)
    path = tmp_path / f"a{ending}"
    if ending == ".csv":
        rows = [f"{i // 2},{x},{y},{t}" for i, (x, y, t) in enumerate(arrays["coords"].tolist())]
        path.write_text("\n".join(["event,x,y,t", *rows]))
    else:
        WRITERS[ending](path, arrays)
    check_refused(path, "3 of 200 events are bad", "x = -1", on_bad="skip")
    arrays["coords"][250, 2] = 0
    if ending == ".csv":
        rows[250] = "125,1,2,0"
        path.write_text("\n".join(["event,x,y,t", *rows]))
    else:
        WRITERS[ending](path, arrays)
    for read in (read_hits, lambda path, **o: HitBatch.concat(list(read_blocks(path, 7, **o)))):
        with pytest.warns(UserWarning, match="skipped events: 3, 4$"):
            hits = read(path, geometry=GRID, on_bad="skip")
        assert hits.event_id.tolist() == [i for i in range(200) if i not in (3, 4)]
        assert hits.num_hits == 396


# ---- cost -------------------------------------------------------------------------------------------------

MEASURE = """
import sys, time
import torch
from pointae.errors import DataError
before = time.process_time()
from pointae.io import read_hits
for path in sys.argv[1:]:
    try:
        read_hits(path)
    except DataError:
        pass
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time() - before, int(peak.split()[1]) / 1e3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by means of Linux")
def test_bad_input_is_told_soon_and_costs_little(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_header((1 << 40, 3)))
    np.savez_compressed(tmp_path / "b.npz", coords=np.zeros((4_000_000, 3), np.int64), offsets=np.array([0, 5]))
    written(tmp_path / "c.h5")
    (tmp_path / "c.h5").write_bytes((tmp_path / "c.h5").read_bytes()[:900])
    paths = [tmp_path / name for name in ("a.npy", "b.npz", "c.h5", "none.h5")]
    out = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, out.stdout.split())
    assert seconds < 2
    assert megabytes < 512


def test_a_missing_file_is_told_before_torch_is_loaded():
    code = """
import sys
from pointae.io import read_hits
try:
    read_hits("none.h5")
except Exception:
    print("torch" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_bad_input_is_told_before_a_network_is_loaded(tmp_path):
    WRITERS[".h5"](tmp_path / "a.h5", good() | {"features": np.array([[1.0], [np.nan], [2.0]])})
    (tmp_path / "a.yaml").write_text(f"data: {{source: {{kind: files, paths: ['{tmp_path / 'a.h5'}']}}}}")
    code = """
import sys
from types import SimpleNamespace
from pointae.errors import DataError
from pointae.runs import RunDirectory
from tools import denoise, evaluate, train, view
RunDirectory.open = lambda path: SimpleNamespace(path=path)  # shipped weights in place of a run
bad, config = sys.argv[1:]
for tool, words in {
    denoise: ["torch-base", bad, "-o", bad + ".out.h5"],
    evaluate: ["torch-base", bad],
    train: [config],
    view: [bad],
}.items():
    try:
        tool.main(words)
    except DataError as error:
        slow = [name for name in sys.modules if name.startswith(("pointae.nn", "pointae.inference", "visual", "numba"))]
        print("not finite" in str(error), slow)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.h5"), str(tmp_path / "a.yaml")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert out.stdout.splitlines() == ["True []"] * 4
