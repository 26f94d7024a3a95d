"""Look at files of hits before anything is trained on them: python tools/inspect_data.py my_hits.h5 [more ...]"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pointae.terminal import console, progress, run_tool


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Check files of hits and tell what is in them.")
    parser.add_argument("files", nargs="+", help=".h5 .npz .csv .parquet .pt .npy .tpx3 or a folder of images")
    parser.add_argument("--geometry", help="a known detector, for files that state no grid")
    parser.add_argument("--window-ns", type=float, help="event length, for continuous recordings")
    parser.add_argument("--gap-ns", type=float, help="build events from pauses instead")
    parser.add_argument("--chip-layout", choices=["single", "2x2"], default="single", help="Timepix3 chips")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad events out, up to 1 %%, and say which")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object a file, and nothing else")
    options = parser.parse_intermixed_args(arguments)

    reading = {
        "window_ns": options.window_ns,
        "gap_ns": options.gap_ns,
        "chip_layout": options.chip_layout,
        "on_bad": "skip" if options.skip_bad else "error",
    }
    told = [{"file": file, **_inspect(file, options.geometry, reading)} for file in options.files]
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        for summary in told:
            _show(summary)


def _inspect(file: str, detector: str | None, reading: dict[str, Any]) -> dict[str, Any]:
    from pointae.io import read_attributes, read_blocks

    attributes = read_attributes(file, **reading)

    from pointae.errors import unknown_name
    from pointae.geometry import GEOMETRIES
    from pointae.io.summary import Summary

    if detector is not None and detector not in GEOMETRIES:
        raise unknown_name("geometry", detector, GEOMETRIES)
    geometry = None if detector is None else GEOMETRIES[detector]()
    summary = Summary()
    with progress(f"reading {file}", None, "events") as advance:
        for hits in read_blocks(file, 1000, geometry=geometry, **reading):
            summary.add(hits)
            advance(hits.batch_size, "")
    return {**summary.as_dict(), "grid_is_stated": "spatial_shape" in attributes, "attributes": attributes}


def _show(summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=summary.pop("file"), title_justify="left", show_header=False)
    for name, value in summary.items():
        table.add_row(name.replace("_", " "), _text(value))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {json.dumps(v) if isinstance(v, dict) else _text(v)}" for name, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if type(value) is int else str(value)


if __name__ == "__main__":
    run_tool(main)
