"""Quality of full patterns against the size of their codes: python tools/compression.py RUN RUN ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.attempts import Attempts, Each
from pointae.entry import Parser, run_tool
from pointae.terminal import console, progress

EXAMPLES = 2
"""Events drawn."""
SHARES = ("coverage", "purity", "hallucinated_xy", "hallucinated_xyt", "temporal_retention", "noise_removed_at_97")


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Quality of full patterns against the size of their codes.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="of decoders that make patterns, on the same events")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder for CSV and PNG (default: figures)")
    options = parser.parse_args(arguments)

    with Attempts() as attempts:
        _judge(options.runs, options.out, attempts.at)


def _judge(runs: Sequence[str], out: Path, each: Each) -> None:
    from pointae.trained import open_each

    found = open_each(runs, each)  # a wrong name is told before torch is loaded
    if not found:
        return

    from pointae.analysis.compression import comparable, compression_steps, compression_table, example_patterns
    from pointae.analysis.judging import open_denoisers
    from visual.plots.compression import plot_compression, plot_patterns

    denoisers = comparable(open_denoisers(found, each=each), each)
    if not denoisers:
        return
    with progress("compression", compression_steps(denoisers)) as advance:
        rows = compression_table(denoisers, advance, each)
    judged = {row["name"]: denoisers[row["name"]] for row in rows if row["kind"] == "network"}
    if not judged:
        return
    _show(rows)
    out.mkdir(parents=True, exist_ok=True)
    plot_compression(rows, out / "compression.png")
    plot_patterns(example_patterns(judged, EXAMPLES), out / "patterns.png")
    console.print(f"saved in {out}: compression.png, compression.csv, patterns.png")


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    from pointae.analysis.compression import COLUMNS

    title = f"{rows[0]['events']:,} events, {rows[0]['true_hits'] / rows[0]['events']:.0f} true hits each"
    table = Table("", *(row["name"] for row in rows), title=title)
    for name, heading in COLUMNS.items():
        table.add_row(heading, *(_cell(name, row.get(name)) for row in rows))
    console.print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if value != value:
        return "undefined"
    if name in SHARES:
        return f"{value:.1%}"
    if name.startswith("chamfer"):
        return f"{value:.2f}"
    return f"{value:.1f}x" if name == "compression_ratio" else f"{value:,.0f}"


if __name__ == "__main__":
    run_tool(main)
