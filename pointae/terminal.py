"""What a tool shows: lines, tables and progress, of plain text whatever is in it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pointae.printable import one_line, printable

if TYPE_CHECKING:
    from pointae.console import PlainConsole


class Output:
    """One of a tool's two streams.

    Args:
        stderr: the stream of errors and progress, else that of results.
    """

    def __init__(self, stderr: bool = False) -> None:
        self._stderr = stderr

    @cached_property
    def console(self) -> PlainConsole:
        """Made when it is first needed: a tool begins, and can be interrupted, before rich is loaded."""
        from pointae.console import PlainConsole

        return PlainConsole(self._stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at it."""
        return self.console.is_terminal

    def print(self, *objects: Any, sep: str = " ", end: str = "\n", style: str | None = None) -> None:
        """Print objects; a ``str`` is one line, its line ends and escape sequences are shown as such."""
        self.console.print(*objects, sep=sep, end=end, style=style)

    def pieces(self, *pieces: tuple[str, str]) -> None:
        """Print one line of texts, each in its style."""
        from rich.text import Text

        self.console.print(Text.assemble(*((printable(text), style) for text, style in pieces)))

    def labelled(self, label: str, style: str, text: object) -> None:
        """Print one line behind a coloured label."""
        self.pieces((f"{label}: ", style), (one_line(text), ""))


console, errors = Output(), Output(stderr=True)


def warn(text: object) -> None:
    """Tell of something that is probably not as the user wants it, in one line."""
    errors.labelled("warning", "yellow", text)


def note(text: object) -> None:
    """Tell of something that the user may want to know, in one line."""
    errors.labelled("note", "yellow", text)


def command_line(tool: str, *words: object) -> str:
    """The line that runs a tool with these arguments, as the shell of this system takes it."""
    line = ["python", f"tools/{tool}.py", *map(str, words)]
    return subprocess.list2cmdline(line) if os.name == "nt" else " ".join(map(_quoted, line))


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # What cannot be shown can still be typed, byte by byte.
    plain = {c for c in word if c.isprintable() and c not in "'\\"}
    letters = (c if c in plain else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c)) for c in word)
    return f"$'{''.join(letters)}'"


@dataclass(frozen=True)
class TextTable:
    """A table as it is shown, in a terminal or on a page.

    Args:
        title: what it tells.
        headings: of its columns.
        rows: texts, one for each column.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def names(self, column: int) -> bool:
        """Whether a column holds texts rather than numbers."""
        return not any(row[column].lstrip("-")[:1].isdigit() for row in self.rows)

    def show(self) -> None:
        """Print it."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title=self.title, box=SIMPLE_HEAD)
        for place, heading in enumerate(self.headings):
            # No word is cut short; numbers stand under each other.
            words = [*heading.split(), *(row[place] for row in self.rows)]
            longest = max((len(word) for word in words), default=0)
            table.add_column(heading, justify="left" if self.names(place) else "right", min_width=longest)
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


class Terminated(KeyboardInterrupt):
    """SIGTERM: like Ctrl-C, with an exit code of its own."""


@contextmanager
def progress(stage: str, total: int | None, unit: str = "") -> Iterator[Callable[[int, str], None]]:
    """A progress bar that names its stage; silent where the output is no terminal.

    Yields:
        ``advance(steps, note)``: move on by ``steps`` and show ``note`` behind the bar.
    """
    from rich import progress as rich

    words = ("name", "unit", "note")
    name, kind, remark = (rich.TextColumn(f"{{task.fields[{word}]}}", markup=False) for word in words)
    times = (rich.TimeElapsedColumn(), rich.TimeRemainingColumn())
    columns = (name, rich.BarColumn(), rich.MofNCompleteColumn(), kind, *times, remark)
    with rich.Progress(*columns, console=errors.console, disable=not errors.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total, name=printable(stage), unit=unit, note="")

        def advance(steps: int, note: str = "") -> None:
            bar.update(task, advance=steps, note=printable(note))

        yield advance
