"""A tool's streams, made so that no text and no reader can break them."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EBADF, errno.ECONNRESET, *((errno.EINVAL,) if os.name == "nt" else ()))
"""What a write says when nobody reads any more."""


def guard_streams() -> None:
    """Let standard output and errors take every text, and be closed at any time.

    What an encoding lacks is written as its escape. Where the reader went away (``| head -1``), or the shell closed
    the stream (``>&-``), the rest goes nowhere and the work goes on.
    """
    # No file that is opened later may get the number of a stream that was closed: prints would end in it.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def flush_streams() -> None:
    """Write what is still held back.

    Raises:
        OSError: it cannot be, e.g. as the disk is full.
    """
    sys.stdout.flush()
    sys.stderr.flush()


def _guarded(stream: Any) -> Any:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(raw) is not io.FileIO:  # a console of Windows, or what a test put there
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Unbroken(raw.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Unbroken(io.FileIO):
    """A descriptor that leads nowhere once it cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            # Results that are lost are an error; that nobody reads them, or what is told beside them, is none.
            if error.errno in GONE or self.fileno() == 2:
                return memoryview(data).nbytes
            error.filename = "standard output"
            raise
