"""A file that takes another's place in one step, once it is whole; what killed processes left of theirs is cleared."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

LEFTOVER = re.compile(r"\..*\.(?P<place>[0-9a-f]{8})-(?P<process>\d{1,10})-[0-9a-f]{8}\.part", re.DOTALL)
"""How temporary files are called: after the file, the place that they are written from, and the process there."""
SHOWN = 32
"""Letters of the file's name that its temporary one begins with: a name has room for 255 bytes."""
A_DAY = 86_400.0
"""Seconds after which a temporary file of another machine is taken for a leftover."""


class Replacement:
    """A temporary file, or folder, beside the one that it will replace.

    A link is followed: the file that it leads to is replaced, in its own folder, and the link stays. Leftovers of
    processes that are dead are removed from that folder.

    Args:
        path: of the file, there already or not.

    Raises:
        OSError: what is there is a device or a pipe, or the link leads nowhere.

    ``temporary`` is the name to write under; there is nothing yet.
    """

    def __init__(self, path: Path) -> None:
        self.target = Path(os.path.realpath(path)) if path.is_symlink() else path
        _check_replaceable(self.target)
        clear_leftovers(self.target.parent)
        name = f".{self.target.name[:SHOWN]}.{_place()}-{os.getpid()}-{secrets.token_hex(4)}.part"
        self.temporary = self.target.with_name(name)

    def keep(self) -> None:
        """Put it in place, for good."""
        os.replace(self.temporary, self.target)
        sync(self.target.parent)

    def drop(self) -> None:
        """Remove what was not kept; nothing where it was."""
        _remove(self.temporary)


def sync(path: Path) -> None:
    """Wait until what was written to ``path``, a file or a folder, is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder; its replace is durable by itself
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_replaceable(target: Path) -> None:
    """Whatever is neither a file nor a folder would be lost, e.g. ``/dev/null``."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        error = OSError("is a device or a pipe, not a regular file")
        error.strerror = str(error)
        raise error


def clear_leftovers(folder: Path) -> None:
    """Remove from a folder what processes that are dead were writing there."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = LEFTOVER.fullmatch(entry.name)
            if found and _is_left(found["place"], int(found["process"]), entry):
                _remove(Path(entry.path))


def _is_left(place: str, process: int, entry: os.DirEntry[str]) -> bool:
    """Whether the process that wrote it is dead; of one elsewhere its age must tell."""
    if place != _place() or os.name == "nt":  # where signal 0 is not harmless
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > A_DAY
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _place() -> str:
    """The machine, and the container on it, within which process numbers are unique."""
    container = ""
    with suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {container}".encode()).hexdigest()[:8]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
