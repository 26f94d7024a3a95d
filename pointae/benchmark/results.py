"""What a benchmark gathers: tables for people and files, and seconds round by round for ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from pointae.benchmark.timing import median_ratio

Row = dict[str, Any]
Key = tuple[Any, ...]
Advance = Callable[[int, str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        quick: in a minute instead of ten.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        threads: of torch.
        advance: told what is measured now.
    """

    quick: bool = False
    device: str = "auto"
    threads: int = 2
    advance: Advance = lambda steps, note: None

    @property
    def seconds(self) -> float:
        """To spend on things that are compared with one another, beyond the fewest rounds."""
        return 0.6 if self.quick else 5.0

    @property
    def rounds(self) -> tuple[int, int]:
        """Fewest and most rounds."""
        return (3, 7) if self.quick else (4, 15)


@dataclass(frozen=True)
class Table:
    """Rows of one kind.

    Args:
        title: what they show.
        columns: heading by key of a row; a key that is not here goes into the CSV only.
        rows: of any keys.
        groups: keys that part it into a table for each of their values, and what its title says of one.
    """

    title: str
    columns: Mapping[str, str]
    rows: Sequence[Row]
    groups: Mapping[str, str] = field(default_factory=dict)

    def parts(self) -> list[tuple[str, list[Row]]]:
        """Title and rows of the tables that it is shown as."""
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            found.setdefault(tuple(row[key] for key in self.groups), []).append(row)
        return [(self._title(values), rows) for values, rows in found.items()]

    def texts(self, row: Row) -> list[str]:
        """The cells of a row as shown."""
        return [text(row.get(key)) for key in self.columns]

    def markdown(self) -> str:
        """The table in Markdown."""
        told = []
        for title, rows in self.parts():
            lines = [list(self.columns.values()), ["---"] * len(self.columns), *map(self.texts, rows)]
            told.append("\n".join([f"**{title}**", "", *(f"| {' | '.join(cells)} |" for cells in lines)]))
        return "\n\n".join(told)

    def _title(self, values: tuple[Any, ...]) -> str:
        told = [words.format(text(value)) for words, value in zip(self.groups.values(), values, strict=True)]
        return f"{self.title}: {', '.join(told)}" if told else self.title


@dataclass
class Results:
    """What was measured so far.

    Args:
        tables: by name of their file.
        samples: seconds of each round, by what was timed.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    samples: dict[Key, list[float]] = field(default_factory=dict)

    def ratio(self, slower: Key, faster: Key) -> float | None:
        """How many times ``slower`` takes as long, round by round; ``None`` where one was not measured."""
        if slower not in self.samples or faster not in self.samples:
            return None
        return median_ratio(self.samples[slower], self.samples[faster])

    def median(self, key: Key) -> float | None:
        """Median seconds."""
        return float(np.median(self.samples[key])) if key in self.samples else None

    def value(self, table: str, name: str, column: str) -> float | None:
        """A cell of the row called ``name``."""
        rows = self.tables[table].rows if table in self.tables else ()
        return next((row.get(column) for row in rows if row["name"] == name), None)


def text(value: Any) -> str:
    """A cell as shown: numbers with three digits that count."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or not isfinite(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
