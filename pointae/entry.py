"""The way into every tool and out of it: whatever comes ends in one line and an exit code."""

from __future__ import annotations

import _thread
import argparse
import atexit
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from pointae.errors import ComponentError, Note, PointaeError, StorageError, UsageError
from pointae.optional import listen
from pointae.streams import flush_streams, guard_streams
from pointae.terminal import Terminated, errors, note, warn

MEMORY_WORDS = ("bad_alloc", "can't allocate memory", "not enough memory", "out of memory", "DefaultCPUAllocator")
"""What a library's own kind of error says when the memory is used up."""
SILENT = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)
"""Warnings of libraries to those who program with them."""


class Parser(argparse.ArgumentParser):
    """Arguments of a tool; a wrong one is a :class:`~pointae.errors.UsageError`, told in one line like any other."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise UsageError(message, fix="see --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; an empty word names nothing, and no option takes one."""
        words = sys.argv[1:] if args is None else list(args)
        for place, word in enumerate(words):
            if not word.strip():
                before = words[place - 1] if place and words[place - 1].startswith("-") else f"argument {place + 1}"
                raise UsageError(f"{before} is empty", fix="is a variable of the shell not set?")
        return super().parse_known_args(words, namespace)


def run_tool(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Run a tool's ``main(arguments)`` and leave with its exit code.

    ``--debug`` anywhere in the arguments adds the traceback of an error. SIGTERM unwinds like Ctrl-C, so that nothing
    half-written stays. A reader of our output that goes away (``| head -1``) stops nothing.
    """
    signals = _Signals()
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1

    def guarded(arguments: Sequence[str]) -> None:
        guard_streams()
        _take_hooks(debug)
        # All that is drawn; with one that it does not know, matplotlib cannot be loaded.
        os.environ["MPLBACKEND"] = "agg"
        main(arguments)

    code = exit_code_of(guarded, arguments, debug, signals)
    signals.leave_at_once(code)
    sys.exit(code)


class _Signals:
    """Ctrl-C and SIGTERM as exceptions, and which of them came."""

    KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}

    def __init__(self) -> None:
        self.came: int | None = None
        for number in self.KINDS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as of a job in the background
                signal.signal(number, self._unwind)
        atexit.register(self._ignore)

    def _unwind(self, number: int, _: object) -> NoReturn:
        self.came = number
        raise self.KINDS[signal.Signals(number)]

    def leave_at_once(self, code: int | None = None) -> None:
        """From now on there is nothing left to unwind; ``code`` is the exit code, if that is settled."""
        for number in self.KINDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda came, _: os._exit(128 + came if code is None else code))

    def _ignore(self) -> None:
        """While Python takes itself down it knows no handlers: a signal would take the place of the exit code."""
        for number in self.KINDS:
            signal.signal(number, signal.SIG_IGN)


def exit_code_of(
    main: Callable[[Sequence[str]], None],
    arguments: Sequence[str],
    debug: bool = False,
    signals: _Signals | None = None,
) -> int:
    """Run a tool's ``main(arguments)``, tell in one line what stopped it, and return its exit code.

    Args:
        main: of the tool.
        arguments: without the tool's name.
        debug: whether an error's traceback is shown.
        signals: what came in between; an error that a signal left behind is that signal.
    """
    try:
        main(arguments)
        flush_streams()
        return 0
    except SystemExit as left:  # --help
        return _left_with(left)
    except BaseException as error:
        came = signals.came if signals else None
        if signals:
            signals.leave_at_once()
        with suppress(Exception):
            sys.stdout.flush()
        return _told(error, arguments, debug, came)


def _left_with(left: SystemExit) -> int:
    try:
        flush_streams()
    except OSError as error:
        return _told(error, (), False, None)
    if left.code is None or isinstance(left.code, int):
        return left.code or 0
    with suppress(Exception):
        errors.print(str(left.code))
    return 1


def _told(error: BaseException, arguments: Sequence[str], debug: bool, came: int | None) -> int:
    """Say what stopped the tool; returns its exit code, whatever becomes of the words."""
    problem = known_problem(error)
    if isinstance(error, Terminated) or (problem is None and came == signal.SIGTERM):
        word, code = "terminated", 128 + signal.SIGTERM
    elif isinstance(error, KeyboardInterrupt) or (problem is None and came == signal.SIGINT):
        word, code = "interrupted", 128 + signal.SIGINT
    else:
        word, code = "", 1 if problem is None else problem.exit_code
    with suppress(Exception):
        if debug:
            errors.print(*traceback_lines(error), sep="\n")
        if word:
            errors.print(word, style="bold")
        else:
            errors.labelled("error", "bold red", problem or unexpected(error, arguments))
        sys.stderr.flush()
    return int(code)


def known_problem(error: BaseException) -> PointaeError | None:
    """The error in our words, if it is of a kind that is known: of ours, of the system, of the memory, of an import."""
    if isinstance(error, PointaeError):
        return error
    words = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in words for w in MEMORY_WORDS)):
        first = words.splitlines()[0] if words.strip() else "no more could be had"
        return StorageError(f"not enough memory: {first}", fix="a smaller batch or a coarser grid needs less")
    if isinstance(error, OSError):
        return StorageError(error.strerror or words or type(error).__name__, where=error.filename)
    if isinstance(error, ImportError):
        name = error.name or "a module"
        return ComponentError(f"{name} cannot be loaded: {words}", fix="tools/doctor.py says what is missing")
    return None


def unexpected(error: BaseException, arguments: Sequence[str]) -> PointaeError:
    """The error for one that nobody foresaw; its traceback is kept in a file, where one can be written."""
    words = f": {error}" if str(error).strip() else ""
    log = _write_log(error, arguments)
    sent = "please report it; --debug shows where" if log is None else f"please report it with {log}"
    return PointaeError(f"unexpected {type(error).__name__}{words}", fix=sent)


def _write_log(error: BaseException, arguments: Sequence[str]) -> str | None:
    try:
        import platform
        import tempfile

        from pointae import __version__

        about = [f"pointae {__version__}, Python {platform.python_version()}, {platform.platform()}"]
        about.append(f"{sys.argv[0]} {[*arguments]}")
        number, path = tempfile.mkstemp(prefix="pointae-", suffix=".log")
        with open(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join([*about, *traceback_lines(error)]) + "\n")
        return path
    except Exception:  # a log that cannot be written is no second error
        return None


def traceback_lines(error: BaseException) -> list[str]:
    """The error's traceback, line by line."""
    import traceback

    return [line for part in traceback.format_exception(error) for line in part.rstrip("\n").split("\n")]


def _take_hooks(debug: bool) -> None:
    """What is told past :func:`exit_code_of` comes in one line too: warnings, logs, errors of threads."""
    if not debug:
        for kind in SILENT:
            warnings.simplefilter("ignore", kind, append=False)
    warnings.showwarning = lambda message, kind, *_, **__: (note if issubclass(kind, Note) else warn)(message)
    logging.basicConfig(handlers=[_Lines(logging.WARNING)])
    threading.excepthook = lambda told: _of_thread(told.exc_value, debug)
    sys.unraisablehook = lambda told: _unraised(told.exc_value, debug)
    if sys.stderr.isatty():
        listen(errors.print)


class _Lines(logging.Handler):
    """What libraries log, as warnings of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            warn(record.getMessage())


def _of_thread(error: BaseException | None, debug: bool) -> None:
    if error is not None and not isinstance(error, SystemExit):
        _told(error, (), debug, None)


def _signal_main_thread(number: signal.Signals) -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)  # wakes it from a wait, too
    else:
        _thread.interrupt_main(number)


def _unraised(error: BaseException | None, debug: bool) -> None:
    """A signal that came where Python cannot raise comes again; other errors there harm nothing."""
    if isinstance(error, KeyboardInterrupt):
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        again = threading.Timer(0.05, _signal_main_thread, [number])
        again.daemon = True
        again.start()
    elif debug and error is not None:
        errors.print(*traceback_lines(error), sep="\n")
