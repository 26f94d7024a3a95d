"""What is told of a file: the user's own columns, what is merely noted, and remedies that the tools take."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from importlib import import_module

import pytest

from pointae.entry import _take_hooks
from pointae.errors import DataError, PointaeError
from pointae.io import read_hits, users_columns, write_hits
from pointae.io.table import named_alike


def inspected(capsys, *arguments):
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
