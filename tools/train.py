"""Train the model of a config, or go on with a run: python tools/train.py configs/demo.yaml [key=value ...]"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pointae.argument_types import whole
from pointae.entry import Parser, run_tool
from pointae.errors import UsageError
from pointae.terminal import command_line, console

if TYPE_CHECKING:
    from pointae.runs import RunDirectory


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Train the model of a config, or go on with a run.")
    parser.add_argument("config", nargs="?", help="YAML file, e.g. configs/demo.yaml; not with --resume")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. train.epochs=20")
    parser.add_argument("--runs", default="runs", help="folder for run directories (default: runs)")
    parser.add_argument("--dry-run", action="store_true", help="build data and model, show them, and stop")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run, e.g. runs/latest, by its own config")
    parser.add_argument("--epoch", type=whole(), metavar="N", help="with --resume: go back to the end of epoch N")
    parser.add_argument("--force", action="store_true", help="with --resume: whatever settings or data have changed")
    options = parser.parse_intermixed_args(arguments)
    words = [word for word in (options.config, *options.overrides) if word is not None]

    if options.resume is not None:
        if options.dry_run or any("=" not in word for word in words):
            raise UsageError("--resume takes the run's own config", fix="leave the config and --dry-run out")
        _resume(options.resume, words, options.force, options.epoch)
        return
    if not words or options.force or options.epoch is not None:
        raise UsageError("--force and --epoch are for --resume" if words else "which config?", fix="see --help")
    _train(words[0], words[1:], options.runs, options.dry_run)


def _train(path: str, overrides: Sequence[str], runs: str, dry_run: bool) -> None:
    from pointae.config_files import load_config
    from pointae.io import look_over_source

    config = load_config(path, overrides)
    look_over_source(config.data.source)
    if dry_run:
        from pointae.analysis.dry_run import describe

        describe(config)
        return

    from pointae.training.session import train_run
    from visual.plots.training import draw_training

    command = command_line("train", path, *overrides)
    train_run(config, runs, draw=draw_training, command=command, finish=_tell)


def _resume(path: str, overrides: Sequence[str], force: bool, epoch: int | None) -> None:
    from pointae.runs import RunDirectory

    run = RunDirectory.open(path)  # a bad one is told before anything slow is loaded
    from pointae.training.session import resume_run
    from visual.plots.training import draw_training

    resume_run(run.path, overrides, force, draw=draw_training, epoch=epoch, finish=_tell)


def _tell(run: RunDirectory) -> None:
    from visual.plots.theme import THEMES
    from visual.plots.training import draw_training

    # Once more: the weights are now the best, and the threshold is fixed.
    console.print(f"plots saved: {', '.join(str(path) for path in draw_training(run, THEMES))}")
    console.print(f"run saved: {run.path}")
    console.print(f"evaluate it:  {command_line('evaluate', run.path)}")


if __name__ == "__main__":
    run_tool(main)
