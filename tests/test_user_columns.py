"""The user's own columns go through every tool as they are, and no network sees them."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from calls import tool

from pointae.analysis.evaluation import evaluate_run
from pointae.config import FileSource
from pointae.config_files import load_config
from pointae.data.events import EventData, read_source_files
from pointae.errors import ConfigError, DataError
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.io import open_writer, read_blocks, read_hits, write_hits
from pointae.training.session import train_run

CASES = Path("tests/data/cases")
OURS = ("score", "kept", "hit_id")


def rows_of(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(
    "name", ["big_ints", "float64", "event_and_event_id", "leak_index", "bracket_close", "nan_feature", "pandas_index"]
)
def test_a_table_keeps_every_cell_and_the_place_of_every_column(tmp_path, calibrated_run, name):
    given = CASES / f"{name}.csv"
    tool("denoise", calibrated_run.path, given, "-o", tmp_path / "out.csv")
    wanted, got = rows_of(given), rows_of(tmp_path / "out.csv")
    width = len(wanted[0])
    assert [row[:width] for row in got] == wanted
    assert set(got[0][width:]) == set(OURS)


def test_only_kept_hits_and_scattered_events_keep_their_rows(tmp_path):
    lines = ["note,event,x,y,t,big"] + [f'"a ""{i}"", b",{i % 3},{i},2,3,{10**18 + i}' for i in range(9)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    hits = read_hits(tmp_path / "a.csv")
    by_row = {row: f'a "{row}", b' for row in range(9)}
    assert [by_row[i] for i in hits.hit_id.tolist()] == hits.carried.columns[0][1].tolist()
    kept = hits.coords[:, 0] > 4
    write_hits(tmp_path / "b.csv", hits.replace(kept=kept), kept_only=True)
    got = rows_of(tmp_path / "b.csv")
    assert [row[:6] for row in got[1:]] == [row for row in rows_of(tmp_path / "a.csv")[1:] if int(row[2]) > 4]


def test_blocks_and_joins_take_them_along(tmp_path):
    (tmp_path / "a.csv").write_text("event,x,y,t,who,n\n" + "".join(f"{i // 2},1,2,3,w{i},{i}\n" for i in range(10)))
    whole = read_hits(tmp_path / "a.csv")
    for joined in (
        HitBatch.concat(list(read_blocks(tmp_path / "a.csv", 2))),
        HitBatch.concat([whole.events([4, 0]), whole.events([1])]),
    ):
        for (name, values), (_, all_values) in zip(joined.carried.columns, whole.carried.columns, strict=True):
            assert values.tolist() == [all_values[i] for i in joined.hit_id.tolist()], name
            assert values.dtype == all_values.dtype
    shuffled = whole.reordered(torch.arange(9, -1, -1))
    assert shuffled.carried.columns[1][1].tolist() == list(range(9, -1, -1))


def test_what_a_column_is_holds_for_all_blocks_of_a_table(tmp_path):
    """Numbers at first and words later, so that no part may decide."""
    (tmp_path / "a.csv").write_text(
        "event,x,y,t,mixed\n" + "".join(f"{i},1,2,3,{i if i < 6 else 'w'}\n" for i in range(9))
    )
    with open_writer(tmp_path / "b.npz") as writer:
        for block in read_blocks(tmp_path / "a.csv", 2):
            assert block.carried.columns[0][1].dtype == object
            writer.append(block)


def test_a_network_is_given_only_the_features_that_are_named(tmp_path):
    def features(settings: list[str]) -> tuple[str, ...]:
        source = f"data.source={{_delete_: true, kind: files, paths: [{CASES}/big_ints.csv]}}"
        config = load_config("configs/timepix3/point.yaml", [source, *settings])
        return EventData(config.data, 0).feature_names

    assert features([]) == ()
    assert features(["data.source.features=[tot]"]) == ("tot",)
    with pytest.raises(ConfigError, match=r"big_ints.csv: unknown feature 'tott'"):
        features(["data.source.features=[tott]"])
    with pytest.warns(UserWarning, match="feature 'toa_ps' is rounded to float32"):
        features(["data.source.features=[toa_ps]"])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("lab_a", "lab_b"), r"lab_b.csv: has no column signal, .*lab_a.csv has one"),
        (("lab_b", "lab_a"), r"lab_b.csv: has no column signal, .*lab_a.csv has one"),
        (("own_a", "own_b"), r"own_b.csv: has a grid of .* guessed .*data.source.geometry"),
    ],
)
def test_files_that_cannot_be_joined_are_named(files, told):
    source = FileSource(paths=[str(CASES / f"{name}.csv") for name in files], geometry=None)
    if files[0].startswith("lab"):
        source = source.model_copy(update={"geometry": "torch"})
    with pytest.raises(ConfigError, match=told) as error:
        read_source_files(source)
    assert "all_signal" not in str(error.value)


def test_a_column_more_is_no_reason_not_to_join():
    paths = [str(CASES / f"{name}.csv") for name in ("lab_a", "lab_c")]
    hits = read_source_files(FileSource(paths=paths, geometry="torch"))
    assert hits.batch_size == 40
    assert hits.signal is not None


# ---- formats with types ------------------------------------------------------------------------------


def test_a_table_goes_through_formats_with_types_and_back(tmp_path, calibrated_run):
    """As numbers where pandas would have numbers; each is written back letter by letter."""
    given = CASES / "big_ints.csv"
    wanted = rows_of(given)
    for ending in (".h5", ".npz", ".parquet"):
        if ending == ".parquet":
            pytest.importorskip("pyarrow")
        tool("denoise", calibrated_run.path, given, "-o", tmp_path / f"a{ending}")
        read = dict(read_hits(tmp_path / f"a{ending}").carried.columns)
        assert [str(np.asarray(read[name]).dtype) for name in wanted[0][5:]] == ["float64", "int64", "int64"]
        assert [str(n) for n in np.asarray(read["toa_ps"]).tolist()] == [row[6] for row in wanted[1:]]
        tool("denoise", calibrated_run.path, tmp_path / f"a{ending}", "-o", tmp_path / "b.csv")
        assert [row[: len(wanted[0])] for row in rows_of(tmp_path / "b.csv")] == wanted


ODD = ["E[/keV]", "..", "coords", "a:b", "score [/x]", "", "$x_{$"]


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_names_that_are_no_names_of_arrays(tmp_path, ending):
    rows = "".join(f"{i // 2},1,2,3,{','.join(f'{i}{k}' for k in range(len(ODD)))}\n" for i in range(4))
    (tmp_path / "a.csv").write_text(f"event,x,y,t,{','.join(ODD)}\n{rows}")
    write_hits(tmp_path / f"b{ending}", read_hits(tmp_path / "a.csv"))
    again = read_hits(tmp_path / f"b{ending}")
    assert again.carried.names == ODD
    write_hits(tmp_path / "c.csv", again)
    assert [row[: 4 + len(ODD)] for row in rows_of(tmp_path / "c.csv")] == rows_of(tmp_path / "a.csv")


@pytest.mark.parametrize("ending", [".h5", ".npz"])
def test_extra_arrays_of_a_native_file_are_the_users(tmp_path, ending):
    arrays = {
        "coords": np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        "offsets": np.array([0, 2, 3]),
        "toa": np.array([1650000000123, 5, 7], ">i8"),
        "who": np.array([b"a", b"bc", b""]),
        "covariance": np.arange(12.0).reshape(3, 2, 2),
        "x": np.array([0.5, 1.5, 2.5]),
        "run": np.array([71, 72], np.uint16),
        "calibration": np.arange(7),
    }
    if ending == ".h5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name, values in arrays.items():
                file[name] = values
            file["note"] = ["µ", "two", ""]
            file.create_group("more")
            file["link"] = h5py.SoftLink("/nowhere")
    else:
        np.savez(tmp_path / "a.npz", note=np.array(["µ", "two", ""]), **arrays)
    hits = read_hits(tmp_path / f"a{ending}", features=["x"])
    assert (hits.feature_names, hits.features.tolist()) == (("x",), [[0.5], [1.5], [2.5]])
    assert set(hits.carried.names) == {"toa", "who", "covariance", "x", "note"}
    chosen = HitBatch.concat([hits.events([1]), hits.events([0])])
    for end in (".h5", ".npz"):
        write_hits(tmp_path / f"b{end}", chosen)
        again = read_hits(tmp_path / f"b{end}").carried
        own = dict(again.columns)
        assert own["toa"].tolist() == [7, 1650000000123, 5]
        assert own["toa"].dtype == np.int64
        assert own["covariance"].tolist() == arrays["covariance"][[2, 0, 1]].tolist()
        assert [str(text) for text in own["note"]] == ["", "µ", "two"]
        assert again.per_event["run"].tolist() == [72, 71]
        assert again.per_event["run"].dtype == np.uint16
    assert read_hits(tmp_path / f"a{ending}", carry=False).carried is None


def test_features_that_float32_cannot_hold_are_kept_as_they_are(tmp_path):
    with pytest.warns(UserWarning, match="feature 'toa_ps' is rounded to float32"):
        hits = read_hits(CASES / "long_feature.h5")
    assert hits.feature_names == ("toa_ps",)
    write_hits(tmp_path / "a.h5", hits)
    with h5py.File(CASES / "long_feature.h5") as given, h5py.File(tmp_path / "a.h5") as written:
        assert written["features"].dtype == given["features"].dtype
        assert written["features"][:].tolist() == given["features"][:].tolist()
        assert set(written) == {"coords", "offsets", "features"}
        truth = [str(n) for n in given["features"][:, 0].tolist()]
    write_hits(tmp_path / "a.csv", hits)
    table = rows_of(tmp_path / "a.csv")
    assert [row[table[0].index("toa_ps")] for row in table[1:]] == truth


# ---- Parquet -----------------------------------------------------------------------------------------


def test_types_of_arrow_stay_what_they_are(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    moments = arrow.array([3, None, 1, 2], arrow.timestamp("us", tz="Europe/Amsterdam"))
    own = {
        "__index_level_0__": arrow.array([9, 2, 5, 4]),
        "when": moments,
        "price": arrow.array([Decimal("1.50"), None, Decimal("-2.25"), Decimal("0.00")]),
        "maybe": arrow.array([1, None, 3, 4], arrow.int8()),
        "kind": arrow.array(["a", "b", "a", None]).dictionary_encode(),
        "list": arrow.array([[1], [], None, [2, 3]]),
        "row": arrow.array([{"a": 1, "b": "x"}] * 4),
        "nan": arrow.array([1.0, float("nan"), float("inf"), None]),
        "raw": arrow.array([b"\0\xff", b"", None, b"a"]),
        "flag": arrow.array([True, None, False, True]),
    }
    ours = {"event": ["b", "a", "b", "c"], "x": [1, 2, 3, 4], "y": [0] * 4, "t": [5, 6, 7, 8]}
    parquet.write_table(arrow.table({"first": own["maybe"], **ours, **own}), tmp_path / "a.parquet")
    hits = read_hits(tmp_path / "a.parquet")
    assert hits.coords[:, 0].tolist() == [1, 3, 2, 4]
    with open_writer(tmp_path / "b.parquet") as writer:
        for first in (0, 2):
            writer.append(hits.events(slice(first, first + 2)))
    given, got = (parquet.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    assert got.column_names[: given.num_columns] == given.column_names
    for name in given.column_names:
        if name not in ours:
            assert got.schema.field(name).type == given.schema.field(name).type, name
            assert str(got.column(name).to_pylist()) == str(given.column(name).to_pylist()), name
    write_hits(tmp_path / "c.csv", hits)
    cells = rows_of(tmp_path / "c.csv")
    assert [row[cells[0].index("list")] for row in cells[1:]] == ["[1]", "[]", "", "[2, 3]"]
    for ending in (".h5", ".npz"):
        write_hits(tmp_path / f"d{ending}", hits)
        assert read_hits(tmp_path / f"d{ending}").carried.names == hits.carried.names


def test_a_table_of_constant_columns_is_no_bomb(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = 400_000
    columns = {name: np.arange(rows) // 200 if name == "event" else np.arange(rows) % 50 for name in ("event", *"xyt")}
    columns |= {f"const{i}": np.full(rows, i) for i in range(60)}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 2 << 20
    hits = read_hits(tmp_path / "a.parquet")
    assert len(hits.carried.names) == 60
    assert hits.carried.columns[59][1].slice(rows - 1, 1).to_pylist() == [59]


def test_columns_that_unpack_to_gigabytes_are_told_before(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = arrow.DictionaryArray.from_arrays(np.zeros(400, np.int32), ["x" * 5_000_000])
    ours = {"event": range(400), "x": [1] * 400, "y": [1] * 400, "t": [1] * 400}
    parquet.write_table(arrow.table({**{n: list(v) for n, v in ours.items()}, "text": texts}), tmp_path / "a.parquet")
    for name in ("a",):
        path = tmp_path / f"{name}.parquet"
        with pytest.raises(DataError, match=r"column 'text' unpacks to 2,000,000,000 bytes.*leave the column out"):
            read_hits(path)
        assert read_hits(path, carry=False).num_hits == 400


# ---- what must not help ------------------------------------------------------------------------------


def test_an_index_that_gives_the_truth_away_is_not_learnt(tmp_path):
    """Signal and noise of one distribution, the index of pandas in front: nothing tells them apart."""
    source = f"data.source={{_delete_: true, kind: files, paths: [{CASES}/leak_index.csv], geometry: deepclean3d}}"
    small = ["data.degradation={_delete_: true}", "train.epochs=3", "train.precision=fp32", "evaluate.pictures=0"]
    model = "model.encoder={_delete_: true, name: pointnet, channels: 16}"
    config = load_config("configs/timepix3/point.yaml", [source, *small, model, "evaluate.baselines=[]"])
    run = train_run(config, tmp_path)
    assert Denoiser.open(run.path).feature_names == ()
    figures = evaluate_run(run, read_hits(CASES / "leak_index.csv", **vars(Denoiser.open(run.path).reading("a.csv"))))
    assert figures.rows[0].figures["roc_auc"] == pytest.approx(0.5, abs=0.06)
    assert figures.rows[0].figures["noise_removed_at_97"] == pytest.approx(0.03, abs=0.02)


def test_joined_tables_of_scattered_events_stay_one_behind_the_other(tmp_path):
    for name, first in (("a", 0), ("b", 10)):
        rows = "".join(f"{event},1,2,3,{first + row}\n" for row, event in enumerate([5, 6, 5]))
        (tmp_path / f"{name}.csv").write_text(f"event,x,y,t,own\n{rows}")
    source = FileSource(paths=[str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], geometry="torch")
    write_hits(tmp_path / "c.csv", read_source_files(source, carry=True))
    assert [row[4] for row in rows_of(tmp_path / "c.csv")[1:]] == ["0", "2", "1", "10", "12", "11"]


def test_line_breaks_of_any_kind_in_a_users_text_come_back(tmp_path):
    given = ["a\rb", "c\nd", "e\r\nf", '"', ""]
    content = {"event": [0] * 5, "x": [0, 1, 2, 3, 4], "y": [0] * 5, "t": [0] * 5, "note": given}
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table(content), tmp_path / "a.parquet")
    write_hits(tmp_path / "a.csv", read_hits(tmp_path / "a.parquet"))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["note"] for row in csv.DictReader(file)] == given
