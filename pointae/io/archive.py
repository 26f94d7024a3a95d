"""Zip archives that hold arrays, ``.npz`` and ``.pt``: opened once their directory has been found sound."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pointae.errors import DataError
from pointae.storage import open_regular

MAX_DIRECTORY = 1 << 20
"""Bytes of an archive's list of members: thousands of them."""
END, END_BYTES, MAX_COMMENT = b"PK\x05\x06", 22, 1 << 16
"""What the last record of an archive begins with, its length, and that of the comment behind it."""
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Ways of packing that are undone a part at a time; of others one part can fill the memory."""


@contextmanager
def open_archive(path: Path, suffix: str = "") -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An archive, and its members by name, without ``suffix`` where they have it.

    Raises:
        DataError: too many members, two of one name, one that points outside, is encrypted or oddly packed.
        BadZipFile: it is none.
    """
    with open_regular(path) as file:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(suffix)
                _check_member(info)
                if name in members:
                    raise DataError(f"holds two members named '{name[:60]}'", fix="write the archive again")
                members[name] = info
            yield archive, members


def _check_directory(file: BinaryIO) -> None:
    file.seek(max(0, os.fstat(file.fileno()).st_size - END_BYTES - MAX_COMMENT))
    tail = file.read()
    at = tail.rfind(END)
    size = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if size > MAX_DIRECTORY:
        told = f"lists its members in {size:,} bytes, at most {MAX_DIRECTORY:,} are read"
        raise DataError(told, fix="it is no archive of a few arrays")


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
        raise DataError(f"holds a member named '{name[:60]}' that points outside the archive", fix="do not trust it")
    if info.flag_bits & 1:
        raise DataError(f"holds the encrypted member '{name[:60]}'", fix="write it without a password")
    if info.compress_type not in METHODS:
        told = f"holds '{name[:60]}' packed in another way than numpy's (method {info.compress_type} of zip)"
        raise DataError(told, fix="write it with numpy.savez_compressed")
