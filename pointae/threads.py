"""Parts of a compiled loop side by side, in as many threads as torch uses."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

WORTH = 4_000_000
"""Products of numbers in a part at least: below that, waking a thread takes as long as the work."""
PARTS_A_THREAD = 2
"""So a thread that is late, as where torch's own still hold the cores, leaves its share to the others."""


def parts_of(products: int) -> int:
    """In how many parts to cut that many products of numbers."""
    threads = torch.get_num_threads()
    return 1 if threads == 1 else max(1, min(PARTS_A_THREAD * threads, products // WORTH))


def side_by_side(work: Callable[[int], object], parts: int) -> None:
    """``work(0)`` to ``work(parts - 1)`` in any order, in this thread and others; it must let go of the interpreter."""
    left = deque(range(parts))

    def take() -> None:
        while left:
            try:
                part = left.popleft()
            except IndexError:  # another was faster
                return
            work(part)

    helpers = min(torch.get_num_threads(), parts) - 1
    others = [_pool(os.getpid(), helpers).submit(take) for _ in range(helpers)]
    try:
        take()
    finally:  # after an error too nothing goes on behind the caller's back
        left.clear()
        for other in others:
            if not other.cancel():
                other.result()


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


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process: those of the one it was forked from are not in it."""
    return ThreadPoolExecutor(threads, thread_name_prefix="loops")
