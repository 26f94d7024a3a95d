"""Judge a run on unseen events, beside classical filters: python tools/evaluate.py runs/latest [hits.h5]"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pointae.terminal import console, run_tool

if TYPE_CHECKING:
    from pointae.analysis.evaluation import Evaluation


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Judge a run on unseen events, beside classical filters.")
    parser.add_argument("run", help="run directory, e.g. runs/latest")
    parser.add_argument("hits", nargs="?", help="file of labelled hits (default: the test events of the run's config)")
    parser.add_argument("--json", action="store_true", help="print one JSON object of micro metrics, and nothing else")
    parser.add_argument("--no-baselines", action="store_true", help="judge the network alone")
    options = parser.parse_intermixed_args(arguments)

    from pointae.runs import RunDirectory

    run = RunDirectory.open(options.run)
    run.weights()

    from pointae.analysis.evaluation import evaluate_run, save_evaluation
    from pointae.analysis.robots import evaluate_robots
    from pointae.analysis.stages import save_stages
    from pointae.config_files import load_config
    from pointae.geometry import geometry_from_dict
    from pointae.io import read_hits
    from visual.plots import plot_comparison

    config = load_config(run.config_path)
    geometry = geometry_from_dict(run.record["geometry"]) if options.hits else None
    events = read_hits(options.hits, geometry=geometry) if options.hits else None
    if config.data.source.kind == "robots":
        robots = evaluate_robots(run, events)
        robots.save(run, config.evaluate.pictures)
        print(json.dumps(robots.figures) if options.json else f"{robots}\ntables: {run.evaluation}")
        return
    evaluation = evaluate_run(run, events, baselines=not options.no_baselines)
    save_evaluation(run, evaluation, config.evaluate.pictures)
    save_stages(run, evaluation, of_config=events is None)
    picture = plot_comparison(evaluation.table(), run.evaluation / "comparison.png")
    if options.json:
        print(json.dumps({**evaluation.rows[0].figures, **{f"pattern_{k}": v for k, v in evaluation.pattern.items()}}))
        return
    _show(evaluation)
    console.print(f"tables: {run.evaluation / 'table.csv'}, {run.evaluation / 'events.csv'}\npicture: {picture}")


def _show(evaluation: Evaluation) -> None:
    from rich.table import Table

    from pointae.analysis.evaluation import COLUMNS

    first = evaluation.rows[0].figures
    title = f"{first['events']:,} events, {first['signal_hits']:,} signal and {first['noise_hits']:,} noise hits"
    table = Table("", *(row.name for row in evaluation.rows), title=title)
    for name, heading in COLUMNS.items():
        table.add_row(heading, *(_cell(name, row.figures[name]) for row in evaluation.rows))
    console.print(table)
    for name, value in evaluation.pattern.items():
        console.print(f"generated pattern, {name}: {value:g}")


def _cell(name: str, value: float) -> str:
    if value != value:
        return "undefined"
    if name == "events_per_second":
        return f"{value:,.0f}"
    return f"{value:.2f}" if name.startswith(("snr", "noise_kept", "roc")) else f"{value:.1%}"


if __name__ == "__main__":
    run_tool(main)
