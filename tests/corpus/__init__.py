"""Hostile and merely odd files, made by code: each says what is right for it.

A kind is a module with ``entries() -> list[Entry]``; :data:`KINDS` names it. ``tests/test_corpus.py`` has a process
of its own for each kind, which makes one file after the other, reads it and removes it (:mod:`corpus.child`), so that
time and memory of each are known and a crash of the process is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

KINDS = {
    "h5": "hdf5",
    "npz": "archives",
    "images": "tensors",
    "places": "places",
    "tables": "tables",
    "recordings": "timepix3",
    "configs": "settings",
}
"""Kinds of the corpus and their modules here."""

SECONDS, MEGABYTES = 2.0, 512.0
"""What a file may cost, once torch is imported and above what its hits need."""


def read_file(path: Path, **options: Any) -> int:
    """The hits of a file of events, read in each way that there is, which must agree."""
    from pointae.io import read_attributes, read_blocks, read_hits

    hits = read_hits(path, **options)
    in_blocks = sum(block.num_hits for block in read_blocks(path, 1000, **options))
    assert in_blocks == hits.num_hits, f"{in_blocks} hits in blocks, {hits.num_hits} in one"
    read_attributes(path, **options)
    return hits.num_hits


@dataclass(frozen=True)
class Entry:
    """A file and what is right for it.

    Args:
        name: of the file.
        make: writes it.
        told: words that must be in the line that refuses it.
        exit_code: of the line; ``None`` where either is right, a line of ours or a result: never anything else.
        hits: it is read, and has so many.
        read: reads it and returns how many there are.
        options: of ``read``.
        megabytes: what it may take, where its hits need some themselves.
        slow: only in the long run of the tests.
    """

    name: str
    make: Callable[[Path], None]
    told: tuple[str, ...] = ()
    exit_code: int | None = 3
    hits: int | None = None
    read: Callable[..., int] = read_file
    options: dict[str, Any] = field(default_factory=dict)
    megabytes: float = MEGABYTES
    slow: bool = False


def flips(ending: str, whole: bytes, places: Iterable[int]) -> list[Entry]:
    """A file with one bit changed, in each of some bytes: refused, or read as far as that bit says nothing."""

    def flipped(at: int) -> bytes:
        return whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]

    return [
        Entry(f"flip_{at:06d}{ending}", lambda path, at=at: path.write_bytes(flipped(at)), exit_code=None)
        for at in sorted(set(places))
    ]


def cuts(ending: str, whole: bytes, lengths: Iterable[int], exit_code: int | None = 3) -> list[Entry]:
    """The first bytes of a file, of each of some lengths."""
    return [
        Entry(f"cut_{n:06d}{ending}", lambda path, n=n: path.write_bytes(whole[:n]), exit_code=exit_code)
        for n in lengths
    ]


def entries_of(kind: str) -> list[Entry]:
    """All files of a kind."""
    entries: list[Entry] = import_module(f"corpus.{KINDS[kind]}").entries()
    names = [entry.name for entry in entries]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, twice
    return entries
