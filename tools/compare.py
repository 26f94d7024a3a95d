"""Rank runs, and write the page that tells all of them: python tools/compare.py runs/demo runs/demo-2"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pointae.entry import Parser, run_tool
from pointae.terminal import console


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Rank runs, and write the page that tells all of them.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory, e.g. runs/latest")
    parser.add_argument("--out", type=Path, help="folder for the page (default: comparison, or the run itself if one)")
    options = parser.parse_args(arguments)

    from pointae.runs import RunDirectory

    runs = [RunDirectory.open(run) for run in options.runs]

    from pointae.analysis.comparison import compare_runs, grid_notes, judged_table, notes_on, ranking_table
    from pointae.storage import write_table
    from visual.pages.report import Told, write_report

    rows = compare_runs(runs)
    notes = [*notes_on(rows), *grid_notes(runs)]
    ranking_table(rows, brief=True).show()
    for note in notes:
        console.print(note)
    ranked = [RunDirectory.open(row["path"]) for row in rows]
    told = [Told(run, row["name"], judged_table(run)) for run, row in zip(ranked, rows, strict=True)]
    folder = options.out or (runs[0].path if len(runs) == 1 else Path("comparison"))
    page = write_report(told, folder, ranking_table(rows) if len(runs) > 1 else None, notes)
    write_table(folder / "ranking.csv", rows)
    console.print(f"saved: {page}, {folder / 'ranking.csv'}")


if __name__ == "__main__":
    run_tool(main)
