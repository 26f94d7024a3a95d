"""What is no regular file, by the ending of each format; names, links and contents of another kind."""

from __future__ import annotations

import functools
import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus import Entry
from corpus.hdf5 import good, put

ENDINGS = (".h5", ".hdf5", ".npz", ".csv", ".parquet", ".pt", ".npy", ".tpx3", ".txt")


def bound(path: Path) -> None:
    """A socket; its name must be short."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: os.symlink(target, path)


def pipe_behind_link(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    os.symlink("pipe", path)


def irregular() -> list[Entry]:
    ways: dict[str, tuple[Callable[[Path], None], str]] = {
        "pipe": (os.mkfifo, "is a pipe, not a regular file"),
        "linked_pipe": (pipe_behind_link, "is a pipe, not a regular file"),
        "socket": (bound, "is a socket, not a regular file"),
        "zero": (link_to("/dev/zero"), "is a device, not a regular file"),
        "null": (link_to("/dev/null"), "is a device, not a regular file"),
        "nowhere": (link_to("nowhere"), "no such file"),
        "loop": (lambda path: os.symlink(path.name, path), "symbolic links"),
        "missing": (lambda path: None, "no such file"),
    }
    return [Entry(f"{name}{ending}", make, (told,)) for name, (make, told) in ways.items() for ending in ENDINGS]


def named(word: str, name: str, told: str) -> Entry:
    """A name that no file has; nothing is made."""

    def read(path: Path) -> int:
        from pointae.io import read_hits

        return read_hits(path.parent / name).num_hits

    return Entry(f"name_{word}", lambda path: None, (told,), read=read)


def names() -> list[Entry]:
    return [
        named("nul", "a\0b.h5", "name that a file can have"),
        named("half", "a\ud800.h5", "name that a file can have"),
        named("long", "a" * 300 + ".h5", "file name too long"),
        named("very_long", "/".join(["a" * 200] * 40) + ".h5", "file name too long"),
        named("no_ending", "a" * 300, "file name too long"),
        named("below_a_file", "name_below_a_file/a.h5", ""),
        Entry("no_ending", functools.partial(put, arrays=good()), ("HDF5", "'.h5'")),
        Entry("other.root", lambda path: path.write_bytes(b"root\0\0\xf6\x08" + bytes(100)), ("ROOT", "uproot")),
        Entry("twice.h5.h5", functools.partial(put, arrays=good()), hits=3),
        Entry("UPPER.H5", functools.partial(put, arrays=good()), hits=3),
    ]


def unreadable() -> list[Entry]:
    """Files without permission: only where the one who reads is not root."""
    if os.geteuid() == 0:
        return []

    def locked(path: Path) -> None:
        put(path, good())
        path.chmod(0)

    return [Entry("locked.h5", locked, ("ermission",), exit_code=5)]


CONTENTS: dict[str, Callable[[Path], Any]] = {
    "h5": functools.partial(put, arrays=good()),
    "npz": lambda path: np.savez(path, **good()),
    "csv": lambda path: path.write_text("event,x,y,t\n0,1,2,3\n"),
    "pt": lambda path: torch.save(torch.zeros(1, 1, 128, 88), path),
    "old_pt": lambda path: torch.save(torch.zeros(3), path, _use_new_zipfile_serialization=False),
    "npy": lambda path: np.save(path, np.zeros((128, 88))),
    "tpx3": lambda path: path.write_bytes(b"TPX3\0\0\0\0"),
    "root": lambda path: path.write_bytes(b"root\0\0\xf6\x08" + bytes(100)),
    "pickle": lambda path: path.write_bytes(b"\x80\x04K\x03."),
    "gz": lambda path: path.write_bytes(gzip.compress(b"event,x,y,t\n0,1,2,3\n")),
    "page": lambda path: path.write_text("<!DOCTYPE html><html>not found</html>"),
    "lfs": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"),
    "zeros": lambda path: path.write_bytes(bytes(3000)),
    "chance": lambda path: path.write_bytes(np.random.default_rng(1).bytes(3000)),
    "nothing": lambda path: path.write_bytes(b""),
    "one_byte": lambda path: path.write_bytes(b"\x89"),
    "words": lambda path: path.write_text("these are words\n" * 20),
}


def wrong_endings() -> list[Entry]:
    own = {".h5": "h5", ".npz": "npz", ".csv": "csv", ".pt": "pt", ".npy": "npy", ".tpx3": "tpx3"}
    read_anyway = {(".csv", "gz")}  # a table may be packed

    def into(path: Path, make: Callable[[Path], Any]) -> None:
        plain = path.with_name("plain" + {"npz": ".npz", "npy": ".npy"}.get(path.stem.split("_")[0], ""))
        make(plain)
        os.replace(plain, path)

    return [
        Entry(f"{kind}_named{ending}", functools.partial(into, make=make))
        for ending in (".h5", ".npz", ".csv", ".parquet", ".pt", ".npy", ".tpx3")
        for kind, make in CONTENTS.items()
        if own.get(ending) != kind and (ending, kind) not in read_anyway
    ]


def entries() -> list[Entry]:
    """All places and names."""
    return [*irregular(), *names(), *unreadable(), *wrong_endings()]
