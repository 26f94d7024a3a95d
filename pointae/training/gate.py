"""What may happen between two batches or stages: a stop by Ctrl-C or SIGTERM, and a pause."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from pointae.runs import RunDirectory
from pointae.terminal import Terminated, console

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_AGAIN = 0.2
"""Seconds between two looks at whether a pause is over."""


class Stop:
    """Holds Ctrl-C and SIGTERM until :meth:`check`: until a batch or a stage is done and saved.

    A context manager. A second signal stops at once, wherever it comes; what comes after it does nothing until the
    context is left, so that cleaning up is not cut short. Signals are left alone in threads other than the main one,
    where Python cannot take them.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for kind in SIGNALS:
                if signal.getsignal(kind) != signal.SIG_IGN:  # e.g. Ctrl-C in the background of a shell
                    self._before[kind] = signal.signal(kind, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    @property
    def asked(self) -> bool:
        """Whether there was a signal."""
        return self._asked is not None

    def check(self) -> None:
        """Stop here if it was asked for.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; a :class:`~pointae.terminal.Terminated` for SIGTERM.
        """
        if self._asked is not None:
            raise _interrupt(self._asked)

    def _hold(self, kind: int, frame: FrameType | None) -> None:
        self._asked = kind
        self._take(_at_once)

    def _take(self, handler: Callable[[int, FrameType | None], None]) -> None:
        for kind in self._before:
            signal.signal(kind, handler)


def _at_once(kind: int, frame: FrameType | None) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _at_once:
            signal.signal(each, lambda *_: None)
    raise _interrupt(kind)


def _interrupt(kind: int) -> KeyboardInterrupt:
    return Terminated() if kind == signal.SIGTERM else KeyboardInterrupt()


class BatchGate:
    """Lets a training through between batches: it stops where that was asked for, and waits while it is paused.

    A signal that comes after the last batch of an epoch, in its validation, waits until the epoch is in a checkpoint.

    Args:
        run: its ``pause`` file pauses.
        stop: holds the signals.

    ``paused`` counts the seconds of pauses.
    """

    def __init__(self, run: RunDirectory, stop: Stop) -> None:
        self.run, self.stop = run, stop
        self.paused = 0.0

    def check(self) -> None:
        """Call between batches.

        Raises:
            KeyboardInterrupt: as :meth:`Stop.check`.
        """
        if self.run.pause_path.exists() and not self.stop.asked:
            self._wait()
        self.stop.check()

    def clock(self) -> float:
        """Seconds that pass, pauses left out."""
        return time.perf_counter() - self.paused

    def _wait(self) -> None:
        console.print(f"paused: remove {self.run.pause_path} to go on")
        begin = time.perf_counter()
        while self.run.pause_path.exists() and not self.stop.asked:
            time.sleep(LOOK_AGAIN)
        self.paused += time.perf_counter() - begin
