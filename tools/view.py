"""Look at events: a window to turn around, or a picture an event and a browser page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pointae.terminal import console, errors, run_tool

EPILOG = """examples:
  python tools/view.py runs/latest                       a window, or files where there is no display
  python tools/view.py my_hits.h5 --engine html --out look
  python tools/view.py runs/latest --event 3 --events 1 --engine png
"""


def main(arguments: Sequence[str]) -> None:
    """Show the events of a run or file."""
    options = parse(arguments)
    from visual.engines import view
    from visual.source import open_events

    def say(line: str) -> None:
        errors.print(line, markup=False)

    source = open_events(options.path)
    for path in view(source, options.engine, options.event, options.events, options.out, say):
        console.print(str(path), markup=False)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The tool's options."""
    parser = argparse.ArgumentParser(
        "view.py", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a run, or a file of hits in any readable format")
    parser.add_argument(
        "--engine",
        choices=("open3d", "pyvista", "files", "html", "png"),
        help="default: the first window that can be opened, else files (png and html)",
    )
    parser.add_argument("--event", type=int, default=0, metavar="N", help="the first event shown, from 0 (default 0)")
    parser.add_argument(
        "--events", type=_positive, default=8, metavar="M", help="how many events files show (default 8)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where files go (default: RUN/views, or FILE_views beside a file)"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be above 0, got {number}")
    return number


if __name__ == "__main__":
    run_tool(main)
