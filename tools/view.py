"""Look at events: a window to turn around, pictures, panels, turntables, or a browser page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pointae.argument_types import real, whole
from pointae.entry import Parser, run_tool
from pointae.terminal import console, errors, warn

EPILOG = """examples:
  python tools/view.py runs/latest                       a window, or files where there is no display
  python tools/view.py my_hits.h5 --engine html --out look
  python tools/view.py runs/latest --event 3 --save look/turn.gif
  python tools/view.py runs/latest --event 3 --grid pipeline --save look/pipeline.png
  python tools/view.py look/pipeline_hits                draws it again, from the hits beside it
"""


def main(arguments: Sequence[str]) -> None:
    """Show the events of a run or file."""
    options = parse(arguments)
    from pointae.io import look_over
    from pointae.io.arguments import reading_options
    from pointae.trained import reading_as

    reading = reading_options(options, reading_as(options.run, options.path), options.run)
    if options.path.suffix and not options.path.is_dir():  # a file of hits
        look_over(options.path, **vars(reading))

    from visual.engines import view
    from visual.scene.look import Look
    from visual.scene.source import open_events

    source = open_events(options.path, reading)
    for note in source.notes:
        warn(f"{options.path}: {note}")
    look = Look(options.threshold, options.times and tuple(options.times), options.colour, options.pixels)
    shown = (options.event, options.events, options.out)
    written = view(source, options.engine, *shown, errors.print, look, options.save, options.grid)
    for path in written:
        console.print(str(path))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The tool's options."""
    from pointae.io.arguments import add_reading_arguments

    parser = Parser("view.py", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("path", type=Path, metavar="PATH", help="a run, a file of hits in any readable format, or the hits of a view")
    add(
        "--engine",
        choices=("open3d", "pyvista", "files", "html", "png"),
        help="default: the first window that can be opened, else files (png and html)",
    )
    add("--event", type=whole(), default=0, metavar="N", help="the first event shown, from 0 (default 0)")
    add("--events", type=whole(1), default=8, metavar="M", help="how many events files show (default 8)")
    add("--out", type=Path, metavar="DIR", help="where files go (default: RUN/views, or FILE_views beside a file)")
    add("--save", type=Path, metavar="FILE", help="write one file: .png, .html, or a turntable as .gif or .mp4")
    add("--grid", metavar="NAME", help="panels side by side: before-after, degradation, output or pipeline")
    meanings = "layer, truth, score, time, track, kind or a feature's name (default: kind or layer)"
    add("--colour", metavar="BY", help=meanings)
    add("--threshold", type=real(0, 1), metavar="S", help="keep hits that score at least this")
    add("--times", type=real(), nargs=2, metavar=("FROM", "TO"), help="show these times only, in ns (or bins)")
    add("--pixels", action="store_true", help="axes in pixels and bins instead of mm and ns")
    add_reading_arguments(parser, run=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_tool(main)
