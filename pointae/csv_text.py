"""Comma-separated text: lines that every reader splits alike, and cells that no spreadsheet calculates."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet would calculate, or one that :func:`no_formula` marked as text."""


def csv_writer(write: Callable[[str], Any]) -> Any:
    r"""What :func:`csv.writer` makes, with lines that end in ``\n``, and a lone CR quoted too."""
    lines = SimpleNamespace(write=lambda line: write(line.removesuffix("\r\n") + "\n"))
    return csv.writer(lines, lineterminator="\r\n")  # its end of lines is what makes it quote a CR


def no_formula(value: Any) -> Any:
    """A cell; text that a spreadsheet would take for a formula begins with ``'``, as one types it there."""
    if not isinstance(value, str) or not FORMULA.match(value):
        return value
    try:
        to_number(value)
    except ValueError:
        return f"'{value}"
    return value


def as_given(cell: str) -> str:
    """The text before :func:`no_formula`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def to_number(cell: str) -> float:
    """The number that a cell says in plain digits; ``nan`` for an empty one.

    Raises:
        ValueError: it says none.
    """
    if not cell.isascii() or "_" in cell:  # Python reads both as numbers
        raise ValueError
    return float(cell or "nan")
