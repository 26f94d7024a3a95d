"""What is told of a file: the user's own columns, what is merely noted, and remedies that the tools take."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from importlib import import_module

import pytest

from pointae.config import FileSource
from pointae.data.events import read_source_files
from pointae.entry import _take_hooks
from pointae.errors import DataError, PointaeError
from pointae.io import read_hits, users_columns, write_hits
from pointae.io.table import named_alike


def inspected(capsys, *arguments):
    capsys.readouterr()
    import_module("tools.inspect_data").main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("event_id,col,row,toa", {"x": "col", "y": "row", "t": "toa"}),
        ("EVENT,X,Y,T", {"event": "EVENT", "x": "X", "y": "Y", "t": "T"}),
        ("Frame,x [px],y [px],ToA [ns]", {"event": "Frame", "x": "x [px]", "y": "y [px]", "t": "ToA [ns]"}),
        ("event,x,y,it's", {"t": "it's"}),
        ("event,x,y,energy", {"t": "NAME"}),
        ("toa,trigger,x,y", {"event": "trigger", "t": "toa"}),
    ],
)
def test_the_remedy_for_missing_columns_is_taken(tmp_path, capsys, header, meant):
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text(f"{header}\n0,1,2,3\n")
    other.write_text("event,x,y,t\n7,1,2,3\n")
    with pytest.raises(DataError) as told:
        inspected(capsys, path)
    words = shlex.split(re.search(r"--columns .*(?=, in a config)", str(told.value))[0])
    assert words == ["--columns", ",".join(f"{ours}={theirs}" for ours, theirs in meant.items())]
    config = re.search(r"data.source.columns: (\{.*\})", str(told.value))[1]
    assert import_module("pointae.yaml_text").parse_yaml(config) == meant
    if "NAME" not in meant.values():
        first, second = inspected(capsys, *words, path, other)  # no file is taken for a name
        assert (first["hits"], second["hits"]) == (1, 1)


def test_each_column_is_meant_once():
    assert named_alike(["event", "x", "y", "t"], ["time", "Col", "row", "tot"]) == {
        "event": "NAME",
        "x": "Col",
        "y": "row",
        "t": "time",
    }


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".h5", ".npz"])
def test_the_users_columns_are_listed(tmp_path, capsys, ending):
    table = tmp_path / "a.csv"
    table.write_text("index,event,x,y,t,tot,\\n\x1b,tot\n0,0,1,2,3,4,a,5\n1,0,1,2,4,4,b,5\n")
    path = tmp_path / f"b{ending}"
    write_hits(path, read_hits(table))
    own = ["index", "tot", "\\n\x1b", "tot"]
    assert users_columns(path) == own
    assert inspected(capsys, path)[0]["your_columns"] == own
    assert inspected(capsys, path, "--features", "index")[0]["features"] == ["index"]
    import_module("tools.inspect_data").main([str(path)])
    assert "\x1b" not in capsys.readouterr().out


def test_what_is_found_of_a_table_is_a_note(tmp_path, capsys, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("event;x;y;t\n0;1;2;3\n")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        _take_hooks(debug=True)
        warnings.simplefilter("always")
        read_hits(path)
    assert capsys.readouterr().err == f"note: {path}: read as a table with semicolons between columns\n"


@pytest.mark.parametrize(
    ("row", "options", "remedy"),
    [
        ("0,-1,2,3", {}, ["--on-bad", "skip"]),
        ("0,1,2,3\n0,1,2,3", {"duplicates": "error"}, ["--duplicates", "merge"]),
    ],
)
def test_remedies_name_the_options_of_the_tools(tmp_path, capsys, row, options, remedy):
    path = tmp_path / "a.csv"
    path.write_text("event,x,y,t\n" + "".join(f"{event},1,2,3\n" for event in range(1, 200)) + f"{row}\n")
    with pytest.raises(PointaeError, match=" ".join(remedy)):
        read_hits(path, **options)
    assert inspected(capsys, path, *remedy)[0]["hits"] in (199, 200)


def test_a_table_without_a_header_is_told_so(tmp_path):
    for text in ("0,1,2,3\n0,1,2,4\n", "0 1.5 2e3 3\n"):
        path = tmp_path / "a.txt"
        path.write_text(text)
        with pytest.raises(DataError, match=r"nor a header: the first line holds numbers, 0, 1.*event,x,y,t"):
            read_hits(path)


@pytest.mark.parametrize(("column", "cell"), [("score", "good"), ("hit_id", "h0"), ("track", ""), ("signal", "2")])
def test_a_column_that_is_called_as_one_of_ours(tmp_path, column, cell):
    path = tmp_path / "a.csv"
    path.write_text(f"event,x,y,t,{column}\n0,1,2,3,{cell}\n")
    with pytest.raises(DataError, match=f"{column} = '{cell}' in line 2 .*give the column another name if it is yours"):
        read_hits(path)
    path.write_text(f"event,x,y,t,my_{column}\n0,1,2,3,{cell}\n")
    assert read_hits(path).carried.names == [f"my_{column}"]


def test_decimal_commas_between_tabs(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("event\tx\ty\tt\tE\n0\t1\t2,0\t3\t12,25\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hits = read_hits(path, features=["E"])
    assert (hits.coords.tolist(), hits.features.tolist()) == ([[1, 2, 3]], [[12.25]])


def test_event_numbers_of_64_bits_are_names_in_every_table(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    numbers = [2**63, 7, 2**64 - 1]
    one = arrow.array([1, 1, 1])
    parquet.write_table(
        arrow.table({"event": arrow.array(numbers, arrow.uint64()), "x": one, "y": one, "t": one}),
        tmp_path / "a.parquet",
    )
    (tmp_path / "a.csv").write_text("event,x,y,t\n" + "".join(f"{number},1,1,1\n" for number in numbers))
    for name in ("a.parquet", "a.csv"):
        assert read_hits(tmp_path / name).event_id == tuple(map(str, numbers))


def test_names_that_nothing_is_called_are_refused(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("event,col,y,t,tot\n0,1,2,3,4\n")
    with pytest.raises(PointaeError, match=r"unknown column 'foo'.*known: "):
        inspected(capsys, path, "--columns", "x=col,foo=tot")
    with pytest.raises(PointaeError, match=r"has no column nope;.*--columns x=col,t=t,"):
        inspected(capsys, path, "--columns", "x=nope,t=t")
    with pytest.raises(PointaeError, match=r"a.csv: unknown feature 'tott' \(did you mean 'tot'"):
        inspected(capsys, path, "--columns", "x=col", "--features", "tott")
    assert inspected(capsys, path, "--columns", "x=col", "--features", "tot")[0]["features"] == ["tot"]
    source = FileSource(paths=[str(path)], columns={"x": "col"}, features=["tott"])
    with pytest.raises(PointaeError, match=r"a.csv: unknown feature 'tott' \(did you mean 'tot'"):
        read_source_files(source)
