"""Optional components: one place that says what is missing and how to get it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType

from pointae.errors import ComponentError

SYSTEM_PACKAGES = {
    "open3d": "libusb-1.0-0 libegl1 libgl1 libgomp1 libx11-6 libudev1 libidn2-0",
    "pyvista": "libgl1 libxrender1",
}
"""Debian packages that a component's shared libraries come from."""


_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Have a function told what takes its time, in words."""
    _listeners.append(listener)


def tell(note: str) -> None:
    """Tell it."""
    for listener in _listeners:
        listener(note)


def is_installed(module: str) -> bool:
    """Whether ``module`` can be found, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module or say in one line why that failed.

    Three failures are told apart: not installed, a shared library of the system missing, and
    anything else that makes it unusable here.

    Args:
        module: name to import, e.g. ``"open3d"``.
        extra: the extra of this package that installs it, e.g. ``"open3d"``.

    Raises:
        ComponentError: with the command that mends it.
    """
    if not is_installed(module.split(".")[0]):
        raise ComponentError(f"{module} is not installed", fix=f"pip install -e '.[{extra}]' in pointae's folder")
    try:
        with warnings.catch_warnings():
            # spconv's and open3d's own deprecation notices say nothing that a user can act on.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(module)
    except OSError as error:
        raise _missing_library(module, error) from error
    except ImportError as error:
        if ".so" in str(error) or "DLL" in str(error):
            raise _missing_library(module, error) from error
        raise ComponentError(f"{module} cannot be used here: {error}") from error
    except Exception as error:
        raise ComponentError(f"{module} cannot be used here: {error}") from error


@cache
def compiled_loops(module: str, *made_of: str) -> tuple[ModuleType | None, str]:
    """A module of loops that numba compiles, or ``None`` where that cannot be; and which it is, in words.

    What it computes, torch computes too, only slower: so nothing depends on it.

    Args:
        module: name to import, e.g. ``"pointae.nn.sparse.compiled"``.
        made_of: other modules whose functions and constants are compiled in.
    """
    try:
        numba = require("numba", extra="fast")
        if numba.config.DISABLE_JIT:
            return None, "no compiled loops: NUMBA_DISABLE_JIT is set"
        with _cache_of(numba, module, *made_of):
            return require(module, extra="fast"), "loops compiled by numba on a CPU"
    except ComponentError as error:
        return None, f"no compiled loops: {error}"


@contextmanager
def _cache_of(numba: ModuleType, *modules: str) -> Iterator[None]:
    """Loops imported within are kept under a digest of their sources.

    numba itself looks at the file of each function alone, and would not see a change of what that calls.
    """
    usual = numba.config.CACHE_DIR
    sources = [path for name in modules for path in _sources(name)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder = sources[0].parent / "__pycache__" / f"loops-{digest[:16]}"
    with suppress(OSError):  # a folder that cannot be written: numba finds one of the user's
        if not folder.exists():
            tell("loops are compiled for this processor, once: up to half a minute")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and not _can_hold_files(usual):
            numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = usual


def _can_hold_files(folder: str) -> bool:
    """Whether a folder that the user named can be written: numba waits for ever for one that cannot."""
    with suppress(OSError):
        if folder:
            os.makedirs(folder, exist_ok=True)
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


def _sources(module: str) -> list[Path]:
    """The file of a module, or all of a package."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ComponentError(f"{module} is not installed", fix="install pointae again")
    file = Path(spec.origin)
    return sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


def _missing_library(module: str, error: Exception) -> ComponentError:
    packages = SYSTEM_PACKAGES.get(module.split(".")[0])
    fix = f"apt-get install {packages}" if packages else "install the library it names"
    return ComponentError(f"{module} lacks a library of the system: {error}", fix=fix)
