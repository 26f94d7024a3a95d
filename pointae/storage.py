"""Files on disk: atomic writing of bytes, JSON and tables; opening what others wrote, regular files within bounds."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pointae.csv_text import as_given, csv_writer, no_formula, to_number
from pointae.errors import CheckpointError, ConfigError, DataError, StorageError
from pointae.replacing import Replacement, sync

JSON_BYTES, JSON_VALUES, JSON_DEPTH, JSON_DIGITS = 32_000_000, 1_000_000, 64, 40
"""Most that is read of JSON: bytes, values, levels, and digits of a whole number."""
TABLE_BYTES = 16_000_000
"""A table that is read is at most as large."""
IRREGULAR = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
"""What is no regular file."""


class UnfitFileError(OSError):
    """What was to be read is no regular file, or larger than what is read at once; its text says which."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.strerror = what


def check_regular(path: str | Path) -> None:
    """Refuse what is no regular file before anything opens it: a pipe would wait for ever, a device never ends.

    For readers that take a path, as h5py does; others use :func:`open_regular`.

    Raises:
        UnfitFileError: a pipe, socket, device or folder, or a name that no file can have.
        OSError: there is none, it may not be looked at, ...
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError:  # NUL, or half a character
        raise UnfitFileError("is no name that a file can have") from None
    if not stat.S_ISREG(mode):
        raise UnfitFileError(f"is {IRREGULAR.get(stat.S_IFMT(mode), 'of an unknown kind')}, not a regular file")


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, open for reading bytes: what every reader opens what it is given with.

    Text is ``io.TextIOWrapper(open_regular(path), encoding="utf-8")``.

    Raises:
        UnfitFileError: a pipe, socket, device or folder.
        OSError: there is none, it may not be read, ...
    """
    check_regular(path)
    # Not waiting, should a pipe have taken its place meanwhile; without meaning for regular files.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    return os.fdopen(handle, "rb")


def read_bounded(path: str | Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        UnfitFileError: it has more, or is no regular file.
        OSError: it is not there, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        raise UnfitFileError(f"holds {max(size, len(content)):,} bytes, at most {most:,} are read")
    return content


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: temporary file beside it, fsync, read back, replace; a link is followed.

    Raises:
        StorageError: the disk is full, a permission is missing, it does not read back as written, ...
    """
    try:
        whole = Replacement(path)
        try:
            with whole.temporary.open("wb") as file:
                file.write(content)
            sync(whole.temporary)
            if whole.temporary.read_bytes() != content:
                raise OSError(errno.EIO, "it does not read back as it was written")
            whole.keep()
        finally:
            whole.drop()
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=path) from error


def write_json(path: Path, content: Any) -> None:
    """Write what :func:`to_json` makes."""
    write_atomically(path, to_json(content).encode())


def to_json(content: Any) -> str:
    """JSON to be kept: nan and infinity become null, keys strings."""
    return json.dumps(_finite(content), indent=2) + "\n"


def parse_json(content: bytes | str, undefined: bool = False) -> Any:
    """JSON of any origin as plain values, strictly and within bounds.

    Numbers are finite and at most as long as :data:`JSON_DIGITS`, objects name nothing twice, texts can be encoded.

    Args:
        content: UTF-8.
        undefined: take ``NaN``, ``Infinity`` and half characters too, as Python writes what JSON has no word for.

    Raises:
        ValueError: says in a line why it is not such JSON.
    """
    size = len(content)
    if size > JSON_BYTES:
        raise ValueError(f"holds {size / 1e6:,.0f} MB of JSON, at most {JSON_BYTES / 1e6:,.0f} are read")
    text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    values = sum(text.count(mark) for mark in ",[{")
    if values > JSON_VALUES:
        raise ValueError(f"holds {values:,} values of JSON, at most {JSON_VALUES:,} are read")
    constant = float if undefined else _no_number
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=constant, parse_float=_float, parse_int=_integer
        )
    except RecursionError:
        deep = True
    else:
        deep = _deeper(value, JSON_DEPTH)
    if deep:
        raise ValueError(f"is JSON nested deeper than {JSON_DEPTH} levels")
    if not undefined and ("\\ud" in text or "\\uD" in text):  # half of a pair of surrogates is no text
        json.dumps(value, ensure_ascii=False).encode()
    return value


def read_json(path: Path) -> Any:
    """JSON from a file; see :func:`parse_json`.

    Raises:
        CheckpointError: not there, or not readable as JSON.
    """
    try:
        return parse_json(read_bounded(path, JSON_BYTES))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"is damaged: {_reason(error)}", where=path) from None


def check_version(version: Any, newest: int, name: str = "format_version") -> None:
    """Refuse what a later pointae wrote: it may say what this one would pass over.

    Args:
        version: as stored.
        newest: that this pointae reads.
        name: of the number.

    Raises:
        ConfigError: it is later, or no version; the caller says where.
    """
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        told = f"{version!r:.40}" if isinstance(version, str | float | bool) else "something else"
        raise ConfigError(f"{name} must be a whole number from 1 on, got {told}")
    if version > newest:
        told = str(version) if version < 1 << 64 else "a number"
        raise ConfigError(
            f"{name} {told} is later than {newest}, the last that this pointae reads", fix="update pointae"
        )


def read_kept(path: Path, most: int, fix: str | None = None) -> bytes:
    """The content of a file of a run or of shipped weights, as :func:`read_bounded` reads it.

    Args:
        path: of the file.
        most: bytes.
        fix: what to do where it cannot be read.

    Raises:
        CheckpointError: it is missing, is no regular file, is larger or cannot be read.
    """
    try:
        return read_bounded(path, most)
    except FileNotFoundError:
        raise CheckpointError("is missing", where=path, fix=fix) from None
    except OSError as error:
        raise CheckpointError(f"cannot be read: {_reason(error)}", where=path, fix=fix) from None


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV with a header; columns are those of all rows, in order of appearance.

    Text that a spreadsheet would take for a formula begins with ``'``, as one types it there.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    lines: list[str] = []
    csv_writer(lines.append).writerows(map(no_formula, each) for each in cells)
    # Half characters, of file names that are no UTF-8, as their escapes.
    write_atomically(path, "".join(lines).encode("utf-8", "backslashreplace"))


def read_table(path: Path, texts: Sequence[str] = (), needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of a CSV that :func:`write_table` wrote: every cell a number, an empty one ``nan``.

    Args:
        path: of the file.
        texts: columns of words.
        needed: columns that it must have, unless it is empty.

    Raises:
        DataError: not there, or not such a table; names line and column.
    """
    try:
        content = read_bounded(path, TABLE_BYTES).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(content, newline=""), strict=True)
        header = [as_given(name) for name in next(lines, [])]
        if len(set(header)) < len(header) or (header and "" in header):
            raise ValueError("its header names a column twice, or not at all")
        for name in needed if header else ():
            if name not in header:
                raise ValueError(f"lacks the column '{name}'")
        return [_row(header, cells, lines.line_num, texts) for cells in lines if cells]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot be read: {_reason(error)}"[:400], where=path, fix="make it anew") from None


def checksum(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and contents in order."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*.npy")):
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode())
        with open_regular(file) as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def digest(content: bytes) -> str:
    """SHA-256, as kept beside weights and data sets."""
    return hashlib.sha256(content).hexdigest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"names {name[:40]!r} twice in one JSON object")
        found[name] = value
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"holds {text}, which is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds the number {text[:40]}, which is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > JSON_DIGITS:
        raise ValueError(f"holds a whole number of {len(text):,} digits, at most {JSON_DIGITS} are read")
    return int(text)


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper, level by level."""
    nested = [value]
    for _ in range(levels):
        nested = [item for each in nested for item in _items(each) if isinstance(item, (dict, list))]
    return bool(nested)


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _row(header: list[str], cells: list[str], line: int, texts: Sequence[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise ValueError(f"line {line} has {len(cells)} cells, the header {len(header)}")
    row: dict[str, Any] = {}
    for name, text in zip(header, cells, strict=True):
        try:
            row[name] = as_given(text) if name in texts else to_number(text)
        except ValueError:
            raise ValueError(f"line {line}, column '{name[:40]}': {text[:40]!r} is not a number") from None
    return row


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
