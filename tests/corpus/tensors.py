"""``.pt``, ``.npy`` and folders of images: what torch can save and is no bundle, pickles, damage."""

from __future__ import annotations

import functools
import io
import os
import pickle
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus import Entry, cuts, flips
from corpus.archives import header

ROWS, COLUMNS = 128, 88


class Trap:
    """Would make a file, were it ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("/tmp/pointae-was-unpickled",))


def images(events: int = 2, **more: Any) -> torch.Tensor:
    """Two events of two hits."""
    found = torch.zeros((events, 1, ROWS, COLUMNS), dtype=torch.float64)
    found[:, 0, 5, 7], found[:, 0, 6, 8] = 3, 1000
    return found.to(**more) if more else found


def saved(name: str, make: Callable[[], Any], told: str = "", hits: int | None = None, **more: Any) -> Entry:
    """What torch saves of a value."""
    return Entry(f"{name}.pt", lambda path: torch.save(make(), path), (told,), hits=hits, **more)


def with_pixel(value: float) -> torch.Tensor:
    found = images()
    found[1, 0, 1, 2] = value
    return found


def quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.zeros(1, 1, ROWS, COLUMNS), 1.0, 0, torch.quint8)


def tuples(count: int) -> Any:
    found: Any = ()
    for _ in range(count):
        found = (found,)
    return found


def bundle_with(path: Path, description: bytes, method: int = zipfile.ZIP_STORED) -> None:
    """A bundle as torch writes one, but for its description."""
    content = io.BytesIO()
    torch.save(images(), content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, "w", method) as new:
        for info in old.infolist():
            new.writestr(info.filename, description if info.filename.endswith("data.pkl") else old.read(info))


def nested(path: Path, count: int) -> None:
    bundle_with(path, b"\x80\x02)" + b"\x85" * count + b".")


def legacy_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))


def program(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"a/{name}", b"")


def tensors() -> list[Entry]:
    shape = "images must be (N, 1, 128, 88)"
    real = "images must be real numbers"
    odd = "sparse, nested, quantised"
    return [
        saved("good", images, hits=4),
        saved("none", lambda: images(0), hits=0),
        saved("turned", lambda: images().transpose(0, 1).contiguous().transpose(0, 1), hits=4),
        saved("strided", lambda: images(4)[::2], hits=4),
        saved("parameter", lambda: torch.nn.Parameter(images()), hits=4),
        saved("csr", lambda: torch.zeros(5, 5).to_sparse_csr(), odd),
        saved("csc", lambda: torch.zeros(5, 5).to_sparse_csc(), odd),
        saved("bsr", lambda: torch.zeros(4, 4).to_sparse_bsr((2, 2)), odd),
        saved("coo", lambda: images().to_sparse(), odd),
        saved("quantised", quantised, odd),
        saved("nested", lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])),
        saved("jagged", lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)),
        saved("meta", lambda: torch.zeros(2, 1, ROWS, COLUMNS, device="meta")),
        saved("0d", lambda: torch.tensor(3.0), shape),
        saved("1d", lambda: torch.zeros(3), shape),
        saved("5d", lambda: torch.zeros(1, 1, 1, ROWS, COLUMNS), shape),
        saved("axes_swapped", lambda: torch.zeros(1, 1, COLUMNS, ROWS), shape),
        saved("two_channels", lambda: torch.zeros(1, 2, ROWS, COLUMNS), shape),
        saved("list", lambda: [images()], "holds a list"),
        saved("tuples", lambda: (images(), images()), "holds a tuple"),
        saved("state", lambda: {"a": images()}, "holds a "),
        saved("number", lambda: 3, "holds a int"),
        saved("nothing", lambda: None, "holds a NoneType"),
        saved("trap", Trap, "Python objects"),
        saved("trap_inside", lambda: [images(), Trap()], "Python objects"),
        saved("model", lambda: torch.nn.Linear(2, 2), "Python objects"),
        saved("numpy", lambda: np.zeros(3), "Python objects"),
        *(
            saved(f"type_{name}", lambda kind=kind: images().to(kind), hits=4)
            for name, kind in {"f4": torch.float32, "i2": torch.int16, "i8": torch.int64}.items()
        ),
        saved("type_f2", lambda: images().clamp(max=999).to(torch.float16), hits=4),
        saved("type_bf2", lambda: images().clamp(max=128).to(torch.bfloat16), hits=4),
        saved("type_u1", lambda: images().clamp(max=200).to(torch.uint8), hits=4),
        *(
            saved(f"type_{name}", lambda kind=kind: torch.zeros(1, 1, ROWS, COLUMNS, dtype=kind), real)
            for name, kind in {
                "c8": torch.complex64, "c16": torch.complex128, "b1": torch.bool, "u2": torch.uint16,
                "u8": torch.uint64, "f1": torch.float8_e4m3fn,
            }.items()
        ),
        *(
            saved(f"pixel_{value}", functools.partial(with_pixel, value), "pixel x = 2, y = 1 of event 1")
            for value in (float("nan"), float("inf"), -1.0, 0.5, 1001.0, 1e300)
        ),
        saved("expanded", lambda: torch.zeros(1).expand(1 << 30, 1, ROWS, COLUMNS), "larger than its file"),
        saved("expanded_once", lambda: torch.zeros(1, 1, ROWS, COLUMNS).expand(1000, -1, -1, -1), "larger than"),
        Entry("tuples_2e6.pt", functools.partial(nested, count=2_000_000), ("more than one tensor",)),
        Entry("tuples_1e4.pt", functools.partial(nested, count=10_000)),
        Entry("pickle_empty.pt", functools.partial(bundle_with, description=b"")),
        Entry("pickle_stop.pt", functools.partial(bundle_with, description=b"\x80\x02N.")),
        Entry("pickle_garbage.pt", functools.partial(bundle_with, description=bytes(range(256)))),
        Entry("pickle_trap.pt", functools.partial(bundle_with, description=pickle.dumps(Trap(), 2)),
              ("Python objects",)),
        Entry("packed.pt", functools.partial(bundle_with, description=b"", method=zipfile.ZIP_DEFLATED),
              ("packed",)),
        Entry("old.pt", lambda path: torch.save(images(), path, _use_new_zipfile_serialization=False),
              ("torch before 1.6",)),
        Entry("tar.pt", legacy_tar, ("begins with",)),
        Entry("program.pt", program, ("TorchScript",)),
        Entry("plain_pickle.pt", lambda path: path.write_bytes(pickle.dumps(Trap())), ("a pickle",)),
        Entry("npz.pt", lambda path: packed_npz(path), ("data.pkl",)),
        Entry("empty_zip.pt", lambda path: zipfile.ZipFile(path, "w").close(), ("data.pkl",)),
        Entry("empty.pt", lambda path: path.write_bytes(b""), ("empty (0 bytes)",)),
    ]  # fmt: skip


def packed_npz(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, coords=np.zeros((1, 3), int), offsets=np.array([0, 1]))


# ---- images in .npy and folders ---------------------------------------------------------------------------


def array(name: str, make: Callable[[], Any], told: str = "", hits: int | None = None) -> Entry:
    return Entry(f"{name}.npy", lambda path: np.save(path, make()), (told,), hits=hits)


def image(value: float = 3.0, dtype: Any = float) -> np.ndarray:
    found = np.zeros((ROWS, COLUMNS), dtype)
    found[5, 7] = value
    return found


def sparse_file(path: Path, begin: bytes, size: int) -> None:
    """A file of holes behind its first bytes: large in name only."""
    with open(path, "wb") as file:
        file.write(begin)
        file.truncate(len(begin) + size)


def arrays() -> list[Entry]:
    side = 40_000
    return [
        array("good", image, hits=1),
        array("fortran", lambda: np.asfortranarray(image()), hits=1),
        array("big_endian", lambda: image(dtype=">i4"), hits=1),
        array("half", lambda: image(dtype=np.float16), hits=1),
        array("long", lambda: image(dtype=np.longdouble), hits=1),
        array("complex", lambda: image(dtype=complex), "must be real numbers"),
        array("bool", lambda: image(dtype=bool), "must be real numbers"),
        array("text", lambda: image().astype("U3"), "must be real numbers"),
        array("objects", lambda: image().astype(object), "objects"),
        array("record", lambda: np.zeros((ROWS, COLUMNS), [("a", "i4")]), "records"),
        array("0d", lambda: np.array(3.0), "the image must have shape"),
        array("1d", lambda: np.zeros(3), "the image must have shape"),
        array("3d", lambda: np.zeros((1, ROWS, COLUMNS)), "the image must have shape"),
        array("empty_side", lambda: np.zeros((0, COLUMNS)), "images must be"),
        array("turned", lambda: np.zeros((COLUMNS, ROWS)), "images must be"),
        *(array(f"pixel_{value}", functools.partial(image, value), "pixel x = 7, y = 5")
          for value in (np.nan, np.inf, -1.0, 0.5, 1001.0, 1e300)),
        Entry("holes.npy", lambda path: sparse_file(path, header((side, side), "<f8"), 8 * side * side), ("pixels",)),
        Entry("shape_2_40.npy", lambda path: path.write_bytes(header((1 << 40, 3))), ("declares shape",)),
        Entry("pickle.npy", lambda path: np.save(path, np.array([Trap()], object), allow_pickle=True), ("objects",)),
        Entry("empty.npy", lambda path: path.write_bytes(b""), ("empty (0 bytes)",)),
        Entry("one_byte.npy", lambda path: path.write_bytes(b"\x93"), ("begins with",)),
        Entry("cut.npy", lambda path: path.write_bytes(header((ROWS, COLUMNS), "<f8") + bytes(100)), ("declares",)),
    ]  # fmt: skip


def folder(name: str, files: dict[str, Any], told: str = "", hits: int | None = None) -> Entry:
    """A folder of images: arrays, bytes, or what else makes a file."""

    def make(path: Path) -> None:
        path.mkdir()
        for inner, content in files.items():
            target = path / inner
            target.parent.mkdir(exist_ok=True)
            if callable(content):
                content(target)
            elif isinstance(content, bytes):
                target.write_bytes(content)
            else:
                np.save(target, content)

    return Entry(name, make, (told,), hits=hits)


def folders() -> list[Entry]:
    two = {"event_1.npy": image(), "event_2.npy": image()}
    labelled = {f"{where}/{name}": values for where in ("Data", "Labels") for name, values in two.items()}
    return [
        folder("good", two, hits=2),
        folder("labelled", labelled, hits=2),
        folder("nothing", {}, "must hold .npy or .pt files"),
        folder("other_files", {"a.txt": b"a"}, "must hold .npy or .pt files"),
        folder("two_kinds", two | {"a.pt": b"a"}, "one kind of image"),
        folder("a_pipe", two | {"event_3.npy": os.mkfifo}, "event_3.npy: is a pipe"),
        folder("a_device", two | {"event_3.npy": lambda at: os.symlink("/dev/zero", at)}, "event_3.npy: is a device"),
        folder("a_folder", two | {"event_3.npy": Path.mkdir}, "event_3.npy: is a folder"),
        folder("a_loop", two | {"event_3.npy": lambda at: os.symlink(at, at)}, "event_3.npy"),
        folder("nowhere", two | {"event_3.npy": lambda at: os.symlink("nowhere", at)}, "event_3.npy"),
        folder("an_empty_one", two | {"event_3.npy": b""}, "event_3.npy: the file is empty"),
        folder("a_bad_one", two | {"event_3.npy": np.zeros((3, 3))}, "event_3.npy: images must be"),
        folder("a_trap", two | {"event_3.npy": np.array([Trap()], object)}, "event_3.npy"),
        folder("label_missing", {name: v for name, v in labelled.items() if name != "Labels/event_1.npy"},
               "different files"),
        folder("label_of_another_size", labelled | {"Labels/event_1.npy": np.zeros((3, 3))}, "its labels"),
        folder("label_a_pipe", {k: v for k, v in labelled.items() if k != "Labels/event_1.npy"}
               | {"Labels/event_1.npy": os.mkfifo}, "is a pipe"),
        folder("odd_names", {f"{name}.npy": image() for name in ("[red]", "\x1b[31m", "²", "é")}, hits=4),
        folder("named.h5", {}, "must hold"),
        folder("named.csv", two, hits=2),
    ]  # fmt: skip


# ---- damage -----------------------------------------------------------------------------------------------


@functools.cache
def whole() -> bytes:
    with tempfile.TemporaryDirectory() as inner:
        torch.save(images(1), Path(inner) / "a.pt")
        return (Path(inner) / "a.pt").read_bytes()


def damage() -> list[Entry]:
    size = len(whole())

    chance = np.random.default_rng(19)
    places = [*chance.integers(0, 700, 25).tolist(), *chance.integers(size - 700, size, 25).tolist()]
    return [*flips(".pt", whole(), places), *cuts(".pt", whole(), range(10, size, 9000))]


def entries() -> list[Entry]:
    """All images."""
    return [*tensors(), *arrays(), *folders(), *damage()]
