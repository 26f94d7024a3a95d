"""Is there a screen to open a window on? Asked before a viewer's library is imported."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path

NO_OPENGL = "apt-get install libgl1-mesa-dri draws without a graphics card; --engine html needs none"
"""What to do where a viewer finds no OpenGL."""


def display_problem() -> str | None:
    """Why no window can be opened here; ``None`` if one can.

    Windows and macOS are taken to have a screen. Elsewhere ``DISPLAY`` must name an X server that
    answers, or ``WAYLAND_DISPLAY`` a socket: a viewer's library may end the whole process, or draw
    where nobody looks, on a name left over from a closed connection.
    """
    if sys.platform in ("win32", "darwin"):
        return None
    name, wayland = os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")
    if name and not _answers(name):
        return f"there is no display: the X server that DISPLAY={name} names does not answer"
    if wayland and not name and not (Path(os.environ.get("XDG_RUNTIME_DIR", "/")) / wayland).is_socket():
        return f"there is no display: WAYLAND_DISPLAY={wayland} is no socket"
    return None if name or wayland else "there is no display: DISPLAY and WAYLAND_DISPLAY are not set"


def _answers(display: str) -> bool:
    library = ctypes.util.find_library("X11")
    if library is None:
        return True  # Cannot be asked; the viewer's library will tell.
    x11 = ctypes.CDLL(library)
    x11.XOpenDisplay.restype = ctypes.c_void_p
    connection = x11.XOpenDisplay(display.encode())
    if not connection:
        return False
    x11.XCloseDisplay(ctypes.c_void_p(connection))
    return True
