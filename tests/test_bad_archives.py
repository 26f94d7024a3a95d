"""Images and archives that are none: told in one line, nothing in them is run, no declared size is believed."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from bad_files import check_refused, good, npy_header, to_h5

from pointae.errors import DataError
from pointae.io import read_hits

# ---- images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pt", ".npy"])
@pytest.mark.parametrize("value", [-1.0, 1001.0, 2.5, float("nan"), float("inf")])
def test_pixels_that_are_no_steps(tmp_path, ending, value):
    image = torch.zeros(1, 1, 128, 88, dtype=torch.float64)
    image[0, 0, 12, 34] = value
    path = tmp_path / f"a{ending}"
    torch.save(image, path) if ending == ".pt" else np.save(path, image[0, 0].numpy())
    check_refused(path, "x = 34, y = 12 of event 0", "1..1000")


@pytest.mark.parametrize("shape", [(2, 1, 88, 128), (2, 128, 88), (128, 88), (2, 3, 128, 88)])
def test_bundles_of_another_shape(tmp_path, shape):
    torch.save(torch.zeros(shape, dtype=torch.float64), tmp_path / "a.pt")
    check_refused(tmp_path / "a.pt", "(N, 1, 128, 88)", str(shape))


@pytest.mark.parametrize("image", [np.zeros((88, 128)), np.zeros((1, 128, 88)), np.zeros((128, 88), complex)])
def test_images_of_another_shape_or_type(tmp_path, image):
    np.save(tmp_path / "a.npy", image)
    check_refused(tmp_path / "a.npy", "image")


def test_a_bad_image_in_a_folder_is_named(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"event_{i}.npy", np.zeros((128, 88 + (i == 1))))
    with pytest.raises(DataError, match=r"event_1\.npy: images must be"):
        read_hits(tmp_path)


# ---- nothing is run, nothing explodes ---------------------------------------------------------------------


class Boom:
    """Leaves a trace when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.trace,))


def test_pickles_are_never_run(tmp_path):
    trace, boom = tmp_path / "trace", Boom(tmp_path / "trace")
    objects = np.array([boom, None], object)
    (tmp_path / "a.pt").write_bytes(pickle.dumps(boom))
    torch.save({"hits": boom}, tmp_path / "b.pt")
    torch.save({"hits": torch.zeros(3)}, tmp_path / "c.pt")
    np.save(tmp_path / "a.npy", objects)
    np.savez(tmp_path / "a.npz", **good() | {"coords": objects})
    np.savez(tmp_path / "b.npz", **good(), attributes=objects)
    for name in ("a.pt", "b.pt", "c.pt", "a.npy", "a.npz", "b.npz"):
        check_refused(tmp_path / name)
    assert not trace.exists()


def test_declared_sizes_are_not_believed(tmp_path):
    huge = npy_header((1 << 40, 3))
    (tmp_path / "a.npy").write_bytes(huge)
    check_refused(tmp_path / "a.npy", "declares shape (1099511627776, 3)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("coords.npy", huge)
        archive.writestr("offsets.npy", npy_header((0,)))
    check_refused(tmp_path / "a.npz", "coords declares shape")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("coords.npy", npy_header((1 << 23, 3)) + bytes(3 << 26))
        archive.writestr("offsets.npy", npy_header((2,)) + np.array([0, 1 << 23]).tobytes())
    check_refused(tmp_path / "b.npz", "coords declares 201,326,592", "exhaust the memory")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("coords", shape=(1 << 40, 3), dtype="i8", chunks=(1024, 3))
        file["offsets"] = np.array([0, 1 << 40])
    check_refused(tmp_path / "a.h5", "coords declares", "exhaust the memory")
    torch.save(torch.zeros(1, dtype=torch.float64).expand(1 << 30, 1, 128, 88), tmp_path / "a.pt")
    check_refused(tmp_path / "a.pt", "larger than its file")


@pytest.mark.parametrize(
    "name", ["../coords.npy", "/coords.npy", "a/../../coords.npy", "..\\coords.npy", "C:coords.npy"]
)
def test_members_that_leave_an_archive(tmp_path, name):
    for path in (tmp_path / "a.npz", tmp_path / "a.pt"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
        check_refused(path, "points outside the archive")


def test_arrays_that_lie_in_other_files(tmp_path):
    inner, secret = tmp_path / "inner.h5", tmp_path / "secret"
    to_h5(inner, good())
    secret.write_bytes(bytes(72))
    layout = h5py.VirtualLayout((3, 3), "i8")
    layout[:] = h5py.VirtualSource(str(inner), "coords", (3, 3))
    ways = {
        "external link": lambda file: file.__setitem__("coords", h5py.ExternalLink(str(inner), "coords")),
        "soft link": lambda file: file.__setitem__("coords", h5py.SoftLink("/offsets")),
        "storage": lambda file: file.create_dataset("coords", (3, 3), "i8", external=[(str(secret), 0, 72)]),
        "virtual": lambda file: file.create_virtual_dataset("coords", layout),
        "group": lambda file: file.create_group("coords"),
        "objects": lambda file: file.create_dataset("coords", (3, 3), h5py.ref_dtype),
    }
    for name, way in ways.items():
        with h5py.File(tmp_path / "a.h5", "w") as file:
            way(file)
            file["offsets"] = np.array([0, 2, 3])
        check_refused(tmp_path / "a.h5", "coords", {"group": "array", "objects": "objects"}.get(name, ""))
