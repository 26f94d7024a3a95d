"""Robots as a table without a header: id, one more column, then 11 x 11 x 11 cells in C order, 0 empty to 4.

Combined files have two columns more in front, an index and the file's name: 1335 instead of 1333. The robot's id
is the second column before the cells in both; ids stay text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from pointae.errors import DataError
from pointae.geometry import geometry_to_dict, robot_geometry
from pointae.hits import HitBatch
from pointae.io.assembly import Assembler, Columns
from pointae.io.output import WriteReport
from pointae.robots import GRID, KINDS, MAX_VOXELS
from pointae.storage import open_regular

CELLS = GRID**3
WIDTHS = {CELLS + 2: 0, CELLS + 4: 2}
"""Columns of a row, and how many come before the robot's id."""
PLAIN = 2 * CELLS - 1
"""Bytes of the cells where each is one digit, commas between them."""
ROWS = 512
"""Read at once; so many stay in the cache of the processor."""
LINE_BYTES = 1 << 16
VALUES = {f"{value}{zeros}".encode(): value for value in range(len(KINDS) + 1) for zeros in ("", ".0")}
"""What a cell may be written as."""


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All robots of a table; ``event_id`` is the robot's id."""
    parts = list(_parts(path, ROWS))
    coords, category = (np.concatenate([getattr(part, name) for part in parts]) for name in ("coords", "category"))
    counts = np.concatenate([part.counts for part in parts])
    return assembler.hits(_columns(coords, category, counts, [name for part in parts for name in part.ids]))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The robots of a table, ``events_per_block`` at a time."""
    for part in _parts(path, events_per_block):
        yield assembler.hits(_columns(part.coords, part.category, part.counts, part.ids))


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """The grid."""
    return {"format": "robots csv", **geometry_to_dict(robot_geometry())}


# ---- reading -----------------------------------------------------------------------------------------


class _Part:
    """Consecutive rows: ids, voxels a row, and all voxels' coordinates and kinds."""

    def __init__(self, ids: list[str], cells: NDArray[np.uint8]) -> None:
        self.ids = ids
        row, cell = np.nonzero(cells)
        self.counts = np.bincount(row, minlength=len(ids))
        self.coords = np.stack(np.unravel_index(cell, (GRID, GRID, GRID)), axis=1).astype(np.int32)
        self.category = cells[row, cell].astype(np.int8)


def _columns(coords: Any, category: Any, counts: Any, ids: list[str]) -> Columns:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Columns(coords, offsets, {"category": category}, event_id=ids, geometry=robot_geometry())


def _parts(path: Path, rows: int) -> Iterator[_Part]:
    """The rows of a table, checked; at least one part."""
    seen: dict[tuple[str, ...], tuple[int, bytes]] = {}
    width = 0
    with open_regular(path) as file:
        lines = _lines(file)
        while numbered := list(islice(lines, rows)):
            width = width or _width(*numbered[0])
            names, cells = _parsed(numbered, width)
            for (number, _), name, robot in zip(numbered, names, cells, strict=True):
                _check(number, name, robot, seen)
            yield _Part([name[-1] for name in names], cells)
    if not width:
        raise DataError("has no rows", fix=_expected())


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, without their ends; blank ones are passed over."""
    number = 0
    while line := file.readline(LINE_BYTES):
        number += 1
        if len(line) == LINE_BYTES and not line.endswith(b"\n"):
            raise DataError(f"line {number} has more than {LINE_BYTES:,} bytes", fix=_expected())
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if stripped := line.rstrip(b"\r\n"):
            yield number, stripped


def _width(number: int, line: bytes) -> int:
    """Columns of the first row, which all have."""
    width = len(_fields(line))
    if width not in WIDTHS:
        raise DataError(f"line {number} has {width} columns", fix=_expected())
    return width


def _parsed(numbered: list[tuple[int, bytes]], width: int) -> tuple[list[tuple[str, ...]], NDArray[np.uint8]]:
    """Names (file, id) of the robots and their cells (R, 1331)."""
    cells = np.zeros((len(numbered), CELLS), np.uint8)
    tails = [line[-PLAIN:] for _, line in numbered]
    long = [row for row, tail in enumerate(tails) if len(tail) == PLAIN]
    digits = np.frombuffer(b"".join(tails[row] for row in long), np.uint8).reshape(len(long), PLAIN)
    plain = (digits[:, 1::2] == ord(",")).all(1) & (digits[:, ::2] - ord("0") <= len(KINDS)).all(1)
    cells[np.array(long, np.int64)[plain]] = digits[plain, ::2] - ord("0")
    is_plain = set(np.array(long, np.int64)[plain].tolist())
    names = []
    for row, (number, line) in enumerate(numbered):
        fast = row in is_plain and line[-PLAIN - 1 : -PLAIN] == b"," and b'"' not in line
        fields = line[: -PLAIN - 1].split(b",") if fast else _fields(line)
        columns = len(fields) + CELLS * fast
        if columns != width:
            raise DataError(f"line {number} has {columns} columns, line 1 has {width}", fix=_expected())
        if not fast:
            cells[row] = _slowly(fields[-CELLS:], number)
        before = WIDTHS[width]
        names.append(tuple(_text(fields[i], number) for i in range(before - 1 if before else 0, before + 1)))
    return names, cells


def _fields(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    return [field.encode("latin-1") for field in next(csv.reader([line.decode("latin-1")]))]


def _slowly(fields: list[bytes], number: int) -> list[int]:
    """Cells that are not all plain digits, e.g. ``2.0``."""
    cells = [VALUES.get(text) for text in fields]
    for column, (text, value) in enumerate(zip(fields, cells, strict=True), 1):
        if value is None:
            cells[column - 1] = value = VALUES.get(text.strip())
        if value is None:
            shown = text[:40].decode("utf-8", "replace")
            raise DataError(
                f"cell {column} of {CELLS} in line {number} is '{shown}', not a whole number from 0 to {len(KINDS)}",
                fix="correct it; these files have no header",
            )
    return cells  # type: ignore[return-value]


def _text(field: bytes, number: int) -> str:
    try:
        return field.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise DataError(f"the robot's id in line {number} is not UTF-8 text", fix="save the file as UTF-8") from None


def _check(
    number: int, name: tuple[str, ...], cells: NDArray[np.uint8], seen: dict[tuple[str, ...], tuple[int, bytes]]
) -> None:
    """A robot has up to eight voxels, and an id of its own unless it is the same robot once more."""
    voxels = int(np.count_nonzero(cells))
    if voxels > MAX_VOXELS:
        raise DataError(f"line {number} has {voxels} occupied voxels, a robot has at most {MAX_VOXELS}")
    digest = blake2b(cells.tobytes(), digest_size=16).digest()
    line, known = seen.setdefault(name, (number, digest))
    if known != digest:
        raise DataError(
            f"robot '{name[-1]}' of line {number} is another one in line {line}", fix="give each robot an id of its own"
        )


def _expected() -> str:
    narrow, wide = WIDTHS
    return f"a row has {narrow} columns: id, one more, {CELLS} cells; {wide} in combined files"


# ---- writing -----------------------------------------------------------------------------------------


class Sink:
    """Writes robots: id, number of voxels, cells."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._file = open(path, "x", encoding="utf-8", newline="")  # noqa: SIM115  # closed by close()

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the next robots; of voxels that share a cell the last one stays."""
        if hits.category is None or hits.geometry.spatial_shape != (GRID, GRID, GRID):
            raise DataError("only voxels with a category on the robots' grid make a robots table", fix="write .h5")
        cells = np.zeros((hits.batch_size, CELLS), np.uint8)
        place = np.ravel_multi_index(tuple(hits.coords.numpy().T), (GRID, GRID, GRID))
        cells[hits.batch.numpy(), place] = hits.category.numpy()
        occupied = np.count_nonzero(cells, axis=1)
        if (occupied > MAX_VOXELS).any() or (cells > len(KINDS)).any():
            event = int(((occupied > MAX_VOXELS) | (cells > len(KINDS)).any(1)).argmax())
            raise DataError(
                f"event {report.events + event} is no robot: {MAX_VOXELS} voxels of {len(KINDS)} kinds at most"
            )
        text = np.full((hits.batch_size, PLAIN), ord(","), np.uint8)
        text[:, ::2] = cells + ord("0")
        numbers = range(report.events, report.events + hits.batch_size) if hits.event_id is None else hits.event_id
        ids = numbers.tolist() if isinstance(numbers, torch.Tensor) else list(numbers)
        if any(isinstance(name, str) and set(name) & set('\r\n,"') for name in ids):
            raise DataError("an id with a comma, quote or line break has no place in a robots table", fix="write .h5")
        for name, count, row in zip(ids, occupied.tolist(), text, strict=True):
            self._file.write(f"{name},{count},{row.tobytes().decode('ascii')}\n")
        report.hits_lost += hits.num_hits - int(occupied.sum())
        others = [name for name in hits.present if name != "category"] + list(hits.feature_names)
        report.fields_lost = tuple(dict.fromkeys([*report.fields_lost, *others]))

    def close(self, complete: bool) -> None:
        """Close the file."""
        self._file.close()
