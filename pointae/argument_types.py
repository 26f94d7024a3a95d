"""Numbers of the command line: finite, within bounds, written in plain digits."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable

WHOLE = re.compile(r"[-+]?[0-9]{1,19}")
REAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
LARGEST_SEED = (1 << 63) - 1


def whole(low: int = -10_000_000, high: int = 10_000_000) -> Callable[[str], int]:
    """A parser of whole numbers from ``low`` to ``high``, as argparse takes for ``type``."""

    def parse(text: str) -> int:
        number = int(text) if WHOLE.fullmatch(text) else None
        if number is None or not low <= number <= high:
            raise ArgumentTypeError(f"must be a whole number from {low} to {high}, got '{text[:40]}'")
        return number

    return parse


def real(low: float = -1e300, high: float = 1e300) -> Callable[[str], float]:
    """A parser of numbers from ``low`` to ``high``, as argparse takes for ``type``."""

    def parse(text: str) -> float:
        number = float(text) if REAL.fullmatch(text) else None
        if number is None or not low <= number <= high:
            raise ArgumentTypeError(f"must be a number from {low:g} to {high:g}, got '{text[:40]}'")
        return number

    return parse
