"""Tools, and whatever refuses, called in this process: another one would import everything anew."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import pytest

from pointae.errors import PointaeError


def tool(name: str, *words: object) -> None:
    """Run a tool; what stops it is raised."""
    runpy.run_path(f"tools/{name}.py")["main"]([str(word) for word in words])


def refused(action: Callable[[], object], code: int = 4) -> str:
    """The one line in which an action is refused, with this exit code."""
    with pytest.raises(PointaeError) as caught:
        action()
    line = str(caught.value)
    assert caught.value.exit_code == code, line
    assert "\n" not in line
    assert len(line) < 800
    return line
