"""Make shipped weights of a finished run: python tools/ship.py runs/latest torch-base"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointae.entry import Parser, run_tool
from pointae.errors import UsageError
from pointae.terminal import command_line, console


def main(arguments: Sequence[str]) -> None:
    parser = Parser(description="Make weights that are found by name of a finished run.")
    parser.add_argument("run", help="run directory, e.g. runs/latest")
    parser.add_argument("name", help="what they will be called, e.g. torch-base; weights of that name are replaced")
    parser.add_argument("--figures", type=Path, metavar="FILE.json", help="what was measured with them, for the card")
    parser.add_argument("--description", help="one line (default: network, size and events)")
    options = parser.parse_intermixed_args(arguments)
    figures = _figures(options.figures) if options.figures else None

    from pointae import shipped
    from pointae.training.shipping import ship_run

    ship_run(options.run, options.name, options.description, figures)
    for path in (shipped.weights_path(options.name), shipped.card_path(options.name)):
        console.print(f"{path.stat().st_size:>11,} bytes  {path}")
    console.print(f"{shipped.shipped_bytes():>11,} bytes  in all of {shipped.FOLDER}")
    console.print(f"saved: {options.name}")
    use = command_line("denoise", options.name, "my_hits.h5", "-o", "clean.h5")
    console.print(f"use them:  {use}")


def _figures(path: Path) -> dict[str, Any]:
    from pointae.storage import read_json

    figures = read_json(path)
    if not isinstance(figures, dict):
        raise UsageError("must hold one JSON object", where=path)
    return figures


if __name__ == "__main__":
    run_tool(main)
