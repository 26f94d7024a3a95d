"""Errors that a user can act on. Each kind carries the exit code of the tool that meets it."""

from __future__ import annotations

from collections.abc import Iterable

from pointae.printable import one_line, shown


class PointaeError(Exception):
    """A failure told in one line: where, what, and what to do about it.

    Args:
        what: what is wrong, with the value that was found and what was expected.
        where: the file, event or setting in which it was found; may be added later with :meth:`at`.
        fix: what the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what)

    def at(self, where: object) -> PointaeError:
        """The same error, told to have happened in ``where`` (kept if a place is already known)."""
        if self.where is None:
            self.where = where
        return self

    def __str__(self) -> str:
        place = "" if self.where is None else f"{shown(self.where)}: "
        advice = "" if self.fix is None else f" ({one_line(self.fix)})"
        return f"{place}{one_line(self.what)}{advice}"


class UsageError(PointaeError, ValueError):
    """A wrong argument of a tool or function."""

    exit_code = 2


class ConfigError(UsageError):
    """A wrong, unknown or contradictory setting."""


class DataError(PointaeError, ValueError):
    """Hits that cannot be what they claim to be: unreadable files, values outside the grid, ..."""

    exit_code = 3


class CheckpointError(PointaeError):
    """Weights or a run that are missing, foreign, damaged or made for other data."""

    exit_code = 4


class StorageError(PointaeError):
    """Reading or writing failed for a reason outside the data: disk full, no permission, ..."""

    exit_code = 5


class NonFiniteError(PointaeError):
    """A loss, gradient or weight became infinite or nan."""

    exit_code = 6


class ComponentError(PointaeError):
    """An optional component that was asked for by name is missing or cannot run here."""

    exit_code = 7


class Note(UserWarning):
    """What a user may want to know, told as a warning is; nothing is wrong."""


def worst(codes: Iterable[int]) -> int:
    """The exit code of work over several things: the largest of theirs, but 1, the unexpected, before all others."""
    found = set(codes)
    return 1 if 1 in found else max(found, default=0)


def unknown_name(kind: str, name: str, known: object) -> ConfigError:
    """The error for a name that is not in a registry: lists what is, nearest first."""
    import difflib

    names = sorted(str(key) for key in known)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return ConfigError(f"unknown {kind} '{name}'", fix=f"{hint}known: {', '.join(names)}")
