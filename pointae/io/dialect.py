"""How a table of text is written: found from its first lines, so that what other programs write can be read."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from pointae.errors import DataError
from pointae.io.boundary import bytes_held, most_unpacked
from pointae.optional import require
from pointae.storage import open_regular

LINE_CHARACTERS = 1 << 20
SAMPLE = 1 << 18
"""Characters looked at, unless the first line is longer."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, bzip2, xz and Zstandard."""
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Args:
        header: names of the columns.
        lines: that come before the rows, the header's included.
        delimiter: between columns; a space stands for any number of spaces and tabs.
        decimal_comma: numbers are written as ``6450,0``.
        commented: the header stands behind ``#``, and so does whatever else is no row.
        padded: spaces around cells are none of theirs.
        cr_only: lines end with a carriage return alone.
        encoding: of the text.
        packed: the file is compressed.
        loose: rows end with delimiters behind which nothing comes.
    """

    header: tuple[str, ...]
    lines: int
    delimiter: str
    decimal_comma: bool = False
    commented: bool = False
    padded: bool = False
    cr_only: bool = False
    encoding: str = "utf-8-sig"
    packed: bool = False
    loose: bool = False

    @property
    def note(self) -> str | None:
        """What is unlike a table of comma-separated values, in words; ``None``: nothing."""
        told = {
            f"text in {self.encoding.upper()}": self.encoding != "utf-8-sig",
            f"{DELIMITERS[self.delimiter]} between columns": self.delimiter != ",",
            "decimal commas": self.decimal_comma,
            "the header behind '#'": self.commented,
            "spaces around cells": self.padded and self.delimiter != " ",
            "lines that end with CR": self.cr_only,
            "nothing behind the last delimiter": self.loose,
        }
        found = [words for words, holds in told.items() if holds]
        kind = "a compressed table" if self.packed else "a table"
        like = f" with {', '.join(found)}" if found else ""
        return f"read as {kind}{like}" if found or self.packed else None

    def open(self, path: Path) -> TextIO:
        """The table's text behind the header."""
        file = _text(_unpacked(path), self.encoding, None if self.cr_only else "")
        for _ in range(self.lines):
            file.readline(2 * LINE_CHARACTERS)
        return file

    def cells(self, line: str) -> list[str]:
        """The cells of one line, without what surrounds them."""
        return _cells(line, self.delimiter)


def find_dialect(path: Path, has_names: Callable[[Sequence[str]], bool]) -> Dialect:
    """The dialect of a table.

    Args:
        path: of the file, compressed or not.
        has_names: whether a header has all the columns that are needed; by it the delimiter is known.

    Raises:
        DataError: a line too long, too many columns, or text that cannot be decoded.
    """
    with _unpacked(path) as raw:
        packed, start = not isinstance(raw, io.BufferedReader), raw.read(4)
    encoding = ENCODINGS.get(start[:2], "utf-8-sig")
    with _text(_unpacked(path), encoding, "") as file:
        sample = _sample(file)
    cr_only = "\n" not in sample and "\r" in sample
    lines = [line.rstrip("\r") for line in sample.split("\r" if cr_only else "\n")]
    place, delimiter, commented = _header(lines, has_names)
    if "\0" in lines[place]:
        raise DataError("begins with NUL characters, as no table does", fix="save it as UTF-8 text")
    whole = lines if len(sample) < SAMPLE else lines[:-1]
    rows = [line for line in islice(whole, place + 1, 100) if line.strip() and not line.startswith("#")]
    written = lines[place].lstrip("# ") if commented else lines[place]
    header = _cells(written, delimiter)
    if rows and len(_cells(rows[0], delimiter)) != len(header):
        # numpy.savetxt writes the header as it was given, whatever stands between the columns.
        delimiter = next((d for d in DELIMITERS if len(_cells(rows[0], d)) == len(header)), delimiter)
    cells = [_cells(row, delimiter) for row in rows]
    ended = len(header)
    while ended and not header[ended - 1] and all(not "".join(row[ended - 1 :]).strip() for row in cells):
        ended -= 1
    spaced = any(cell != cell.strip() for cell in next(csv.reader([written], delimiter=delimiter), []))
    return Dialect(
        header=tuple(header[:ended]),
        lines=place + 1,
        delimiter=delimiter,
        decimal_comma=delimiter != "," and _has_decimal_commas(cells),
        commented=commented,
        padded=delimiter == " " or spaced,
        cr_only=cr_only,
        encoding=encoding,
        packed=packed,
        loose=ended < len(header) or any(len(row) > ended and not "".join(row[ended:]).strip() for row in cells),
    )


def check_unpacked(path: Path) -> None:
    """Raise where a compressed file unpacks to far more than tables do, before any of it is taken for rows."""
    most, total = most_unpacked(path), 0
    with _unpacked(path) as raw:
        while part := raw.read(1 << 20):
            total += len(part)
            if total > most:
                told = f"unpacks to more than {most:,} bytes, the file has {bytes_held(path):,}"
                raise DataError(told, fix="unpack it yourself if you trust it")


def _unpacked(path: Path) -> BinaryIO:
    with open_regular(path) as file:
        start = file.read(6)
    kind = next((magic for magic in COMPRESSED if start.startswith(magic)), None)
    if kind is None:
        return open_regular(path)
    if kind == COMPRESSED[3]:
        return cast(BinaryIO, require("pyarrow", extra="parquet").input_stream(str(path), compression="zstd"))
    openers: dict[bytes, Any] = {COMPRESSED[0]: gzip.open, COMPRESSED[1]: bz2.open, COMPRESSED[2]: lzma.open}
    return cast(BinaryIO, openers[kind](path, "rb"))


def _text(raw: BinaryIO, encoding: str, newline: str | None) -> TextIO:
    return io.TextIOWrapper(raw, encoding=encoding, newline=newline)


def _sample(file: TextIO) -> str:
    try:
        sample = file.read(SAMPLE)
        if "\n" not in sample and "\r" not in sample:
            sample += file.readline(LINE_CHARACTERS)
    except UnicodeDecodeError as error:
        raise DataError(f"is not {error.encoding.lower()} text: {error.reason}", fix="save it as UTF-8") from error
    if len(sample) > LINE_CHARACTERS and "\n" not in sample and "\r" not in sample:
        raise DataError(f"has a line of more than {LINE_CHARACTERS:,} characters", fix="is this a table?")
    return sample


def _header(lines: Sequence[str], has_names: Callable[[Sequence[str]], bool]) -> tuple[int, str, bool]:
    """Which line names the columns, what is between them, and whether it stands behind ``#``."""
    behind: tuple[int, str, bool] | None = None
    for place, line in enumerate(lines):
        if not line.strip() or line.startswith("sep="):
            continue
        commented = line.startswith("#")
        written = line.lstrip("# ") if commented else line
        fitting = next((d for d in DELIMITERS if has_names(_cells(written, d))), None)
        if commented:
            behind = behind if fitting is None else (place, fitting, True)
            continue
        if fitting is not None:
            return place, fitting, False
        if behind is not None:
            return behind
        return place, max(DELIMITERS, key=lambda d: len(_cells(line, d))), False
    return behind or (0, ",", False)


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        line = " ".join(line.split())
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    cells = [cell for row in rows for cell in row]
    return any(map(_COMMA_NUMBER.fullmatch, cells)) and not any(map(_POINT_NUMBER.fullmatch, cells))


def with_points(cells: Sequence[str]) -> list[str]:
    """Cells of a table with decimal commas: the numbers with points, texts as they are."""
    return [cell.replace(",", ".") if _COMMA_NUMBER.fullmatch(cell) else cell for cell in cells]
