"""Makes, reads and removes each file of the corpus in this process; prints a line of JSON for each.

``python -m corpus.child FOLDER quick|slow KIND...``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch  # noqa: F401  # paid for before anything is measured

from corpus import Entry, entries_of
from pointae.errors import PointaeError


def peak() -> float:
    """The most memory that this process has had since :func:`forget`, MB."""
    status = Path("/proc/self/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1e3


def forget() -> None:
    """From here on :func:`peak` is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")


def outcome(entry: Entry, path: Path) -> dict[str, object]:
    """What reading a file comes to."""
    try:
        return {"hits": entry.read(path, **entry.options)}
    except PointaeError as error:
        return {"exit_code": error.exit_code, "line": str(error), "fix": error.fix}
    except BaseException as error:
        return {"escaped": type(error).__name__, "trace": traceback.format_exc()[-2000:]}


def main(folder: Path, slow: bool, kinds: Sequence[str]) -> None:
    """Go through some kinds."""
    for kind in kinds:
        for entry in entries_of(kind):
            if entry.slow == slow:
                print(json.dumps({"begins": f"{kind} {entry.name}"}), flush=True)
                print(json.dumps({"kind": kind, "name": entry.name, **tried(entry, folder)}), flush=True)


def tried(entry: Entry, folder: Path) -> dict[str, object]:
    """What a file comes to, and what it costs."""
    path = folder / entry.name
    entry.make(path)
    before = set(folder.rglob("*"))
    forget()
    held, begin, wall = peak(), time.process_time(), time.perf_counter()
    told = outcome(entry, path)
    told |= {"seconds": time.process_time() - begin, "wall": time.perf_counter() - wall, "megabytes": peak() - held}
    told["left"] = [str(each) for each in set(folder.rglob("*")) ^ before]
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else os.unlink(each)
    return told


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), sys.argv[2] == "slow", sys.argv[3:])
