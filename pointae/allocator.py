"""How the C library gives memory back: kept by the process, steps of a training take their arrays from it again."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of glibc's ``mallopt``, malloc.h."""
_LARGEST_KEPT = 1 << 30
"""Bytes: larger arrays still come from the system, and go back to it."""
_MOST_KEPT = (1 << 31) - 1
"""Bytes at the end of the heap, the most that can be said."""
_SAID_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep memory that is freed instead of handing it back.

    By default glibc returns the arrays of a training step to the system after each step, and the next step pays for
    every page anew: in a virtual machine as long as for the arithmetic. Both thresholds must be set: the one alone
    stops glibc from raising the other. What the process holds stays at its peak; results do not change.

    Returns:
        Whether it does so from now on: ``False`` without glibc, or where the environment says otherwise.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SAID_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)) and bool(mallopt(_TRIM_THRESHOLD, _MOST_KEPT))


def give_back_freed_memory() -> bool:
    """Hand what is free in this process back to the system.

    glibc keeps what several threads free in pieces, each for its own: over thousands of blocks a process would creep
    to several times of what it holds. Pages that are needed again are paid for anew, so this is for now and then.

    Returns:
        Whether anything was given back: ``False`` without glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return bool(trim and trim(0))
