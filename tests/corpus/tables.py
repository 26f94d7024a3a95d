"""CSV, robots and Parquet: cells, headers, bombs, widths, damage."""

from __future__ import annotations

import functools
import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from corpus import Entry, cuts, flips
from corpus.tensors import sparse_file

HEADER = "event,x,y,t"
ROBOT_CELLS = 11**3


def csv(
    name: str, text: str | bytes, told: str = "", hits: int | None = None, ending: str = ".csv", **more: Any
) -> Entry:
    content = text if isinstance(text, bytes) else text.encode()
    return Entry(f"{name}{ending}", lambda path: path.write_bytes(content), (told,), hits=hits, **more)


def row(cell: str) -> str:
    """A table of two rows, the second with a cell of its own for t."""
    return f"{HEADER}\n0,1,2,3\n0,1,2,{cell}\n"


def cells() -> list[Entry]:
    bad = {
        "underscore": "1_0", "full_width": "１２", "arabic": "٣", "hex": "0x10", "fraction": "1.5", "nan": "nan",
        "inf": "inf", "word": "abc", "nothing": "", "exponent": "1e30", "digits": "9" * 5000, "many": "1" + "0" * 400,
        "2_64": str(1 << 64), "negative": "-1", "minus": "-", "spaced": "1 0", "escape": "\x1b[31m3", "nul": "\0",
        "markup": "[/x]", "formula": "=1+1", "thousands": '"1,000"', "long": "a" * 100_000,
    }  # fmt: skip
    good = {"whole": ("12.0", 2), "plus": ("+3", 2), "exponent_whole": ("1e2", 2), "quoted": ('"3"', 2)}
    return [
        *(
            csv(f"cell_{name}", row(cell), "" if name in ("negative", "spaced") else "t = ")
            for name, cell in bad.items()
        ),
        *(csv(f"cell_{name}", row(cell), hits=hits) for name, (cell, hits) in good.items()),
        csv("event_nul", f"{HEADER}\na\0b,1,2,3\n", "NUL"),
        csv("event_not_utf8", f"{HEADER}\n".encode() + b"\xff,1,2,3\n"),
        csv("event_combining", f"{HEADER}\ne\u0301,1,2,3\n", hits=1),
        csv("event_escape", f"{HEADER}\n\x1b[31m,1,2,3\n", hits=1),
        csv("event_markup", f"{HEADER}\n[/x],1,2,3\n", hits=1),
        csv("event_long", f"{HEADER}\n{'a' * 5000},1,2,3\n", "characters"),
        csv("event_formula", f"{HEADER}\n=cmd|' /C calc'!A0,1,2,3\n", hits=1),
        csv("signal_odd", f"{HEADER},signal\n0,1,2,3,2\n", "signal"),
        csv("track_2_31", f"{HEADER},track\n0,1,2,3,3000000000\n", "track"),
        csv("score_inf", f"{HEADER},score\n0,1,2,3,inf\n", "score"),
        csv("feature_1e300", f"{HEADER},tot\n0,1,2,3,1e300\n", "tot", options={"features": ("tot",)}),
        csv("feature_nan", f"{HEADER},tot\n0,1,2,3,nan\n", "tot", options={"features": ("tot",)}),
        csv("user_nan", f"{HEADER},tot\n0,1,2,3,nan\n", hits=1),
        csv("user_surrogate", f"{HEADER},note\n0,1,2,3,\xed\xa0\x80\n", hits=1),
    ]


def headers() -> list[Entry]:
    wide = ",".join([HEADER, *(f"c{i}" for i in range(130_000))]) + "\n" + ",".join(["1"] * 130_004) + "\n"
    some = ",".join([HEADER, *(f"c{i}" for i in range(900))]) + "\n" + ",".join(["1"] * 904) + "\n"
    return [
        csv("columns_130000", wide),
        csv("columns_900", some, hits=1),
        csv("empty", b"", "empty (0 bytes)"),
        csv("one_byte", b"e"),
        csv("only_header", f"{HEADER}\n", hits=0),
        csv("only_newlines", "\n" * 100_000),
        csv("only_commas", "," * 500_000),
        csv("only_commas_rows", (",,,\n") * 10_000),
        csv("only_quotes", '"' * 100_000),
        csv("only_spaces", " " * 300_000),
        csv("only_hashes", "#\n" * 50_000),
        csv("open_quote", f'{HEADER}\n"0,1,2,3\n' + "0,1,2,3\n" * 200_000),
        csv("same_names", f"{HEADER},x\n0,1,2,3,4\n", "x"),
        csv("no_t", "event,x,y\n0,1,2\n", "t"),
        csv("names_escape", "\x1b[31mevent,x,y\n0,1,2\n"),
        csv("names_nul", "event\0,x,y,t\n0,1,2,3\n"),
        csv("short_row", f"{HEADER}\n0,1,2,3\n0,1,2\n", "line 3"),
        csv("long_row", f"{HEADER}\n0,1,2,3\n0,1,2,3,4\n", "line 3"),
        csv("long_line", f"{HEADER}\n" + "9" * (3 << 20)),
        csv("long_first_line", "a" * (3 << 20)),
        csv("utf16", row("3").encode("utf-16"), hits=2),
        csv("utf16_cut", row("3").encode("utf-16")[:-1], exit_code=None),
        csv("utf32", row("3").encode("utf-32")),
        csv("bom", b"\xef\xbb\xbf" + row("3").encode(), hits=2),
        csv("crlf", row("3").replace("\n", "\r\n"), hits=2),
        csv("cr", row("3").replace("\n", "\r"), hits=2),
        csv("binary", bytes(range(256)) * 40),
        csv("null_bytes", bytes(5000)),
        csv("newline_in_cell", f'{HEADER},note\n0,1,2,3,"a\nb"\n', hits=1),
        csv("quotes_in_cell", f'{HEADER},note\n0,1,2,3,"a""b"\n', hits=1),
        Entry("holes.csv", lambda path: sparse_file(path, f"{HEADER}\n0,1,2,3\n".encode(), 20 << 30)),
        csv("events_1e6", f"{HEADER}\n" + "".join(f"{i},1,2,3\n" for i in range(100_000)), hits=100_000),
        csv("scattered", f"{HEADER}\n" + "".join(f"{i % 7},1,2,3\n" for i in range(20_000)), hits=20_000),
    ]  # fmt: skip


def packed() -> list[Entry]:
    good = gzip.compress(row("3").encode())
    bomb = gzip.compress(f"{HEADER}\n".encode()) + gzip.compress(b"0,1,2,3\n" * (1 << 20)) * 100
    line = gzip.compress(bytes(1 << 24)) * 100
    return [
        csv("good", good, hits=2, ending=".csv.gz"),
        csv("named_csv", good, hits=2),
        csv("cut", good[:-6], ending=".csv.gz"),
        csv("damaged", good[:15] + b"\0\0" + good[17:], ending=".csv.gz"),
        csv("twice", gzip.compress(good), ending=".csv.gz"),
        csv("empty_inside", gzip.compress(b""), ending=".csv.gz"),
        csv("line_bomb", line, ending=".csv.gz"),
        csv("bomb", bomb, ending=".csv.gz", slow=True, exit_code=None),
    ]


def robot(name: str, told: str = "", hits: int | None = None, rows: list[str] | None = None, **places: str) -> Entry:
    cells = ["0"] * ROBOT_CELLS
    for place, value in places.items():
        cells[int(place[1:])] = value
    text = "\n".join(rows if rows is not None else [",".join(["r1", "3", *cells])]) + "\n"
    return csv(f"robot_{name}", text, told, hits)


def robots() -> list[Entry]:
    plain = ",".join(["r1", "3", *["0"] * ROBOT_CELLS])
    return [
        robot("good", hits=2, c665="1", c666="4"),
        robot("empty", hits=0),
        robot("kind_5", "line 1", c665="5"),
        robot("negative", "line 1", c665="-1"),
        robot("half", "line 1", c665="0.5"),
        robot("full_width", "line 1", c665="１"),
        robot("nine", "9 occupied", **{f"c{i}": "1" for i in range(9)}),
        robot("narrow", "columns", rows=[plain.rsplit(",", 1)[0]]),
        robot("wide", "columns", rows=[plain + ",0"]),
        robot("ragged", "line 2", rows=[plain, plain + ",0"]),
        robot("long", "line 1", rows=["r," * 60_000]),
        robot("other_id", "line 2", rows=[plain, plain[:-1] + "1"]),
        robot("id_nul", "NUL", rows=["r\0" + plain]),
    ]


# ---- Parquet ----------------------------------------------------------------------------------------------


def table(
    name: str, columns: Callable[[], dict[str, Any]], told: str = "", hits: int | None = None, **more: Any
) -> Entry:
    """A file of good columns with some changed; ``None`` leaves one out."""
    options = {key: more.pop(key) for key in ("exit_code", "slow", "megabytes", "options") if key in more}

    def make(path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        good = {"event": [0, 0, 1], "x": [1, 2, 3], "y": [1, 2, 3], "t": [1, 2, 3]}
        found = {key: values for key, values in (good | columns()).items() if values is not None}
        parquet.write_table(pyarrow.table(found), path, **more)

    return Entry(f"{name}.parquet", make, (told,), hits=hits, **options)


def parquet() -> list[Entry]:
    import pyarrow as pa

    def repeated(rows: int, size: int) -> dict[str, Any]:
        codes = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["a" * size])
        return {name: np.zeros(rows, int) for name in ("event", "x", "y", "t")} | {"note": codes}

    def events_of_text(rows: int, size: int) -> dict[str, Any]:
        found = repeated(rows, size)
        return {name: found[name] for name in ("x", "y", "t")} | {"event": found["note"]}

    def one_list(size: int) -> dict[str, Any]:
        values = pa.array(np.zeros(size, np.int8))
        return {"waves": pa.ListArray.from_arrays([0, 0, 0, size], values)}

    def constant(rows: int, columns: int = 0) -> dict[str, Any]:
        names = ("event", "x", "y", "t", *(f"c{i}" for i in range(columns)))
        return {name: np.zeros(rows, int) for name in names}

    return [
        table("good", dict, hits=3),
        table("types", lambda: {"x": np.array([1, 2, 3], np.uint8), "t": np.array([1, 2, 3], np.int64)}, hits=3),
        table("no_t", lambda: {"t": None}, "t"),
        table("empty_place", lambda: {"t": [1, None, 3]}, "t is empty"),
        table("float_t", lambda: {"t": [1.0, 2.0, 3.0]}, "t must be whole", exit_code=None),
        table("text_t", lambda: {"t": ["1", "2", "3"]}, "t must be whole"),
        table("t_2_63", lambda: {"t": np.array([1, 1 << 63, 3], np.uint64)}, "9223372036854775808"),
        table("t_negative", lambda: {"t": [1, -2, 3]}, "t = -2"),
        table("t_list", lambda: {"t": [[1], [2], [3]]}, "t holds"),
        table("event_text", lambda: {"event": ["a", "a", "b"]}, hits=3),
        table("event_nul", lambda: {"event": ["a\0", "a\0", "b"]}, "NUL"),
        table("event_long", lambda: {"event": ["a" * 5000, "b", "c"]}, "characters"),
        table("event_float", lambda: {"event": [1.0, 2.0, 3.0]}, "event must be"),
        table("event_binary", lambda: {"event": [b"\xff", b"a", b"b"]}, "event must be"),
        table("event_bool", lambda: {"event": [True, True, False]}, "event must be"),
        table("event_empty", lambda: {"event": [1, None, 2]}, "event is empty"),
        table("timestamp", lambda: {"when": np.array([1, 2, 3], "M8[ns]")}, hits=3),
        table("lists", lambda: {"wave": [[1], [], [1, 2]]}, hits=3),
        table("structs", lambda: {"more": [{"a": 1}, {"a": 2}, {"a": 3}]}, hits=3),
        table("decimals", lambda: {"more": pa.array([1, 2, 3], pa.decimal128(10, 2))}, hits=3),
        table("nothing", lambda: {"more": pa.nulls(3)}, hits=3),
        table("feature_nan", lambda: {"tot": [1.0, np.nan, 2.0]}, "tot", options={"features": ("tot",)}),
        table("names_odd", lambda: {"[/x]": [1, 2, 3], "\x1b[31m": [1, 2, 3], "a\0b": [1, 2, 3]}, hits=3),
        table("same_text_5_mb", lambda: repeated(400, 5_000_000)),
        table("same_text_1_kb", lambda: repeated(100, 1000), hits=100),
        table("same_event_5_mb", lambda: events_of_text(400, 5_000_000)),
        table("one_list_3e8", lambda: one_list(300_000_000), slow=True, exit_code=None, megabytes=4000),
        table("one_list_3e6", lambda: one_list(3_000_000), exit_code=None),
        table("constant_60", lambda: constant(20_000, 60), hits=20_000),
        table("constant_1e7", lambda: constant(30_000_000), "declares"),
        table("columns_20000", lambda: {f"c{i}": [1, 2, 3] for i in range(20_000)}, exit_code=None),
        *(table(f"packed_{way}", dict, hits=3, compression=way) for way in ("snappy", "gzip", "brotli", "lz4", "zstd")),
        *parquet_damage(),
    ]  # fmt: skip


@functools.cache
def whole() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        entry = table("a", lambda: {"note": ["a", "b", "c"]})
        entry.make(Path(folder) / entry.name)
        return (Path(folder) / entry.name).read_bytes()


def parquet_damage() -> list[Entry]:
    size = len(whole())

    def longest_footer(path: Path) -> None:
        path.write_bytes(whole()[:-8] + b"\xff\xff\xff\x7fPAR1")

    chance = np.random.default_rng(20)
    return [
        *flips(".parquet", whole(), chance.integers(0, size, 50).tolist()),
        *cuts(".parquet", whole(), [1, 4, 8, 12, *range(100, size, 500), size - 1]),
        Entry("footer.parquet", longest_footer),
        Entry("only_magic.parquet", lambda path: path.write_bytes(b"PAR1" * 3)),
        Entry("empty.parquet", lambda path: path.write_bytes(b""), ("empty (0 bytes)",)),
    ]  # fmt: skip


def entries() -> list[Entry]:
    """All tables."""
    return [*cells(), *headers(), *packed(), *robots(), *parquet()]
