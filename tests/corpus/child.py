"""Makes, reads and removes each file of a kind in this process; prints a line of JSON for each.

``python -m corpus.child KIND FOLDER [slow]``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
import warnings
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {"hits": entry.read(path, **entry.options)}
    except PointaeError as error:
        return {"exit_code": error.exit_code, "line": str(error), "fix": error.fix}
    except BaseException as error:
        return {"escaped": type(error).__name__, "trace": traceback.format_exc()[-2000:]}


def main(kind: str, folder: Path, slow: bool) -> None:
    """Go through a kind."""
    for entry in entries_of(kind):
        if entry.slow != slow:
            continue
        path = folder / entry.name
        entry.make(path)
        before = sorted(folder.rglob("*"))
        print(json.dumps({"begins": entry.name}), flush=True)
        forget()
        held, begin, wall = peak(), time.process_time(), time.perf_counter()
        told = outcome(entry, path)
        told |= {"seconds": time.process_time() - begin, "wall": time.perf_counter() - wall, "megabytes": peak() - held}
        told["left"] = [str(each) for each in set(folder.rglob("*")) ^ set(before)]
        print(json.dumps({"name": entry.name, **told}), flush=True)
        for each in folder.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else os.unlink(each)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["slow"])
