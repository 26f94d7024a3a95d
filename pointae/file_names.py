"""Names of files that are made of what users wrote, such as every system takes, and what those they name are called."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pointae.errors import UsageError

LONGEST = 255
"""Bytes that a file's name may have."""
SHORT = 100
"""Letters of a name made of text: there is room for an ending, and for a path on Windows."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Devices of Windows, whatever their ending."""


def plain_name(text: str, otherwise: str) -> str:
    """A file's name made of any text: ASCII letters, digits, and ``. _ -`` within; ``otherwise`` if none is left."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:SHORT].rstrip(".-") or otherwise
    return f"{otherwise}-{name}" if RESERVED.fullmatch(name) else name


def beside(path: Path, ending: str, stem: str | None = None) -> Path:
    """The path with ``ending`` in place of its own; of a name that would be too long, the beginning and a digest.

    Args:
        path: of a file.
        ending: e.g. ``"_views"``.
        stem: what stands before it; by default the path's name without its ending.
    """
    stem = path.stem if stem is None else stem
    whole = os.fsencode(stem)
    room = LONGEST - len(os.fsencode(ending))
    if len(whole) > room:
        mark = f"-{hashlib.sha256(whole).hexdigest()[:8]}"
        stem = whole[: room - len(mark)].decode(errors="ignore") + mark
    return path.with_name(stem + ending)


def names_of(paths: Sequence[Path]) -> list[str]:
    """What each path is called: its last part, or all of it where two end alike.

    Raises:
        UsageError: one is named twice.
    """
    whole = [path.resolve() for path in paths]
    for path in whole:
        if whole.count(path) > 1:
            raise UsageError("is named twice", where=path)
    names = [path.name for path in whole]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
