"""Seconds of things that are to be compared, taken in turns; and whether the machine was quiet meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import torch

SHORTEST_S = 0.004
"""A turn lasts at least so long: shorter works are called several times in it."""
QUIET = 0.95
"""Share of the cores' time below which something else was running."""

Work = Callable[[], object]


def interleaved(works: Mapping[str, Work], seconds: float, rounds: tuple[int, int] = (3, 15)) -> dict[str, list[float]]:
    """Seconds a call of each work in each round: A B C, B C A, ..., so that what drifts meets all alike.

    Two calls before are not counted: the first builds what is built once, the second says how many rounds fit.

    Args:
        works: by name.
        seconds: to spend on all of them, as far as the bounds of ``rounds`` let.
        rounds: least and most.
    """
    names = list(works)
    for name in names:
        once(works[name])
    alone = {name: once(works[name]) for name in names}
    calls = {name: max(1, round(SHORTEST_S / alone[name])) for name in names}
    turn = sum(alone[name] * calls[name] for name in names)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(int(np.clip(seconds / turn, *rounds)) if names else 0):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(once(works[name], calls[name]))
    return taken


def once(work: Work, calls: int = 1) -> float:
    """Seconds a call of ``work``, to its end on the GPU where it ran there."""
    _finish()
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    _finish()
    return (time.perf_counter() - begin) / calls


def median_ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """How many times ``slower`` takes as long: the median over the rounds of both."""
    return float(np.median(np.array(slower) / np.array(faster)))


def pin(threads: int) -> int:
    """Use so many threads, on as many cores where the system lets one choose; returns the number of cores."""
    torch.set_num_threads(threads)
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])
    return min(len(allowed), threads)


def quiet_share(threads: int, seconds: float = 0.1) -> float:
    """Share of their time that ``threads`` busy threads really ran, the least of them: 1 on a quiet machine."""

    def spin(_: int) -> float:
        block = bytes(1 << 18)
        begin, own = time.perf_counter(), time.thread_time()
        while time.perf_counter() - begin < seconds:
            sha256(block)  # lets the other threads run
        return (time.thread_time() - own) / (time.perf_counter() - begin)

    with ThreadPoolExecutor(threads) as pool:
        return min(pool.map(spin, range(threads)))


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
