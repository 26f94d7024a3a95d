"""DeepClean3D's bundles (``.pt``): one tensor (N, 1, 128, 88) of images with embedded time of flight.

0 is no hit, 1..T the step, so t = value - 1. A pixel holds one hit: writing says how many are lost.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointae.errors import DataError
from pointae.geometry import DetectorGeometry, deepclean3d_geometry
from pointae.hits import HitBatch
from pointae.images import embed_tof, hits_of_image
from pointae.io.archive import open_archive
from pointae.io.assembly import Assembler
from pointae.io.boundary import bounded
from pointae.io.output import WriteReport

EVENTS = 64
"""Images looked at together: 6 MB."""
MAX_PICKLE = 16 << 10
"""Bytes in which torch describes a tensor; it needs some hundred."""
ALONE = "save the tensor (N, 1, 128, 88) alone with torch.save"
REAL = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip


def read(path: Path, assembler: Assembler) -> HitBatch:
    """All events of a bundle."""
    return HitBatch.concat(list(blocks(path, EVENTS, assembler)))


def blocks(path: Path, events_per_block: int, assembler: Assembler) -> Iterator[HitBatch]:
    """The events of a bundle, ``events_per_block`` at a time, from a file mapped into memory."""
    images = read_bundle(path)
    geometry = grid_of(images, assembler)
    for first in range(0, max(len(images), 1), events_per_block):
        yield hits_of(images[first : first + events_per_block], geometry, first)


def attributes(path: Path, assembler: Assembler) -> dict[str, Any]:
    """What the file says: its shape and type; the grid along t is not in it."""
    images = read_bundle(path)
    return {"format": "deepclean3d", "shape": list(images.shape), "dtype": str(images.dtype).removeprefix("torch.")}


def grid_of(images: Tensor, assembler: Assembler) -> DetectorGeometry:
    """The grid of images (N, 1, Y, X): the caller's if it has X x Y pixels, else DeepClean3D's own.

    Raises:
        DataError: neither fits, or the images are no real numbers.
    """
    for geometry in (assembler.options.geometry, deepclean3d_geometry()):
        if geometry is not None and images.shape[1:] == (1, *geometry.spatial_shape[1::-1]):
            break
    else:
        wanted = "(N, 1, 128, 88) = (event, channel, row y, column x)"
        raise DataError(f"images must be {wanted}, got {tuple(images.shape)}", fix="or hand the geometry they have")
    if images.dtype not in REAL:
        raise DataError(f"images must be real numbers, got {images.dtype}")
    return geometry


def hits_of(images: Tensor, geometry: DetectorGeometry, first: int = 0) -> HitBatch:
    """The hits of some images of a file.

    Args:
        images: (B, 1, Y, X), any real type.
        geometry: a grid of (X, Y, T).
        first: number of the first event in its file, for the error.

    Raises:
        DataError: a pixel that is not a whole step in 0..T.
    """
    steps = geometry.spatial_shape[2]
    # Whole, finite and in range in one comparison each; nan fails the first.
    bad = ~((images >= 0) & (images <= steps))
    if images.is_floating_point():
        bad |= images != images.floor()
    if bool(bad.any()):
        event, _, y, x = bad.nonzero()[0].tolist()
        told = f"pixel x = {x}, y = {y} of event {first + event} is {images[event, 0, y, x].item():g}"
        raise DataError(told, fix=f"0 is no hit, whole numbers 1..{steps} are the time step + 1")
    return hits_of_image(images, geometry)


def read_bundle(path: Path) -> Tensor:
    """(N, 1, Y, X): the tensor in a file, mapped into memory and not yet checked to be images."""
    with open_archive(path) as (_, members):
        bounded({name: info.file_size for name, info in members.items()}, path)
        files = {Path(name).name: info for name, info in members.items()}
        if "constants.pkl" in files:
            raise DataError("is a program of TorchScript, not a tensor", fix=ALONE)
        if "data.pkl" not in files:
            raise DataError("was not written by torch.save: it holds no data.pkl", fix=ALONE)
        if files["data.pkl"].file_size > MAX_PICKLE:
            raise DataError("holds more than one tensor", fix=ALONE)
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise DataError("holds packed members, which torch.save never writes", fix="save it with torch.save")
    with warnings.catch_warnings():
        # A map that is only read, kinds of tensors that may change, ...: nothing that a user can act on.
        warnings.simplefilter("ignore")
        try:
            images = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except pickle.UnpicklingError as error:
            raise DataError("holds Python objects, which could run any code and are never loaded", fix=ALONE) from error
    if not isinstance(images, Tensor):
        raise DataError(f"holds a {type(images).__name__}, not one tensor", fix=ALONE)
    if images.layout != torch.strided or images.is_nested or images.is_quantized or images.is_meta:
        raise DataError("holds a sparse, nested, quantised or empty tensor", fix="save it as a plain one: .to_dense()")
    if images.numel() * images.element_size() > images.untyped_storage().nbytes():
        raise DataError(f"declares a tensor {tuple(images.shape)} that is larger than its file", fix=ALONE)
    return images.detach()


def fields_lost(hits: HitBatch) -> tuple[str, ...]:
    """The fields of ``hits`` for which an image has no place."""
    names = [*(["features"] if hits.feature_names else []), *hits.present]
    return (*names, *(name for name in ("event_id", "event_time_ns") if getattr(hits, name) is not None))


class Sink:
    """Collects all blocks and writes one bundle."""

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self._path = path
        self._blocks: list[HitBatch] = []

    def append(self, hits: HitBatch, report: WriteReport) -> None:
        """Keep the next events."""
        report.fields_lost = fields_lost(hits)
        self._blocks += [hits.events(slice(at, at + EVENTS)) for at in range(0, hits.batch_size, EVENTS)]
        self._grid, self._report = hits.geometry.spatial_shape, report

    def close(self, complete: bool) -> None:
        """Write the bundle."""
        if not complete:
            return
        columns, rows, _ = self._grid
        events = sum(block.batch_size for block in self._blocks)
        bundle, at = torch.empty((events, 1, rows, columns), dtype=torch.float64), 0
        for block in self._blocks:
            bundle[at : at + block.batch_size], lost = embed_tof(block)
            self._report.hits_lost += int(lost.sum())
            at += block.batch_size
        # Given a path, torch.save would keep the temporary name inside the file.
        with open(self._path, "xb") as file:
            torch.save(bundle, file)
