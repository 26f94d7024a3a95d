"""Sparse against dense, stage by stage: python tools/benchmark.py [--quick] [--out FOLDER] [--check BASELINE]"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from pointae.argument_types import whole
from pointae.attempts import Attempts, Each
from pointae.entry import Parser, run_tool
from pointae.errors import unknown_name
from pointae.terminal import console, note, progress, warn


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Networks, engines and pipelines timed beside one another.")
    parser.add_argument("--quick", action="store_true", help="the most telling rows, in less than a minute")
    parser.add_argument("--only", nargs="+", metavar="PART", help="some parts, e.g. networks pipelines (default: all)")
    parser.add_argument("--threads", type=whole(1, 1024), default=2, help="CPU threads, each on a core (default: 2)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--out", type=Path, help="folder for CSV, JSON, tables.md and PNG")
    parser.add_argument("--check", type=Path, metavar="BASELINE", help="benchmark.json that no ratio may fall behind")
    options = parser.parse_intermixed_args(arguments)

    with Attempts() as attempts:
        _measure(options, attempts.at)


def _measure(options: Namespace, each: Each) -> None:
    from rich.table import Column, Table

    from pointae.benchmark.ratios import check_rot, read_baseline
    from pointae.benchmark.results import Plan
    from pointae.benchmark.suite import PARTS, header_line, noise_note, run_parts, save_results
    from pointae.precision import choose_precision

    names = options.only or list(PARTS)
    for name in names:
        if name not in PARTS:
            raise unknown_name("part of the benchmark", name, PARTS)
    if options.check:
        read_baseline(options.check)  # told now where it is none, not after minutes
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)  # told now where it cannot be, not after minutes
    if remark := choose_precision(options.device, "bf16").note:
        note(remark)
    with progress("measuring", len(names), "parts") as advance:
        plan = Plan(options.quick, options.device, options.threads, advance)
        results, header, ratios = run_parts(plan, names, each)
    if not results.tables:
        return
    console.print(header_line(header))
    for table in results.tables.values():
        for title, rows in table.parts():
            headings = (Column(heading, overflow="fold") for heading in table.columns.values())
            shown = Table(*headings, title=title, title_justify="left")
            for row in rows:
                shown.add_row(*table.texts(row))
            console.print(shown)
    if told := noise_note(header):
        warn(told)
    if options.out:
        from visual.plots.benchmark import draw_benchmark

        save_results(options.out, results, header)
        drawn = draw_benchmark(results.tables, options.out)
        console.print(f"saved in {options.out}: {len(results.tables)} tables, {len(drawn)} plots")
    if options.check:
        console.print(f"{check_rot(ratios, options.check)} ratios are as good as those of {options.check}")


if __name__ == "__main__":
    run_tool(main)
