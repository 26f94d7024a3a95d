"""One event as an image with embedded time of flight in an ``.npy`` file: (128, 88), row y, column x."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.images import embed_tof
from pointae.io.assembly import Assembler, check_shape, real_numbers
from pointae.io.deepclean3d import fields_lost, grid_of, hits_of
from pointae.io.numpy_file import read_array, read_header
from pointae.io.output import WriteReport
from pointae.storage import open_regular

MAX_PIXELS = 1 << 24
"""Of an image: 4096 x 4096."""


def read(path: Path, assembler: Assembler) -> HitBatch:
    """The one event of a file."""
    image = read_image(path)
    return hits_of(image, grid_of(image, assembler))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The one event of a file."""
    yield read(path, assembler)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """What the file says: the size of its image; the grid along t is not in it."""
    return {"format": "image", "shape": list(read_image(path).shape[2:])}


def read_image(path: Path) -> Tensor:
    """(1, 1, Y, X) float64: the image in a file, not yet checked to be one."""
    with open_regular(path) as file:
        header = read_header(file, path.stat().st_size, "the image")
        check_shape("the image", header.shape, (None, None))
        if math.prod(header.shape) > MAX_PIXELS:
            raise DataError(f"the image has {header.shape} pixels, at most {MAX_PIXELS:,} are read")
        image = real_numbers(read_array(file, header, "the image"), "the image", np.float64)
    return torch.from_numpy(image)[None, None]


def write_image(path: Path, hits: HitBatch) -> int:
    """Write the one event of ``hits``; returns how many of its hits share a pixel and are lost."""
    image, lost = embed_tof(hits)
    with open(path, "xb") as file:
        np.save(file, image[0, 0].double().numpy(), allow_pickle=False)
    return int(lost.sum())


class Sink:
    """Writes one event."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path = path

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Write the event.

        Raises:
            DataError: none, or more than one.
        """
        if report.events + hits.batch_size != 1:
            told = f"one .npy file holds one event, not {report.events + hits.batch_size}"
            raise DataError(told, fix="a name without an ending becomes a folder of them")
        report.fields_lost = fields_lost(hits)
        report.hits_lost = write_image(self._path, hits)

    def close(self, complete: bool) -> None:
        """Nothing is left to do."""
