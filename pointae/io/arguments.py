"""Arguments of the tools that read files: see :class:`~pointae.io.options.ReadOptions`."""

from __future__ import annotations

import csv
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import chain
from typing import Any, get_args

from pointae.argument_types import real
from pointae.errors import UsageError
from pointae.geometry import DetectorGeometry, find_geometry
from pointae.io.options import ChipLayout, Duplicates, OnBad, ReadOptions, Trigger
from pointae.storage import parse_json
from pointae.terminal import errors

ARGUMENTS: dict[str, dict[str, Any]] = {
    "geometry": {
        "metavar": "GRID",
        "help": 'grid of files that state none, by name or as JSON: {"spatial_shape": [64, 48, 500]}',
    },
    "columns": {"help": "a table's names by ours, e.g. x=col,t=tof", "metavar": "OUR=THEIRS,...", "action": "append"},
    "features": {"help": "columns that a network is given, e.g. tot,chip", "metavar": "NAME,...", "action": "append"},
    "duplicates": {"help": "what to do with hits that share a cell", "choices": get_args(Duplicates)},
    "on_bad": {"help": "what to do with bad events", "choices": get_args(OnBad)},
    "window_ns": {"help": "event length, for continuous recordings", "type": real(), "metavar": "NS"},
    "gap_ns": {"help": "build events from pauses instead", "type": real(), "metavar": "NS"},
    "trigger": {"help": "build them after each of these recorded triggers", "choices": get_args(Trigger)},
    "trigger_delay_ns": {"help": "from a trigger to the begin of its window", "type": real(), "metavar": "NS"},
    "chip_layout": {"help": "where Timepix3 chips are", "choices": get_args(ChipLayout)},
}
"""How argparse takes the options of a reader, by their name."""


def add_reading_arguments(parser: ArgumentParser, run: bool = False) -> None:
    """Give a tool the arguments that say how its files are read: ``--window-ns``, ``--columns``, ...

    Args:
        parser: of the tool.
        run: whether ``--run`` is one of them, for tools that are not given a run anyway.
    """
    group = parser.add_argument_group("how files are read", "default: as the run reads those of its training")
    if run:
        group.add_argument("--run", help="a run, or the name of shipped weights, to read them as it does")
    for name, told in ARGUMENTS.items():
        group.add_argument(f"--{name.replace('_', '-')}", **told)


def reading_options(arguments: Namespace, kept: ReadOptions | None = None, run: object = None) -> ReadOptions:
    """How a tool reads a file: as was typed, else as the run reads its own, which is said in a line.

    Args:
        arguments: parsed, of a parser that :func:`add_reading_arguments` was called with.
        kept: of the run, if there is one.
        run: what the user called it.

    Raises:
        UsageError, ConfigError: an argument that cannot be.
    """
    given = {name: getattr(arguments, name) for name in ARGUMENTS}
    if given["geometry"] is not None:
        given["geometry"] = _grid(given["geometry"])
    if given["columns"] is not None:
        given["columns"] = _columns(given["columns"])
    if given["features"] is not None:
        given["features"] = tuple(chain.from_iterable(csv.reader(given["features"], skipinitialspace=True)))
    default = ReadOptions()
    options = (kept or default).but(given)
    taken = [
        f"{name} {_told(value)}"
        for name, value in vars(options).items()
        if name != "geometry" and value not in (getattr(default, name), given.get(name))
    ]
    if taken:
        errors.print(f"read as {run} was trained: {', '.join(taken)}")
    return options


def _grid(text: str) -> DetectorGeometry:
    try:
        return find_geometry(parse_json(text.encode()) if text.startswith("{") else text)
    except ValueError as error:
        raise error if isinstance(error, UsageError) else UsageError(f"--geometry is not JSON: {error}") from None


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    names = {}
    for pair in chain.from_iterable(re.split(r",(?=\s*\w+=)", text) for text in pairs):
        ours, equals, theirs = pair.strip().partition("=")
        if not (ours and equals and theirs):
            raise UsageError(f"--columns takes OUR=THEIRS, got '{pair}'", fix="e.g. --columns x=col,t=tof")
        names[ours] = theirs
    return names


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{ours}={theirs}" for ours, theirs in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
