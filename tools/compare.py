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

    from pointae.attempts import Attempts
    from pointae.runs import RunDirectory

    with Attempts() as attempts:
        runs = []
        for path in options.runs:
            with attempts.at(path):
                runs.append(RunDirectory.open(path))

        from pointae.analysis.comparison import compare_runs, grid_notes, judged_table, notes_on, ranking_table
        from pointae.storage import write_table
        from visual.pages.report import Told, write_report

        rows = compare_runs(runs, attempts.at)
        if not rows:
            return
        ranked = [RunDirectory.open(row["path"]) for row in rows]
        notes = [*notes_on(rows), *grid_notes(ranked)]
        ranking_table(rows, brief=True).show()
        for note in notes:
            console.print(note)
        told = []
        for run, row in zip(ranked, rows, strict=True):
            judged = None
            with attempts.at(run.path):
                judged = judged_table(run)
            told.append(Told(run, row["name"], judged))
        folder = options.out or (told[0].run.path if len(options.runs) == 1 else Path("comparison"))
        page = write_report(told, folder, ranking_table(rows) if len(told) > 1 else None, notes, attempts.at)
        write_table(folder / "ranking.csv", rows)
        console.print(f"saved: {page}, {folder / 'ranking.csv'}")


if __name__ == "__main__":
    run_tool(main)
