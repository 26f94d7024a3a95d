"""The one boundary: every failure to read or write a file becomes one line that says where and what to do.

Knows no torch: a file is looked at before anything slow is imported.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pointae.errors import DataError, PointaeError, StorageError
from pointae.storage import UnfitFileError, open_regular

SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": "HDF5 (.h5)",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"PK\x03\x04": "a zip archive (.npz, .pt)",
    b"PK\x05\x06": "an empty zip archive",
    b"\x80\x02": "a pickle",
    b"PAR1": "Parquet",
    b"root": "ROOT",
}
"""First bytes of files that are often given the wrong ending."""

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


def look(path: Path, title: str, magic: tuple[bytes, ...], ending: str) -> None:
    """Check existence, kind, size and first bytes of a file.

    Raises:
        DataError: missing, no regular file, empty, or begins as another kind of file does.
    """
    with reading(path, title), open_regular(path) as file:
        start = file.read(8)
        if not start:
            raise DataError("the file is empty (0 bytes)", fix="write or copy it again")
        if magic and not start.startswith(magic):
            raise DataError(f"begins with {start[:4]!r}, not as {title} does", fix=_advice(start, ending))
        if not magic and (found := _kind_of(start)):
            raise DataError(f"is {found}, not {title}", fix=_advice(start, ending))


def bounded(sizes: Mapping[str, int], path: Path) -> None:
    """Refuse a file whose arrays would take far more memory than can come from what it holds.

    Args:
        sizes: bytes that each array declares, by name.
        path: of the file.

    Raises:
        DataError: more than :data:`MAX_RATIO` times the file's size.
    """
    total, held = sum(sizes.values()), path.stat().st_size
    if total > max(FREE_BYTES, MAX_RATIO * held):
        name = max(sizes, key=lambda key: sizes[key])
        raise DataError(
            f"{name} declares {sizes[name]:,} bytes but the whole file has {held:,}",
            fix="the file is damaged or made to exhaust the memory; write it again",
        )


def check_members(names: Iterable[str]) -> None:
    """Refuse an archive with names that point outside it."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
            raise DataError(f"holds a member named '{name}' that points outside the archive", fix="do not trust it")


def _unreadable(path: Path, title: str, error: Exception) -> DataError:
    detail = " ".join(str(error).split()) or type(error).__name__
    what = f"cannot be read as {title}: {detail[:300]}"
    return DataError(what, where=path, fix="the file is damaged or of another kind; write or copy it again")


def _kind_of(start: bytes) -> str | None:
    return next((kind for magic, kind in SIGNATURES.items() if start.startswith(magic)), None)


def _advice(start: bytes, ending: str) -> str:
    kind = _kind_of(start)
    return f"it looks like {kind}: correct the ending '{ending}'" if kind else "the file is damaged or of another kind"
