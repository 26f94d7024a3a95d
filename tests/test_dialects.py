"""Tables of text as other programs write them: what they are like is found, and said in one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from bad_files import check_refused

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.io import read_blocks, read_hits, write_hits

CASES = Path("tests/data/cases")
PLAIN = CASES / "pandas_index.csv"
"""The same hits as in the cases below, with commas."""
TABLE = "event,x,y,t,signal,tot\n0,1,2,3,1,6450.5\n0,4,5,6,0,7.25\n3,7,8,9,1,-1.0\n"


def told_by(path: Path, **options: object) -> tuple[HitBatch, list[str]]:
    """The hits, the same whole and in blocks, and what was said of the file."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        hits = read_hits(path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = HitBatch.concat(list(read_blocks(path, 1, **options)))
    assert blocks.coords.tolist() == hits.coords.tolist()
    assert blocks.features.tolist() == hits.features.tolist()
    return hits, [str(each.message) for each in said]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("semicolon.csv", "a table with semicolons between columns, decimal commas"),
        ("tab.csv", "a table with tabs between columns"),
        ("cr_only.csv", "a table with lines that end with CR"),
        ("spaces.csv", "a table with spaces around cells"),
        ("plain.csv.gz", "a compressed table"),
        ("savetxt.csv", "a table with the header behind '#'"),
    ],
)
def test_the_cases_read_as_the_plain_table_does(name, told):
    wanted = read_hits(PLAIN, features=["tot"])
    hits, said = told_by(CASES / name, features=["tot"])
    assert said == [f"{CASES / name}: read as {told}"]
    for field in ("coords", "signal", "features", "event_id", "hit_id"):
        assert getattr(hits, field).tolist() == getattr(wanted, field).tolist(), field


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace(",", "|"), "bars between columns"),
        (lambda text: text.replace(",", " "), "spaces between columns"),
        (lambda text: text.replace(",", "   ").replace("\n", "  \n  "), "spaces between columns"),
        (lambda text: text.replace(",", " \t"), "spaces around cells"),
        (lambda text: text.replace(",", ";"), "semicolons between columns"),
        (lambda text: text.replace(",", ";").replace(".", ","), "decimal commas"),
        (lambda text: "sep=;\n" + text.replace(",", ";"), "semicolons"),
        (lambda text: f"# made by x\n#\n# {text}# the end\n", "the header behind '#'"),
        (lambda text: f"# made by x\n\n{text}# a, b\n", None),
        (lambda text: text.replace("\n", ",\n"), "nothing behind the last delimiter"),
        (lambda text: text.replace("\n", ",,,\n"), "nothing behind the last delimiter"),
        (lambda text: text.replace("0\n", "0,\n").replace("5\n", "5,,\n"), "nothing behind the last delimiter"),
        (lambda text: text.replace("\n", "\r\n"), None),
        (lambda text: "\ufeff" + text, None),
        (lambda text: text + "\n\n", None),
        (lambda text: ",".join(f'"{cell}"' for cell in text.split(",")).replace("\n", '"\n"').rstrip('"'), None),
        (lambda text: text.replace(",1,6", ",True,6").replace(",0,7", ",false,7").replace(",1,-", ",yes,-"), None),
        (lambda text: text.replace(",1,6", ",1.000e+00,6").replace(",0,7", ",0.0,7"), None),
    ],
)
def test_ways_to_write_a_table(tmp_path, change, told):
    (tmp_path / "a.csv").write_bytes(change(TABLE).encode())
    hits, said = told_by(tmp_path / "a.csv", features=["tot"])
    assert hits.coords.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert hits.features.tolist() == [[6450.5], [7.25], [-1.0]]
    assert hits.signal.tolist() == [True, False, True]
    assert hits.event_id.tolist() == [0, 3]
    assert len(said) == (told is not None)
    assert told is None or told in said[0]


@pytest.mark.parametrize(
    ("ending", "pack"),
    [(".csv.gz", gzip.compress), (".tsv.bz2", bz2.compress), (".txt.xz", lzma.compress), (".csv", gzip.compress)],
)
def test_packed_tables(tmp_path, ending, pack):
    (tmp_path / f"a{ending}").write_bytes(pack(TABLE.encode("utf-16")))
    hits, said = told_by(tmp_path / f"a{ending}")
    assert (hits.num_hits, len(said)) == (3, 1)
    assert "read as a compressed table with text in UTF-16" in said[0]


def test_zstandard_by_pyarrow(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    with arrow.output_stream(str(tmp_path / "a.csv.zst"), compression="zstd") as file:
        file.write(TABLE.encode())
    assert told_by(tmp_path / "a.csv.zst")[0].num_hits == 3


def test_savetxt_of_numpy_with_its_own_delimiter(tmp_path):
    numbers = np.array([[0, 1, 2, 3, 0.1], [0, 4, 5, 6, 1e-9]])
    for delimiter, header in ((" ", "event x y t E"), (" ", "event,x,y,t,E"), (";", "event x y t E")):
        np.savetxt(tmp_path / "a.txt", numbers, delimiter=delimiter, header=header)
        hits, _ = told_by(tmp_path / "a.txt", verbatim=False)
        assert hits.coords.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert hits.event_id.tolist() == [0]
        ((name, values),) = hits.carried.columns
        assert (name, values.dtype, values.tolist()) == ("E", np.float64, [0.1, 1e-9])


def test_text_is_not_taken_for_what_it_is_not(tmp_path):
    """Cells of the user: with quotes, line breaks, commas, leading zeros, more digits than float64 has."""
    cells = [
        "007",
        "1_0",
        "1e5",
        "1.50",
        "٣",
        "12345678901234567890123",
        "0.12345678901234567890",
        'a "b"',
        "c\nd",
        "e,f",
        " g ",
    ]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    (tmp_path / "a.csv").write_text(
        "event,x,y,t,own\n" + "".join(f"{i},1,2,3,{cell}\n" for i, cell in enumerate(quoted))
    )
    hits, said = told_by(tmp_path / "a.csv")
    assert hits.carried.columns[0][1].tolist() == cells
    assert not said
    for cell in cells[:7]:
        (tmp_path / "b.csv").write_text(f"event,x,y,t,own\n0,1,2,3,{cell}\n")
        ((_, values),) = read_hits(tmp_path / "b.csv").carried.columns
        assert [str(value) for value in values] == [cell]
    for cell in (cells[0], cells[1], cells[4], cells[5], cells[6]):  # text also where numbers are wanted
        (tmp_path / "b.csv").write_text(f"event,x,y,t,own\n0,1,2,3,{cell}\n")
        ((_, values),) = read_hits(tmp_path / "b.csv", verbatim=False).carried.columns
        assert values.tolist() == [cell]


@pytest.mark.parametrize("cell", ["1_0", "１２", "٣", "0x1", "1 2", "", "nan"])
def test_numbers_that_only_python_reads_are_none(tmp_path, cell):
    (tmp_path / "a.csv").write_text(f"event,x,y,t\n0,1,2,3\n0,{cell},2,3\n", encoding="utf-8")
    check_refused(tmp_path / "a.csv", f"x = '{cell}' in line 3 is not a whole number")
    (tmp_path / "a.csv").write_text(f"event,x,y,t,E\n0,1,2,3,4\n0,1,2,3,{cell}\n", encoding="utf-8")
    words = ("not finite",) if cell == "nan" else (f"feature 'E' = '{cell}' in line 3 is not a number",)
    check_refused(tmp_path / "a.csv", *words, features=["E"])
    assert read_hits(tmp_path / "a.csv").num_hits == 2


def test_the_line_is_right_behind_comments_and_in_later_parts(tmp_path):
    rows = [f"{i // 1000},1,2,3" for i in range(200_000)]
    rows[150_000] = "150,1,2,x"
    (tmp_path / "a.csv").write_text("# made by x\nevent,x,y,t\n# a comment\n" + "\n".join(rows))
    check_refused(tmp_path / "a.csv", "t = 'x' in line 150004")


@pytest.mark.parametrize("header", ["event,x,y,t", "a,b,c,d"])
def test_very_many_columns_are_refused_at_once(tmp_path, header):
    names = ",".join([header, *(f"c{i}" for i in range(130_000))])
    (tmp_path / "a.csv").write_text(f"{names}\n{','.join(['1'] * 130_004)}\n")
    begin = time.perf_counter()
    check_refused(tmp_path / "a.csv")
    assert time.perf_counter() - begin < 2


def test_a_wide_table_of_hits_is_no_table_of_robots(tmp_path):
    names = ",".join(f"c{i}" for i in range(1329))
    (tmp_path / "a.csv").write_text(f"event,x,y,t,{names}\n{','.join(['1'] * 1333)}\n")
    hits = read_hits(tmp_path / "a.csv")
    assert (hits.num_hits, len(hits.carried.names)) == (1, 1329)


def test_a_packed_table_that_never_ends_is_told(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"event,x,y,t\n" + b"0,1,2,3\n" * (17 << 20)))
    with pytest.raises(DataError, match="unpacks to more than"):
        list(read_blocks(tmp_path / "a.csv.gz", 1000, geometry=None))


def test_event_ids_call_events_where_they_are_the_same_within(tmp_path):
    head = "event,x,y,t,event_id\n"
    (tmp_path / "a.csv").write_text(f"{head}0,1,2,3,run 7\n1,1,2,3,run 8\n0,1,2,3,run 7\n")
    hits, _ = told_by(tmp_path / "a.csv")
    assert hits.event_id == ("run 7", "run 8")
    write_hits(tmp_path / "b.csv", hits)
    assert (tmp_path / "b.csv").read_text().splitlines()[3].startswith("0,1,2,3,run 7")
    (tmp_path / "a.csv").write_text(f"{head}0,1,2,3,7\n1,1,2,3,8\n0,1,2,3,9\n")
    hits, _ = told_by(tmp_path / "a.csv")
    assert hits.event_id.tolist() == [0, 1]
    assert dict(hits.carried.columns)["event_id"].tolist() == [7, 9, 8]
    (tmp_path / "a.csv").write_text("event_id,x,y,t\n5,1,2,3\n5,1,2,4\n")
    assert read_hits(tmp_path / "a.csv").event_id.tolist() == [5]
