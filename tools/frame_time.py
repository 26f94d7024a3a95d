"""Time how fast events are drawn: the first frame, and each frame of a turn: python tools/frame_time.py"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pointae.argument_types import whole
from pointae.entry import Parser, run_tool
from pointae.errors import UsageError
from pointae.terminal import console, errors, progress

ENGINES = ("open3d", "pyvista")


def main(arguments: Sequence[str]) -> None:
    """Print a row for each engine and number of hits."""
    parser = Parser("frame_time.py", description=__doc__)
    parser.add_argument("--hits", type=whole(), nargs="+", default=[230, 1_000_000], help="default: 230 1000000")
    parser.add_argument("--frames", type=whole(), default=20, help="of the turn that is timed (default 20)")
    parser.add_argument("--engine", nargs="+", choices=ENGINES, help="default: those that can draw here")
    parser.add_argument("--out", type=Path, metavar="CSV", help="where the table is written")
    options = parser.parse_args(arguments)
    if min(options.frames, *options.hits) < 1:
        raise UsageError("--frames and --hits must be above 0")

    from rich.table import Table

    from pointae.errors import ComponentError
    from pointae.storage import write_table
    from visual.windows.frame_time import measure

    rows, engines = [], options.engine or ENGINES
    with progress("drawing", len(options.hits) * len(engines)) as advance:
        for engine in engines:
            for hits in options.hits:
                advance(0, f"{engine}, {hits:,} hits")
                try:
                    rows.append(measure(engine, hits, options.frames))
                except ComponentError as error:
                    if options.engine:
                        raise
                    errors.print(f"{error}; passed over")
                advance(1, "")
    table = Table(title="windows of 1280 x 820 pixels")
    for name in ("engine", "hits", "first frame, s", "all hits, s", "turning, ms", "slowest, ms", "frame of all, ms"):
        table.add_column(name, justify="right")
    for row in rows:
        times = (f"{1e3 * row[name]:.1f}" for name in ("turning_s", "slowest_s", "whole_s"))
        table.add_row(row["engine"], f"{row['hits']:,}", f"{row['first_s']:.2f}", f"{row['all_s']:.2f}", *times)
    if rows:
        console.print(table)
    if options.out and rows:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_table(options.out, rows)
        console.print(f"saved: {options.out}")


if __name__ == "__main__":
    run_tool(main)
