"""Texts of a table's cells as numbers: strict, and without a loss where they are the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pointae.errors import DataError
from pointae.io.advice import advice_on
from pointae.io.assembly import Array
from pointae.io.table import NUMBER

TRUTH = {"true": True, "yes": True, "t": True, "y": True, "false": False, "no": False, "f": False, "n": False}
"""Words for a field of truth; numbers equal to 0 or 1 are as good."""
EXACT_DIGITS = 15
"""Decimals of so many digits are told apart by float64."""
Line = Callable[[int], int]


def whole(name: str, cells: Sequence[str], line: Line, instead: int | None = None) -> Array:
    """Whole numbers, also written as 12.0 or 1.2e1.

    Args:
        name: of the column, for the error.
        cells: N texts.
        line: the line of the file that row ``row`` is in.
        instead: stands in for those that are none, rather than fail.

    Raises:
        DataError: a cell that is none, or not of 64 bits.
    """
    if not _foreign(cells):
        try:
            return np.fromiter(map(int, cells), np.int64, len(cells))
        except (ValueError, OverflowError):
            pass
    numbers = list(map(_whole_number, cells))
    for row, number in enumerate(numbers):
        if number is None and instead is None:
            told = f"{name} = '{cells[row][:40]}' in line {line(row)} is not a whole number of 64 bits"
            raise DataError(told, fix=advice_on(name, "whole, e.g. 12 or 12.0"))
    return np.array([instead if number is None else number for number in numbers], np.int64)


def real(name: str, cells: Sequence[str], line: Line) -> Array:
    """Real numbers as float64; infinite ones and nan are read, and judged by who asked for them."""
    return _each(name, cells, line, float, "a number")


def truth(name: str, cells: Sequence[str], line: Line) -> Array:
    """Booleans, written as :data:`TRUTH` or as a number that is 0 or 1."""
    return _each(name, cells, line, _truth_of, "0 or 1, true or false, yes or no").astype(bool)


def event_number(label: str) -> int | None:
    """The number that an event's label is: ``7`` or ``7.0``; ``None`` for names, as ``007`` is one."""
    number = _whole_number(label)
    return number if number is not None and (str(number) == label or "." in label) else None


def _each(name: str, cells: Sequence[str], line: Line, parse: Callable[[str], Any], kind: str) -> Array:
    try:
        if not _foreign(cells):
            return np.fromiter(map(parse, cells), np.float64, len(cells))
    except ValueError:
        pass
    row = next(row for row, text in enumerate(cells) if _foreign([text]) or not _parses(parse, text))
    told = f"{name} = '{cells[row][:40]}' in line {line(row)} is not {kind}"
    raise DataError(told, fix=advice_on(name, "such in every row"))


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _foreign(cells: Sequence[str]) -> bool:
    """Whether Python would take numbers that no other program writes: ``1_0``, digits of other scripts."""
    together = "".join(cells)
    return "_" in together or not together.isascii()


def _truth_of(text: str) -> bool:
    found = TRUTH.get(text.strip().casefold())
    if found is None:
        number = float(text)
        if number not in (0, 1):
            raise ValueError(text)
        found = number == 1
    return found


def _whole_number(text: str) -> int | None:
    if _foreign([text]):
        return None
    try:
        number = int(text)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            return None
        if not value.is_integer():
            return None
        number = int(value)
    return number if -(1 << 63) <= number < 1 << 63 else None


# ---- the user's own ----------------------------------------------------------------------------------


def _same_text(dtype: Any, parse: Callable[[str], Any], write: Callable[[Any], str]) -> Callable[..., Array | None]:
    """Reads cells whose numbers are written back letter by letter."""

    def read(cells: Sequence[str]) -> Array | None:
        try:
            numbers = np.fromiter(map(parse, cells), dtype, len(cells))
        except (ValueError, OverflowError, KeyError):
            return None
        return numbers if list(map(write, numbers.tolist())) == list(cells) else None

    return read


def _same_value(dtype: Any) -> Callable[..., Array | None]:
    """Reads cells whose numbers have the same value, however they are written."""

    def read(cells: Sequence[str]) -> Array | None:
        texts = [text.strip() for text in cells]
        if not all(map(_exact_float if dtype is np.float64 else _is_plain_integer, texts)):
            return None
        try:
            return np.fromiter(map(float if dtype is np.float64 else int, texts), dtype, len(cells))
        except OverflowError:
            return None

    return read


def _is_plain_integer(text: str) -> bool:
    digits = text.lstrip("+-")
    return (
        len(text) - len(digits) < 2 and digits.isascii() and digits.isdigit() and digits == (digits.lstrip("0") or "0")
    )


def _exact_float(text: str) -> bool:
    """Whether float64 says the same number with as many digits; ``007.5`` is no number but a name."""
    if text.casefold().lstrip("+-") in ("nan", "inf"):
        return True
    if not NUMBER.fullmatch(text):
        return False
    mantissa = text.lower().partition("e")[0].lstrip("+-")
    if len(mantissa) > 1 and mantissa[0] == "0" and mantissa[1].isdigit():
        return False
    digits = len(mantissa.replace(".", "").lstrip("0"))
    if digits <= EXACT_DIGITS:
        return True
    from decimal import Decimal

    return Decimal(f"{float(text):.{digits - 1}e}") == Decimal(text)


_WORDS = {"True": True, "False": False}
VERBATIM: dict[str, Callable[[Sequence[str]], Array | None]] = {
    "int64": _same_text(np.int64, int, str),
    "uint64": _same_text(np.uint64, int, str),
    "float64": _same_text(np.float64, float, repr),
    "bool": _same_text(bool, _WORDS.__getitem__, str),
}
BY_VALUE: dict[str, Callable[[Sequence[str]], Array | None]] = {
    "int64": _same_value(np.int64),
    "uint64": _same_value(np.uint64),
    "float64": _same_value(np.float64),
    "bool": VERBATIM["bool"],
}
"""Kinds that a column of the user may be of, the narrowest first; text where it is none of them."""


class ColumnKind:
    """What all cells of a column can be read as, told of them part by part.

    Args:
        verbatim: only what is written back letter by letter, else what has the same value.
    """

    def __init__(self, verbatim: bool) -> None:
        self._readers = VERBATIM if verbatim else BY_VALUE
        self._possible, self._seen = list(self._readers), False

    def see(self, cells: Sequence[str]) -> None:
        """Take the next cells into account."""
        self._seen |= len(cells) > 0
        self._possible = [kind for kind in self._possible if self._readers[kind](cells) is not None]

    def read(self, cells: Sequence[str]) -> Array:
        """Cells that were seen, as the kind that all are of, else as texts."""
        found = self._readers[self._possible[0]](cells) if self._possible and self._seen else None
        return as_texts(cells) if found is None else found


def as_texts(cells: Sequence[str]) -> Array:
    """Texts as they are; equal ones are kept once."""
    known: dict[str, str] = {}
    texts = np.empty(len(cells), object)
    texts[:] = [known.setdefault(text, text) for text in cells]
    return texts
