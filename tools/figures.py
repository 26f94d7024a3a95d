"""Figures of trained denoisers beside the oracle: python tools/figures.py [torch-base runs/mine]"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointae.argument_types import whole
from pointae.attempts import Attempts, Each
from pointae.entry import Parser, run_tool
from pointae.errors import UsageError
from pointae.terminal import console, progress


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Figures of trained denoisers beside the oracle, as tables and plots.")
    parser.add_argument("denoisers", nargs="*", metavar="DENOISER", help="run or shipped name (default: all shipped)")
    parser.add_argument("--only", choices=["table", "range", "speed"], help="one part (default: all three)")
    parser.add_argument("--events", type=whole(), default=5000, help="of each condition of the table (default: 5000)")
    parser.add_argument("--range-events", type=whole(), default=500, help="of each point of the range (default: 500)")
    parser.add_argument("--threads", type=whole(1, 1024), default=2, help="CPU threads (default: 2)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder for CSV and PNG (default: figures)")
    options = parser.parse_intermixed_args(arguments)
    if min(options.events, options.range_events) < 1:
        raise UsageError("--events and --range-events must be above 0")

    with Attempts() as attempts:
        _judge(options, attempts.at)


def _judge(options: Namespace, each: Each) -> None:
    from pointae.shipped import shipped_names
    from pointae.trained import open_each

    found = open_each(options.denoisers or shipped_names(), each)
    import torch

    from pointae.analysis import figures
    from pointae.benchmark.quality_speed import quality_speed, quality_speed_steps
    from pointae.environment import gather_environment
    from pointae.storage import write_json, write_table
    from visual.plots.figures import plot_quality_speed, plot_range

    torch.set_num_threads(options.threads)
    denoisers = figures.open_all(found, options.device, each)
    if not denoisers:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "environment.json", gather_environment())
    rows: list[dict[str, Any]] = []
    if options.only in (None, "table"):
        with each("table"), progress("table", figures.table_steps(denoisers)) as advance:
            rows = figures.figures_table(denoisers, options.events, advance, each)
        write_table(options.out / "table.csv", rows)
        title = f"{{}}, {options.events:,} events: noise removed, %"
        for shown in figures.tables_of(rows, figures.TABLE_COLUMNS, "condition", title):
            shown.show()
    if options.only in (None, "range"):
        with each("range"), progress("range", figures.range_steps(denoisers)) as advance:
            points = figures.range_curves(denoisers, options.range_events, advance, each)
            title = f"{figures.BENCHMARK}, where nothing else is said; {options.range_events:,} events a point"
            plot_range(points, options.out / "range.png", title)
    if options.only in (None, "speed"):
        with each("speed"):
            with progress("quality", figures.benchmark_steps(denoisers)) as step:
                quality = figures.benchmark_rows(rows) or figures.judge_benchmark(denoisers, options.events, step, each)
            with progress("speed", quality_speed_steps(denoisers)) as advance:
                speeds = quality_speed(denoisers, quality, advance)
            title = f"events at once: {{}}, threads: {options.threads}; noise removed, %"
            for shown in figures.tables_of(speeds, figures.SPEED_COLUMNS, "batch", title):
                shown.show()
            plot_quality_speed(speeds, options.out / "speed.png", figures.BENCHMARK)
    console.print(f"saved in {options.out}")


if __name__ == "__main__":
    run_tool(main)
