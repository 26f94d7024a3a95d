"""Work over several things, of which one that fails stops none of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType

from pointae.entry import known_problem, unexpected
from pointae.errors import PointaeError, worst
from pointae.terminal import errors

Each = Callable[[object], AbstractContextManager[None]]
"""Of what is worked on, the context in which that is done."""


def strictly(what: object) -> AbstractContextManager[None]:
    """The first failure ends the work: what a function does where nobody asks for another way."""
    return nullcontext()


class Attempts:
    """Keeps the failures of single things until the work is done, then tells all of them and raises the worst.

    A context manager; within it, each thing is worked on in :meth:`at`.
    """

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def __enter__(self) -> Attempts:
        return self

    @contextmanager
    def at(self, what: object) -> Iterator[None]:
        """Work on one of the things; its failure is kept, with ``what`` for a place where it names none.

        The same failure once more, e.g. of a network on the next events, is kept once.
        """
        try:
            yield
        except Exception as error:
            failure = error.at(what) if isinstance(error, PointaeError) else error
            if (type(failure), str(failure)) not in [(type(known), str(known)) for known in self.failures]:
                self.failures.append(failure)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        codes = [_code(failure) for failure in self.failures]
        last = None if error is not None or not codes else self.failures[codes.index(worst(codes))]
        for failure in self.failures:
            if failure is not last:
                errors.labelled("error", "bold red", known_problem(failure) or unexpected(failure, ()))
        if last is not None:
            raise last


def _code(error: Exception) -> int:
    problem = known_problem(error)
    return 1 if problem is None else problem.exit_code
