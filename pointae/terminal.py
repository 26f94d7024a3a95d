"""What a tool shows: progress, tables, and errors in one line with the right exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pointae.errors import PointaeError, StorageError
from pointae.optional import listen

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


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


def run_tool(main: Callable[[Sequence[str]], None]) -> None:
    """Run a tool's ``main(arguments)`` and leave with its exit code.

    A :class:`PointaeError` is told in one line; ``--debug`` anywhere in the arguments shows the
    traceback as well. SIGTERM unwinds like Ctrl-C, so that nothing half-written stays.
    """
    signal.signal(signal.SIGTERM, _terminate)
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if errors.is_terminal:
        listen(errors.print)
    try:
        main(arguments)
        sys.stdout.flush()
    except Terminated:
        errors.print("[bold]terminated[/]")
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        errors.print("[bold]interrupted[/]")
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is wrong on our side.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (PointaeError, OSError, MemoryError) as error:
        if debug:
            raise
        problem = error if isinstance(error, PointaeError) else _system_error(error)
        errors.print("[bold red]error:[/] ", end="")
        errors.print(str(problem), markup=False)
        sys.exit(problem.exit_code)


def _terminate(*_: object) -> None:
    raise Terminated


def _system_error(error: OSError | MemoryError) -> PointaeError:
    if isinstance(error, MemoryError):
        return StorageError(f"not enough memory: {error}", fix="a smaller batch or a coarser grid needs less")
    return StorageError(error.strerror or str(error), where=error.filename)


@contextmanager
def progress(stage: str, total: int | None, unit: str = "") -> Iterator[Callable[[int, str], None]]:
    """A progress bar that names its stage; silent where the output is no terminal.

    Yields:
        ``advance(steps, note)``: move on by ``steps`` and show ``note`` behind the bar.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:
        task = bar.add_task(stage, total=total, note="")

        def advance(steps: int, note: str = "") -> None:
            bar.update(task, advance=steps, note=note)

        yield advance
