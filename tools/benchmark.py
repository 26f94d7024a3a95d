"""Time the stages that events pass through: python tools/benchmark.py [--out FOLDER]"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pointae.terminal import console, progress, run_tool


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Time the stages that events pass through, on one thread.")
    parser.add_argument("--out", help="folder for stages.csv")
    options = parser.parse_intermixed_args(arguments)

    from rich.table import Table

    from pointae.benchmark.stages import measure_stages
    from pointae.environment import gather_environment
    from pointae.storage import write_json, write_table

    environment = gather_environment()
    with progress("measuring", 4) as advance:
        figures = measure_stages(advance)
    table = Table("stage", "median", "worst", "", title="one thread")
    for figure in figures:
        table.add_row(figure.name, f"{figure.median:,.1f}", f"{figure.worst:,.1f}", figure.unit)
    console.print(table)
    if options.out:
        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        write_table(folder / "stages.csv", [asdict(figure) for figure in figures])
        write_json(folder / "environment.json", environment)
        console.print(f"saved: {folder / 'stages.csv'}")


if __name__ == "__main__":
    run_tool(main)
