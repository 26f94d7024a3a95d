"""Whole files or none: atomic writing of bytes, JSON and tables, and their digests."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.errors import CheckpointError, StorageError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: temporary file beside it, flush, fsync, read back, replace.

    Raises:
        StorageError: the disk is full, a permission is missing, it does not read back as written, ...
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != content:
            raise OSError(errno.EIO, "it does not read back as it was written")
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot be written: {error.strerror}", where=path) from error


def sync(path: Path) -> None:
    """Wait until what was written to ``path``, a file or a folder, is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder; its replace is durable by itself
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """JSON with sorted digits left as they are; nan and infinity become null."""
    write_atomically(path, (json.dumps(_finite(content), indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """JSON from a run.

    Raises:
        CheckpointError: not readable as JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"is damaged: {error}", where=path) from None


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV with a header; columns are those of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, buffer.getvalue().encode())


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV: numbers as float, empty cells as ``nan``, anything else as text.

    Raises:
        CheckpointError: not there, or not readable as a CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: _cell(text) for name, text in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointError(f"cannot be read: {error}", where=path) from None


def checksum(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and contents in order."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*.npy")):
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode())
        with open(file, "rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def digest(content: bytes) -> str:
    """SHA-256, as kept beside weights and data sets."""
    return hashlib.sha256(content).hexdigest()


def _cell(text: str | None) -> float | str:
    try:
        return float(text or "nan")
    except ValueError:
        return str(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
