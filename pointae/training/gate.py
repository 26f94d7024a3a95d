"""What may happen between two batches: a stop by Ctrl-C or SIGTERM, and a pause."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from pointae.runs import RunDirectory
from pointae.terminal import Terminated, console

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_AGAIN = 0.2
"""Seconds between two looks at whether a pause is over."""


class BatchGate:
    """Holds Ctrl-C and SIGTERM until a batch is done, and waits while the run is paused.

    A context manager. A signal that comes after the last batch of an epoch, in its validation, waits
    until the epoch is in a checkpoint; a second signal stops at once, wherever it comes. Signals are
    left alone in threads other than the main one, where Python cannot take them.

    Args:
        run: its ``pause`` file pauses.

    ``paused`` counts the seconds of pauses.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.paused = 0.0
        self._stop: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> BatchGate:
        if threading.current_thread() is threading.main_thread():
            for kind in SIGNALS:
                if signal.getsignal(kind) != signal.SIG_IGN:  # e.g. Ctrl-C in the background of a shell
                    self._before[kind] = signal.signal(kind, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def check(self) -> None:
        """Call between batches.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; a :class:`~pointae.terminal.Terminated` for SIGTERM.
        """
        if self.run.pause_path.exists() and self._stop is None:
            self._wait()
        if self._stop is not None:
            raise Terminated if self._stop == signal.SIGTERM else KeyboardInterrupt

    def clock(self) -> float:
        """Seconds that pass, pauses left out."""
        return time.perf_counter() - self.paused

    def _wait(self) -> None:
        console.print(f"paused: remove {self.run.pause_path} to go on")
        begin = time.perf_counter()
        while self.run.pause_path.exists() and self._stop is None:
            time.sleep(LOOK_AGAIN)
        self.paused += time.perf_counter() - begin

    def _hold(self, kind: int, frame: FrameType | None) -> None:
        self._stop = kind
        self._release()

    def _release(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
