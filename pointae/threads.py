"""Parts of a compiled loop side by side, in as many threads as torch uses: its own where that can be."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

WORTH = 4_000_000
"""Products of numbers in a part at least: below that, waking a thread takes as long as the work."""
PARTS_A_THREAD = 2
"""So a thread that is late, as where torch's own still hold the cores, leaves its share to the others."""

_HOME = os.getpid()
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def parts_of(products: int) -> int:
    """In how many parts to cut that many products of numbers."""
    threads = torch.get_num_threads()
    return 1 if threads == 1 else max(1, min(PARTS_A_THREAD * threads, products // WORTH))


def side_by_side(work: Callable[[int], object], parts: int) -> None:
    """``work(0)`` to ``work(parts - 1)`` in any order, in this thread and others; it must let go of the interpreter."""
    left, errors = deque(range(parts)), []

    def take() -> None:
        while left:
            try:
                part = left.popleft()
            except IndexError:  # another was faster
                return
            try:
                work(part)
            except BaseException as error:  # raised where all have ended: nothing goes on behind the caller's back
                errors.append(error)
                left.clear()

    _together(take, min(torch.get_num_threads(), parts))
    if errors:
        raise errors[0]


def each_alone(work: Callable[[int], object], parts: int) -> None:
    """As :func:`side_by_side`, of work that is torch's: each part runs on one thread, as do the loops in it."""
    threads = torch.get_num_threads()

    def alone(part: int) -> None:
        torch.set_num_threads(1)  # this thread's own number, and that of all in MKL
        work(part)

    try:
        side_by_side(alone, parts)
    finally:
        torch.set_num_threads(threads)


def _together(take: Callable[[], None], threads: int) -> None:
    """The same function in so many threads at once, this one among them; it raises nothing."""
    if threads < 2:
        take()
    elif team := _team(os.getpid()):
        team(_CALLBACK(lambda _: take()), None, threads, 0)
    else:
        others = [_pool(os.getpid(), threads - 1).submit(take) for _ in range(threads - 1)]
        take()
        for other in others:
            if not other.cancel():
                other.result()


@cache
def _team(process: int) -> Any:
    """torch's own threads, by the function of OpenMP that calls another in each; ``None`` where it can't be had.

    They wait awake for a while after torch's last operation. One of Python's takes a millisecond or more to wake,
    and has to share its core with torch's that waits there.
    """
    if process != _HOME:  # OpenMP's threads are those of the process that this one was forked from
        return None
    try:
        team = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):  # not Linux, or torch with threads of another kind
        return None
    team.argtypes, team.restype = (_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return team


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process: those of the one it was forked from are not in it."""
    return ThreadPoolExecutor(threads, thread_name_prefix="loops")
