"""Arrays in NumPy's own format, with the header checked before anything is allocated; no pickle."""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from pointae.errors import DataError
from pointae.io.assembly import Array

PART = 1 << 20


def read_array(stream: BinaryIO, size: int, name: str) -> Array:
    """The array in an ``.npy`` stream of ``size`` bytes, in native byte order.

    Raises:
        DataError: objects inside, or another number of bytes than the header declares.
    """
    version = npy_format.read_magic(stream)
    read_header = {1: npy_format.read_array_header_1_0, 2: npy_format.read_array_header_2_0}.get(version[0])
    if read_header is None:
        raise DataError(f"{name} is of version {version} of the npy format", fix="save it with numpy.save")
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or dtype.names:
        raise DataError(f"{name} holds objects or records", fix="save plain numbers or strings")
    declared, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or declared != held:
        raise DataError(f"{name} declares shape {shape} of {dtype}, {declared:,} bytes, but {held:,} follow")
    flat = np.empty(math.prod(shape), dtype)
    _fill(stream, flat.view(np.uint8).data, name)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), order="C", copy=False)


def _fill(stream: BinaryIO, room: memoryview, name: str) -> None:
    while len(room):
        part = stream.read(min(PART, len(room)))
        if not part:
            raise DataError(f"{name} is truncated, {len(room):,} bytes are missing")
        room[: len(part)] = part
        room = room[len(part) :]
    stream.read(1)  # an archive verifies its checksum when the end is reached
