"""Small files of hits to be spoilt, and what reading them must then do."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pointae.errors import DataError, StorageError
from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.io import read_blocks, read_hits, write_hits

GRID = even_geometry((88, 128, 1000))
Arrays = dict[str, object]


def good() -> dict[str, np.ndarray]:
    """Two events of two and one hits."""
    coords = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int64)
    return {"coords": coords, "offsets": np.array([0, 2, 3])}


def to_h5(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def to_npz(path: Path, arrays: Arrays) -> None:
    np.savez(path, **arrays)


def to_csv(path: Path, arrays: Arrays) -> None:
    columns = {"event": np.repeat(np.arange(2), np.diff(arrays["offsets"]))}
    columns |= dict(zip("xyt", np.asarray(arrays["coords"]).T, strict=True))
    columns |= {name: values for name, values in arrays.items() if name not in ("coords", "offsets")}
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))


WRITERS: dict[str, Callable[[Path, Arrays], None]] = {".h5": to_h5, ".npz": to_npz, ".csv": to_csv}


def check_refused(path: Path, *told: str, kind: type = DataError, **options: object) -> None:
    """Both ways of reading fail alike, in one line that begins with the file, and nothing is written."""
    before = sorted(path.parent.rglob("*"))
    for read in (read_hits, lambda path, **options: list(read_blocks(path, 1, **options))):
        with pytest.raises(kind) as error:
            read(path, geometry=options.get("geometry", GRID), **{k: v for k, v in options.items() if k != "geometry"})
        line = str(error.value)
        assert line.startswith(str(path)), line
        assert "\n" not in line
        assert error.value.fix, line
        for words in told:
            assert words in line
        assert error.value.exit_code == {DataError: 3, StorageError: 5}[kind]
    assert sorted(path.parent.rglob("*")) == before


def written(path: Path) -> bytes:
    """A good file of the format that ``path`` names."""
    hits = HitBatch(torch_geometry(), torch.tensor([[1, 2, 3]]).int(), torch.tensor([0, 1]))
    if path.suffix == ".tpx3":
        recordings = Path(__file__).parent / "data" / "timepix3"
        path.write_bytes((recordings / "raw_00.tpx3").read_bytes())
        return path.read_bytes()
    write_hits(path, hits)
    return path.read_bytes()


def npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return stream.getvalue()
