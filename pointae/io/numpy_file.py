"""Arrays in NumPy's own format, with the header checked before anything is allocated; no pickle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from pointae.errors import DataError
from pointae.io.assembly import Array

PART = 1 << 20


@dataclass(frozen=True)
class Header:
    """What an ``.npy`` stream says of its array, which its size bears out.

    Args:
        shape, fortran, dtype: of the array.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: BinaryIO, size: int, name: str) -> Header:
    """The header of an ``.npy`` stream of ``size`` bytes; the array follows.

    Raises:
        DataError: none, objects inside, or another number of bytes than it declares.
    """
    try:
        version = npy_format.read_magic(stream)
        read = {1: npy_format.read_array_header_1_0, 2: npy_format.read_array_header_2_0}.get(version[0])
        found = read(stream) if read else None
    except Exception as error:  # it is evaluated as Python's literals
        told = " ".join(str(error).split())[:100]
        raise DataError(f"{name} is no array as numpy writes them: {told}", fix="save it with numpy.save") from error
    if found is None:
        raise DataError(f"{name} is of version {version} of the npy format", fix="save it with numpy.save")
    shape, fortran, dtype = found
    if dtype.hasobject or dtype.names or dtype.subdtype:
        raise DataError(f"{name} holds objects or records", fix="save plain numbers or strings")
    declared, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or declared != held or not dtype.itemsize:
        raise DataError(f"{name} declares shape {shape} of {dtype}, {declared:,} bytes, but {held:,} follow")
    return Header(shape, fortran, dtype)


def read_array(stream: BinaryIO, header: Header, name: str) -> Array:
    """The array behind a header, in native byte order.

    Raises:
        DataError: fewer bytes follow.
    """
    flat = np.empty(math.prod(header.shape), header.dtype)
    _fill(stream, flat.view(np.uint8).data, name)
    array = flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)
    return array.astype(header.dtype.newbyteorder("="), order="C", copy=False)


def _fill(stream: BinaryIO, room: memoryview, name: str) -> None:
    while len(room):
        part = stream.read(min(PART, len(room)))
        if not part:
            raise DataError(f"{name} is truncated, {len(room):,} bytes are missing")
        room[: len(part)] = part
        room = room[len(part) :]
    stream.read(1)  # an archive verifies its checksum when the end is reached
