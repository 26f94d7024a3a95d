"""Look at files of hits before anything is trained on them: python tools/inspect_data.py my_hits.h5 [more ...]"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pointae.entry import Parser, run_tool
from pointae.terminal import console, progress


def main(arguments: Sequence[str]) -> None:
    from pointae.io.arguments import add_reading_arguments, reading_options

    parser = Parser(description="Check files of hits and tell what is in them.")
    parser.add_argument("files", nargs="+", help=".h5 .npz .csv .parquet .pt .npy .tpx3 or a folder of images")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object a file, and nothing else")
    add_reading_arguments(parser, run=True)
    options = parser.parse_intermixed_args(arguments)

    from pointae.attempts import Attempts
    from pointae.trained import reading_as

    run, told = options.run, []
    readings = {file: reading_options(options, reading_as(run, file), run) for file in options.files}
    with Attempts() as attempts:
        for file, reading in readings.items():
            with attempts.at(file):
                told.append({"file": file, **_inspect(file, vars(reading))})
        if options.json:
            print(json.dumps(told, indent=2))
        for summary in () if options.json else told:
            _show(summary)


def _inspect(file: str, reading: dict[str, Any]) -> dict[str, Any]:
    from pointae.io import check_features, read_attributes, read_blocks, users_columns

    attributes = read_attributes(file, **reading)  # tells what is no such file before torch is loaded
    from pointae.io.summary import Summary

    summary = Summary()
    with progress(f"reading {file}", None, "events") as advance:
        for hits in read_blocks(file, 1000, **{**reading, "carry": False}):
            summary.add(hits)
            advance(hits.batch_size, "")
    told = {**summary.as_dict(), "your_columns": users_columns(file, **reading)}
    check_features(file, told["features"], **reading)
    return {**told, "grid_is_stated": "spatial_shape" in attributes, "attributes": attributes}


def _show(summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=summary.pop("file"), title_justify="left", show_header=False)
    for name, value in summary.items():
        for place, line in enumerate(_lines(value) or ["none"]):
            table.add_row("" if place else name.replace("_", " "), line)
    console.print(table)


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}: {json.dumps(v) if isinstance(v, dict) else _text(v)}" for name, v in value.items()]
    return [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, list):
        shown = value if len(value) < 12 else [*value[:2], f"... {len(value) - 3} more ...", value[-1]]
        return ", ".join(f"[{_text(item)}]" if isinstance(item, list) else str(item) for item in shown) or "none"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if type(value) is int else str(value)


if __name__ == "__main__":
    run_tool(main)
