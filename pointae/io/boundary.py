"""The one boundary: every failure to read or write a file becomes one line that says where and what to do.

Knows no torch: a file is looked at before anything slow is imported.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pointae.errors import DataError, PointaeError, StorageError
from pointae.storage import UnfitFileError, open_regular

HDF5 = b"\x89HDF\r\n\x1a\n"
SIGNATURES: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((HDF5,), "HDF5", "correct the ending '{}' to '.h5'"),
    ((b"\x93NUMPY",), "a NumPy array", "correct the ending '{}' to '.npy'"),
    ((b"PK\x03\x04",), "a zip archive", "correct the ending '{}' to '.npz' or '.pt'"),
    ((b"PK\x05\x06",), "an empty zip archive", "write or copy it again"),
    ((b"PAR1\x15",), "Parquet", "correct the ending '{}' to '.parquet'"),
    ((b"TPX3\0", b"TPX3\1", b"TPX3\2", b"TPX3\3"), "a Timepix3 recording", "correct the ending '{}' to '.tpx3'"),
    ((b"root\0",), "ROOT", "it is not read: write its branches into .parquet or .h5 with uproot"),
    ((b"\x80\x02\x8a\nl\xfc",), "a file of torch before 1.6", "load it there and save it with a newer one"),
    ((b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"), "a pickle", "it could run any code and is not loaded: save as .npz"),
    ((b"\x1f\x8b",), "packed by gzip", "unpack it: gunzip"),
    ((b"BZh91AY&SY",), "packed by bzip2", "unpack it: bunzip2"),
    ((b"\xfd7zXZ\0",), "packed by xz", "unpack it: unxz"),
    ((b"\x28\xb5\x2f\xfd",), "packed by zstd", "unpack it: unzstd"),
    ((b"<!DOCTYPE", b"<!doctype", b"<html", b"<?xml"), "a page of the web", "copy the file itself"),
    ((b"version https://git-lfs",), "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
)
"""What files of other kinds begin with, what they are, and what to do about them."""

NO_SUCH_FILE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""What the system says of a path that leads to no file."""

FREE_BYTES = 128 << 20
MAX_RATIO = 100
"""A file may unpack to :data:`FREE_BYTES`, or to this many times its own size."""


@contextmanager
def reading(path: Path, title: str) -> Iterator[None]:
    """Tell any failure inside as an error about ``path``, a file of the kind ``title``.

    Raises:
        DataError: the file is missing or is not what it claims to be.
        StorageError: the system refused to hand it over.
    """
    try:
        yield
    except PointaeError as error:
        if isinstance(error, DataError) and error.fix is None:
            error.fix = "correct the file and read it again"
        raise error.at(path) from error.__cause__
    except UnfitFileError as error:
        raise DataError(str(error), where=path, fix="copy what it holds into a file and name that") from error
    except MemoryError as error:
        raise StorageError("does not fit the memory", where=path, fix="read it in blocks of events") from error
    except OSError as error:
        # Libraries report a malformed file as an OSError too, but only the system gives a number.
        if error.errno in NO_SUCH_FILE:
            raise DataError((error.strerror or "no such file").lower(), where=path, fix="check the path") from error
        if error.errno is not None:
            raise StorageError(error.strerror or str(error), where=path, fix="check permissions and disk") from error
        raise _unreadable(path, title, error) from error
    except Exception as error:
        # Decoders fail on damaged input with whatever their internals ran into.
        raise _unreadable(path, title, error) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell any failure of the system inside as an error about ``path``.

    Raises:
        StorageError: disk full, no permission, ...
    """
    try:
        yield
    except PointaeError as error:
        raise error.at(path) from error.__cause__
    except (OSError, RuntimeError) as error:
        # torch.save meets an OSError and raises a RuntimeError over it.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        what = f"could not be written: {cause.strerror or cause}"
        raise StorageError(what, where=path, fix="check free space and permissions") from error


def look(path: Path, title: str, magic: tuple[bytes, ...], ending: str, packed: bool = False) -> None:
    """Check existence, kind, size and first bytes of a file, which where it may be ``packed`` are any packer's.

    Raises:
        DataError: missing, no regular file, empty, or begins as another kind of file does.
    """
    with reading(path, title), open_regular(path) as file:
        start = file.read(32)
        if not start:
            raise DataError("the file is empty (0 bytes)", fix="write or copy it again")
        if HDF5 in magic:
            start = _start_behind_user_block(file, start)
        kind, advice = _kind_of(start, ending)
        if magic and not start.startswith(magic):
            raise DataError(f"begins with {start[:4]!r}, not as {title} does{kind and f', but as {kind}'}", fix=advice)
        if not magic and kind and not (packed and kind.startswith("packed by")):
            raise DataError(f"is {kind}, not {title}", fix=advice)


def _kind_of(start: bytes, ending: str) -> tuple[str, str]:
    """What a file begins as, ``""`` if unknown, and what to do about that."""
    known = ((kind, advice.format(ending)) for magic, kind, advice in SIGNATURES if start.startswith(magic))
    return next(known, ("", "the file is damaged or of another kind"))


def _start_behind_user_block(file: BinaryIO, start: bytes) -> bytes:
    """The first bytes of HDF5, which may begin behind 512, 1024, 2048, ... bytes of the user's; else ``start``."""
    at, size = 512, os.fstat(file.fileno()).st_size
    while at < size and start != HDF5:
        file.seek(at)
        if file.read(len(HDF5)) == HDF5:
            return HDF5
        at *= 2
    return start


def bytes_held(path: Path) -> int:
    """Bytes of a file that are on the disk: holes of a sparse one hold nothing."""
    about = path.stat()
    return min(about.st_size, 512 * getattr(about, "st_blocks", 0) or about.st_size)  # not all systems tell of blocks


def most_unpacked(path: Path, free: int = FREE_BYTES) -> int:
    """Bytes to which a file may unpack: ``free``, or :data:`MAX_RATIO` times those that it holds."""
    return max(free, MAX_RATIO * bytes_held(path))


def bounded(sizes: Mapping[str, int], path: Path) -> None:
    """Refuse a file whose arrays would take far more memory than can come from what it holds.

    Args:
        sizes: bytes that each array takes, by name.
        path: of the file.

    Raises:
        DataError: more than :data:`MAX_RATIO` times the file's size.
    """
    if sum(sizes.values()) > most_unpacked(path):
        name = max(sizes, key=lambda key: sizes[key])
        raise DataError(
            f"{name} declares {sizes[name]:,} bytes but the whole file has {bytes_held(path):,}",
            fix="the file is damaged or made to exhaust the memory; write it again, or in parts of fewer hits",
        )


def _unreadable(path: Path, title: str, error: Exception) -> DataError:
    detail = " ".join(str(error).split()) or type(error).__name__
    what = f"cannot be read as {title}: {detail[:300]}"
    return DataError(what, where=path, fix="the file is damaged or of another kind; write or copy it again")
