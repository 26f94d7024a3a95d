"""Configs: the texts of :mod:`hostile_yaml`, and files that are none."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_yaml

from corpus import Entry
from corpus.places import bound, link_to


def load(path: Path) -> int:
    """Read a config."""
    from pointae.config_files import load_config

    load_config(path)
    return 0


def config(name: str, make: Callable[[Path], Any], told: str = "", hits: int | None = None) -> Entry:
    return Entry(f"{name}.yaml", make, (told,), exit_code=2, hits=hits, read=load)


def text(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


def entries() -> list[Entry]:
    """All configs; what a text is, its name says."""
    texts = enumerate(hostile_yaml.TEXTS.values())
    return [
        *(config(f"yaml_{number:03d}", functools.partial(text, content=content)) for number, content in texts),
        config("good", functools.partial(text, content="train: {epochs: 3}"), hits=0),
        config("nothing", functools.partial(text, content=""), hits=0),
        config("pipe", os.mkfifo, "is a pipe"),
        config("socket", bound, "is a socket"),
        config("zero", link_to("/dev/zero"), "is a device"),
        config("folder", Path.mkdir, "is a folder"),
        config("loop", lambda path: os.symlink(path.name, path)),
        config("missing", lambda path: None, "no such config"),
        config("not_utf8", functools.partial(text, content=b"name: \xff")),
        config("utf16", functools.partial(text, content="train: {epochs: 3}".encode("utf-16"))),
        config("large", functools.partial(text, content="#" * 1_000_001), "1,000,001 bytes"),
        config("h5", functools.partial(text, content=b"\x89HDF\r\n\x1a\n" + bytes(100))),
    ]
