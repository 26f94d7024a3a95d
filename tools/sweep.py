"""Search over configs: python tools/sweep.py configs/robots/sweep.yaml [key=value ...] [--max-trials 8 --subset 0.2]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.argument_types import real, whole
from pointae.entry import Parser, run_tool
from pointae.terminal import console

EPILOG = """The same command goes on where a sweep was stopped or killed, and, typed in another terminal at the same
time, shares its trials. key=value changes the config of every trial, e.g. data.source.paths=[robots.csv]."""

_COLUMNS = ("rank", "trial", "state", "score", "best_epoch", "seconds")


def main(arguments: Sequence[str]) -> None:
    parser = Parser("sweep.py", description="Search over configs, with Optuna.", epilog=EPILOG)
    parser.add_argument("sweep", type=Path, help="YAML file, e.g. configs/robots/sweep.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the config, e.g. train.epochs=5")
    parser.add_argument("--max-trials", type=whole(), metavar="N", help="how many are trained in all")
    parser.add_argument("--subset", type=real(0, 1), metavar="SHARE", help="of the training events, e.g. 0.2")
    parser.add_argument("--out", type=Path, help="folder of the sweep (default: sweeps/NAME)")
    parser.add_argument("--xlsx", action="store_true", help="write the tables as a spreadsheet too")
    parser.add_argument("--dry-run", action="store_true", help="say how many configurations and how long, and stop")
    options = parser.parse_intermixed_args(arguments)

    from pointae.config_files import load_sweep
    from pointae.optional import require

    settings = load_sweep(options.sweep, trials=options.max_trials, subset=options.subset)
    require("optuna", extra="sweep")
    if options.xlsx:
        require("xlsxwriter", extra="xlsx")

    from pointae.analysis.sweep.session import open_sweep, run_sweep
    from visual.pages.sweep import write_sweep_page
    from visual.plots.sweep import draw_sweep

    study = open_sweep(settings, tuple(options.overrides), options.out or Path("sweeps") / options.sweep.stem)
    if options.dry_run:
        return
    rows = run_sweep(study, tuple(options.overrides), write_sweep_page, draw_sweep, options.xlsx)
    _show(rows, [*settings.parameters])


def _show(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], most: int = 20) -> None:
    from rich.table import Column, Table

    table = Table(*_COLUMNS, Column("settings", overflow="fold"), title=f"{min(most, len(rows))} of {len(rows)} trials")
    for row in rows[:most]:
        told = "  ".join(f"{key.rpartition('.')[2]}={_short(row[key])}" for key in keys)
        table.add_row(*(_short(row[name]) for name in _COLUMNS), told)
    console.print(table)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run_tool(main)
