"""Load a file and say what it weighs: run in a process of its own, ``python -m pointae.benchmark.loading FILE``."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pointae.hits import HitBatch
from pointae.io import read_hits


def resident_mb() -> float:
    """Memory of this process, MB (1e6 bytes); nan where the system has no /proc."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 / 1e6 if status.is_file() else float("nan")


@contextmanager
def peak_watched(peaks: list[float]) -> Iterator[None]:
    """Append the largest memory seen inside the context, looked at every 5 ms."""
    done, largest = threading.Event(), resident_mb()

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.005):
            largest = max(largest, resident_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        peaks.append(largest)


def main(path: str) -> None:
    """Print events, hits, MB held, MB at the peak above the start, and seconds, as JSON."""
    import h5py  # noqa: F401 - its own memory is not the events'

    start = resident_mb()
    peaks: list[float] = []
    begin = time.perf_counter()
    with peak_watched(peaks):
        hits = read_hits(path)
    seconds = time.perf_counter() - begin
    told = {
        "events": hits.batch_size,
        "hits": hits.num_hits,
        "held_mb": held_bytes(hits) / 1e6,
        "peak_mb": peaks[0] - start,
        "seconds": seconds,
    }
    print(json.dumps(told))


def held_bytes(hits: HitBatch) -> int:
    """Bytes of a batch's arrays."""
    arrays = [hits.coords, hits.offsets, hits.features, *hits.present.values()]
    return sum(array.numel() * array.element_size() for array in arrays)


if __name__ == "__main__":
    main(sys.argv[1])
