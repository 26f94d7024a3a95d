"""Train the model of a config: python tools/train.py configs/demo.yaml [key=value ...]"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from pointae.terminal import console, run_tool


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Train the model of a config.")
    parser.add_argument("config", help="YAML file, e.g. configs/demo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. train.epochs=20")
    parser.add_argument("--runs", default="runs", help="folder for run directories (default: runs)")
    parser.add_argument("--dry-run", action="store_true", help="build data and model, show them, and stop")
    options = parser.parse_intermixed_args(arguments)

    from pointae.config_files import load_config

    config = load_config(options.config, options.overrides)
    if options.dry_run:
        from pointae.analysis.dry_run import describe

        describe(config)
        return

    from pointae.training.session import train_run
    from visual.plots import plot_training

    run = train_run(config, options.runs, draw=partial(plot_training, loss=config.train.loss.name))
    console.print(f"run saved: {run.path}")
    console.print(f"evaluate it:  python tools/evaluate.py {run.path}")


if __name__ == "__main__":
    run_tool(main)
