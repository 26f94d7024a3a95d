"""Write simulated or degraded events and their manifest: python tools/simulate.py torch -o events.h5 --events 1000"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pointae.argument_types import LARGEST_SEED, whole
from pointae.entry import Parser, run_tool
from pointae.errors import UsageError, unknown_name
from pointae.terminal import console, progress

if TYPE_CHECKING:
    from pointae.config import Config

OTHERS = ("torch", "robots")
PATTERNS = ("cross", "hemisphere", "line", "folded_v", "parabola", "blank")


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Simulate events into a file; a manifest is written beside it.")
    parser.add_argument("config", help="a YAML config, or a kind of source: torch, robots, or the name of a pattern")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="overrides, e.g. data.source.noise=100")
    parser.add_argument("-o", "--out", required=True, type=Path, help="file; the ending chooses the format")
    parser.add_argument("--events", type=whole(), help="how many (default: 1000, or all of a source of files)")
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), help="default: the config's")
    parser.add_argument("--view", default="noised", choices=["full", "thinned", "smeared", "noised"])
    options = parser.parse_intermixed_args(arguments)
    if options.events is not None and options.events < 0:
        raise UsageError(f"--events must not be negative, got {options.events}")

    config = _config(options.config, options.settings)

    from pointae.data.export import manifest_path, write_dataset

    seed = config.seed if options.seed is None else options.seed
    with progress("simulating", options.events, "events") as advance:
        manifest = write_dataset(options.out, config.data, options.events, seed, options.view, advance)
    console.print(f"{manifest['events']:,} events, {manifest['hits']:,} hits, seed {seed}, view {options.view}")
    console.print(f"saved: {options.out}, {manifest_path(options.out)}")


def _config(name: str, settings: Sequence[str]) -> Config:
    from pointae.config_files import load_config

    if name.endswith((".yaml", ".yml")):
        return load_config(name, settings)
    if name not in (*OTHERS, *PATTERNS):
        raise unknown_name("kind of events", name, (*OTHERS, *PATTERNS, "a config's path.yaml"))
    source = f"{{kind: {name}}}" if name in OTHERS else f"{{kind: patterns, mixture: {{{name}: 1.0}}}}"
    return load_config(None, [f"data.source={source}", *settings])


if __name__ == "__main__":
    run_tool(main)
