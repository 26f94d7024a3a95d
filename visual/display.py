"""Is there a screen to open a window on? Asked before a viewer's library is imported."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys


def display_problem() -> str | None:
    """Why no window can be opened here; ``None`` if one can.

    Windows and macOS are taken to have a screen. Elsewhere ``DISPLAY`` must name an X server that
    answers, or ``WAYLAND_DISPLAY`` be set: a viewer's library may end the whole process on a
    ``DISPLAY`` left over from a closed connection.
    """
    if sys.platform in ("win32", "darwin"):
        return None
    name = os.environ.get("DISPLAY")
    if not name:
        return (
            None
            if os.environ.get("WAYLAND_DISPLAY")
            else "there is no display: DISPLAY and WAYLAND_DISPLAY are not set"
        )
    return None if _answers(name) else f"there is no display: the X server that DISPLAY={name} names does not answer"


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
