"""Judge runs on a real recording with injected noise: python tools/recording.py RUN [RUN ...]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.attempts import Attempts, Each
from pointae.entry import Parser, run_tool
from pointae.terminal import console


def main(arguments: Sequence[str]) -> None:
    parser = Parser(
        description="Judge runs on a real recording with injected noise: mean and spread over the seeds of a config, "
        "beside classical filters and the limit that its lone hits set."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="of one or more configs, each with several seeds")
    parser.add_argument("--out", type=Path, default=Path("recording"), help="for CSV and PNG (default: recording)")
    options = parser.parse_intermixed_args(arguments)

    with Attempts() as attempts:
        _judge(options.runs, options.out, attempts.at)


def _judge(names: Sequence[str], out: Path, each: Each) -> None:
    from pointae.runs import RunDirectory

    runs = []
    for name in names:
        with each(name):
            run = RunDirectory.open(name)
            run.weights()
            runs.append(run)

    from rich.table import Table

    from pointae.analysis.recording import AT, NEIGHBOUR_NS, judge_recording, table_of
    from pointae.storage import write_table
    from visual.plots.recording import plot_recording

    rows = judge_recording(runs, each)
    if not rows:
        return
    lone = rows[0]["lone_share"]
    console.print(f"{lone:.1%} of the signal hits have no neighbour within {NEIGHBOUR_NS:g} ns")
    table = Table(title="noise removed [%] where so much signal is kept, mean ± spread over seeds")
    for heading in ("method", "given", "seeds", *(f"{kept:.0%}" for kept in AT), "AUC"):
        table.add_column(heading, overflow="fold")
    methods = table_of(rows)
    for row in methods:
        shares = [_share(row, f"at_{kept * 100:.0f}") for kept in AT]
        judged = [str(row["seeds"]), *shares, f"{row['roc_auc']:.3f}"] if row["seeds"] else ["", *shares, ""]
        table.add_row(row["name"], row["given"], *judged)
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "recording.csv", methods)
    plot_recording(rows, out / "curves.png")
    console.print(f"saved in {out}")


def _share(row: Mapping[str, Any], name: str) -> str:
    error = row[f"{name}_error"]
    return f"{100 * row[name]:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


if __name__ == "__main__":
    run_tool(main)
