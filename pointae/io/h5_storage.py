"""How arrays lie in an HDF5 file, checked before one is read: what would take far more than it gives is refused."""

from __future__ import annotations

import io
import math
import mmap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pointae.errors import ComponentError, DataError
from pointae.io.assembly import Array
from pointae.io.boundary import most_unpacked
from pointae.io.native_users import in_native_order
from pointae.optional import is_installed, require
from pointae.storage import open_regular

MAX_CHUNK = 128 << 20
"""Bytes of a chunk, which is unpacked as a whole."""
MAX_EMPTY_CHUNKS = 100_000
"""Chunks that may be declared without being stored, and as many for each stored one."""
TEXT_BYTES = 64 << 20
"""Bytes of text read at a time."""
MAX_SCANNED = 1 << 30
"""Bytes of a file in which long texts are looked for; in larger ones texts are as short as is usual."""
HEAP = b"GCOL\1\0\0\0"
"""What a heap of texts begins with; its size follows."""
DEFLATE_RATIO, LZF_RATIO = 1032, 88
"""How many times its size a packed byte can become."""
PLUGINS = {
    305: "LZO", 307: "bzip2", 32000: "LZF", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp",
    32015: "zstd", 32017: "SZ", 32018: "FCIDECOMP", 32024: "SZ3", 32026: "blosc2", 32028: "sperr",
}  # fmt: skip
"""Names of registered filters; a file keeps the name of its own too, but need not."""


def check_storage(name: str, array: h5py.Dataset) -> None:
    """Raise unless an array can be unpacked here, in parts that fit the memory.

    Raises:
        ComponentError: it was packed by a filter that is not installed.
        DataError: chunks too large, far more of them than are stored, or one that unpacks to more than it holds.
    """
    if array.chunks is None:
        return
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    rechunk = "write it again with chunks of a megabyte: h5repack -l CHUNK=..."
    if chunk > MAX_CHUNK:
        raise DataError(f"{name} lies in chunks of {chunk:,} bytes, at most {MAX_CHUNK:,} are unpacked", fix=rechunk)
    chunks = math.prod(-(-length // part) for length, part in zip(array.shape, array.chunks, strict=True))
    if chunks > MAX_EMPTY_CHUNKS and chunks > MAX_EMPTY_CHUNKS * (1 + (stored := array.id.get_num_chunks())):
        raise DataError(f"{name} declares {chunks:,} chunks, but {stored:,} are stored", fix=rechunk)
    if not array.id.get_storage_size():
        return
    filters = _filters(array)
    for code, called in filters.items():
        _check_available(code, called, name)
    _check_unpacked(name, array, list(filters), chunk, rechunk)


def _filters(array: h5py.Dataset) -> dict[int, str]:
    """Codes of an array's filters, in the order in which they packed it, and what the file calls them."""
    created = array.id.get_create_plist()
    found = [created.get_filter(number) for number in range(created.get_nfilters())]
    if len({code for code, *_ in found}) < len(found):
        raise DataError("an array was packed twice by the same filter", fix="write it again, packed once")
    return {code: called.decode(errors="replace") for code, _, _, called in found}


def _check_available(code: int, called: str, name: str) -> None:
    if not h5py.h5z.filter_avail(code) and is_installed("hdf5plugin"):
        require("hdf5plugin", extra="hdf5")  # the filters are there once it is imported
    if not h5py.h5z.filter_avail(code):
        title = PLUGINS.get(code) or called.split(";")[0] or "unknown"
        raise ComponentError(
            f"{name} is packed by the filter '{title}' (number {code}), which HDF5 cannot undo here",
            fix="pip install hdf5plugin, or write it again with gzip",
        )


def _check_unpacked(name: str, array: h5py.Dataset, filters: list[int], chunk: int, rechunk: str) -> None:
    """HDF5 unpacks whatever comes: a few bytes could fill the memory."""
    ratios = {h5py.h5z.FILTER_DEFLATE: DEFLATE_RATIO, h5py.h5z.FILTER_LZF: LZF_RATIO}
    used = [code for code in filters if code in ratios]
    if not used:
        return
    behind = filters[filters.index(used[-1]) + 1 :]
    if len(used) > 1 or behind not in ([], [h5py.h5z.FILTER_FLETCHER32]):
        raise DataError(f"{name} was packed several times over", fix="write it again with gzip alone")
    suspects: list[tuple[int, ...]] = []

    def look(stored: h5py.h5d.StoreInfo) -> None:
        if stored.size > chunk + chunk // 8 + 4096:
            raise DataError(f"{name} holds a chunk of {stored.size:,} bytes, packed from {chunk:,}", fix=rechunk)
        if stored.size * ratios[used[0]] > chunk + MAX_CHUNK and not stored.filter_mask:
            suspects.append(stored.chunk_offset)

    array.id.chunk_iter(look)
    for place in suspects:
        if used == [h5py.h5z.FILTER_LZF] or _unpacks_beyond(array.id.read_direct_chunk(place)[1], chunk):
            raise DataError(f"{name} holds a chunk that unpacks to more than its {chunk:,} bytes", fix=rechunk)


def _unpacks_beyond(packed: bytes, most: int) -> bool:
    unpacker, total = zlib.decompressobj(), 0
    while packed and not unpacker.eof:
        total += len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
        if total > most:
            return True
    return False


def read_rows(name: str, array: h5py.Dataset, first: int, last: int, longest: int) -> Array:
    """Rows of an array of any plain type; texts as Python's.

    Args:
        name, array: to read.
        first, last: rows, the last not included.
        longest: text that there can be, of :func:`longest_text`.

    Raises:
        DataError: texts that take far more memory than they do in the file.
    """
    if array.dtype.kind != "O":
        return in_native_order(array[first:last])
    rows, total = np.empty((last - first, *array.shape[1:]), object), 0
    most = most_unpacked(Path(array.file.filename))
    step = max(1, TEXT_BYTES // (longest * math.prod(array.shape[1:]) or 1))
    known: dict[str, str] = {}
    for at in range(first, last, step):
        part = array.asstr()[at : min(at + step, last)]
        total += sum(map(len, set(part.flat) - known.keys()))
        if total > most:
            raise DataError(f"{name} holds texts of more than {most:,} characters", fix="leave the array out")
        # Rows that lead to the same text share it.
        shared = [known.setdefault(text, text) for text in part.flat]
        rows[at - first : at - first + len(part)] = np.array(shared or [], object).reshape(part.shape)
    return rows


def longest_text(path: Path) -> int:
    """Bytes that a text of any length in a file can have at most, found from the sizes of its heaps.

    Such texts are kept apart from their array, and all of its rows may lead to the same one.
    """
    usual = 4096
    size = path.stat().st_size
    if not size or size > MAX_SCANNED:
        return usual
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(HEAP)
        while at >= 0:
            usual = max(usual, int.from_bytes(content[at + len(HEAP) : at + len(HEAP) + 8], "little"))
            at = content.find(HEAP, at + 1)
    return min(usual, size)


class Disk(io.RawIOBase):
    """A file that keeps a failure to write to itself, for :class:`Sink` to raise.

    HDF5 that is told of one fails again on closing, and takes the process down at its end.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "x+b", buffering=0)  # noqa: SIM115  # closed by close()
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        while len(rest) and self.failure is None:
            rest = rest[self._try(self._file.write, rest) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return self._try(self._file.truncate, size)

    def _try(self, act: Callable[[Any], int], argument: Any) -> int:
        try:
            return act(argument)
        except OSError as error:
            self.failure = self.failure or error
            return 0

    def readinto(self, room: Any) -> int:
        return self._file.readinto(room)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
