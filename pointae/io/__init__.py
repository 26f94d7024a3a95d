"""Hits on disk: one function to read, one to write, whatever the format.

A format is a module with ``read``, ``blocks``, ``attributes`` and, if it can be written, ``Sink``; with ``counts``
where it says first how many hits events have, and ``users`` where it has a place for the user's own columns.
:data:`FORMATS` names it by the ending of its files. Modules are imported when first needed: a missing or foreign file
is told before torch is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointae.errors import DataError, UsageError, unknown_name
from pointae.io.boundary import HDF5, look, reading
from pointae.io.options import ReadOptions
from pointae.storage import open_regular

if TYPE_CHECKING:
    import numpy as np

    from pointae.config import Source
    from pointae.geometry import DetectorGeometry
    from pointae.hits import HitBatch
    from pointae.io.output import HitWriter, WriteReport

__all__ = [
    "FORMATS",
    "Format",
    "check_features",
    "hits_of_events",
    "look_over",
    "look_over_source",
    "open_writer",
    "output_format",
    "read_attributes",
    "read_blocks",
    "read_hits",
    "users_columns",
    "write_hits",
]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        title: what to call it.
        module: of this package, that reads and writes it.
        magic: what its files may begin with; none for text.
        packed: whether it is read compressed too.
        writable: whether pointae writes it.
        holds_decisions: whether it has a place for a hit's score and decision; an image has none.
    """

    title: str
    module: str
    magic: tuple[bytes, ...] = ()
    packed: bool = False
    writable: bool = True
    holds_decisions: bool = True

    @property
    def code(self) -> Any:
        """The module."""
        return import_module(f"pointae.io.{self.module}")


_HDF5 = Format("native HDF5", "native_h5", (HDF5,))
FOLDER, ROBOTS = "folder", "robots"
FORMATS = {
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".npz": Format("a native .npz archive", "native_npz", (b"PK",)),
    ".csv": Format("CSV", "csv_table", packed=True),
    ".tsv": Format("a table of text", "text_table", packed=True, writable=False),
    ".txt": Format("a table of text", "text_table", packed=True, writable=False),
    ".parquet": Format("Parquet", "parquet", (b"PAR1",)),
    ".pt": Format("a DeepClean3D bundle", "deepclean3d", (b"PK",), holds_decisions=False),
    ".npy": Format("an image in a NumPy file", "image_file", (b"\x93NUMPY",), holds_decisions=False),
    ".tpx3": Format("a Timepix3 recording", "timepix3", (b"TPX3",), writable=False),
    FOLDER: Format("a folder of images", "image_folder", holds_decisions=False),
    ROBOTS: Format("a robots table", "robots", holds_decisions=False),
}
"""Formats by the ending of their files; a ``.csv`` of robots is a table of another kind."""
SMALL = 2 << 20
"""Bytes of a file that is read in no time."""
WIDE = 1000
"""Columns in which a robots table exceeds any table of hits."""


def read_hits(path: str | Path, **options: Any) -> HitBatch:
    """All events of a file.

    Args:
        path: of a file with one of the endings of :data:`FORMATS`, or a folder of images.
        options: as of :class:`~pointae.io.options.ReadOptions`.

    Returns:
        B events. The grid is the file's; where it states none, the option ``geometry``; else the
        smallest that holds the hits, called ``"grid"`` (see :func:`read_attributes`).

    Raises:
        DataError: the file is missing or is not what it claims to be.
        StorageError: the system failed to hand it over.
        UsageError: an unknown option.

    Example:
        >>> hits = read_hits("run_7.h5", duplicates="merge")  # doctest: +SKIP
    """
    chosen, path, settings = _look(path, options)
    with reading(path, chosen.title):
        assembler = _assembler(settings)
        hits = chosen.code.read(path, assembler)
        assembler.finish()
    return hits


def read_blocks(path: str | Path, events_per_block: int, **options: Any) -> Iterator[HitBatch]:
    """The events of a file in order, a block at a time; at least one block, if need be empty.

    ``.h5``, ``.csv`` and ``.pt`` files may be larger than the memory; of others the whole is read.

    Args:
        path: as of :func:`read_hits`.
        events_per_block: B of every block but the last.
        options: as of :func:`read_hits`.

    Raises:
        DataError, StorageError, UsageError: as of :func:`read_hits`, when their block is reached.
    """
    if events_per_block < 1:
        raise UsageError(f"events_per_block must be above 0, got {events_per_block}")
    chosen, path, settings = _look(path, options)
    with reading(path, chosen.title):
        assembler = _assembler(settings)
        with closing(chosen.code.blocks(path, events_per_block, assembler)) as blocks:
            yield from blocks
        assembler.finish()


def look_over(path: str | Path, **options: Any) -> None:
    """Look at a file, and read a small one once: bad input is told before a network is loaded, which takes seconds.

    Args:
        path, options: as of :func:`read_hits`.

    Raises:
        DataError, StorageError, UsageError: as of :func:`read_hits`.
    """
    _, path, _ = _look(path, options)
    if path.is_file() and path.stat().st_size <= SMALL:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is said of it is said when it is read
            for _ in read_blocks(path, 1000, **options):
                pass


def look_over_source(source: Source) -> None:
    """Look over the files of a config's source, as it reads them; nothing to do where events are simulated.

    Raises:
        DataError, StorageError, UsageError: as of :func:`look_over`.
    """
    for path in getattr(source, "paths", ()):
        look_over(path, **vars(ReadOptions.of_source(source)))


def read_attributes(path: str | Path, **options: Any) -> dict[str, Any]:
    """What a file says about its hits, e.g. the generator's settings.

    A file that states its grid has ``spatial_shape`` here.

    Args:
        path: as of :func:`read_hits`.
        options: as of :func:`read_hits`.
    """
    found: dict[str, Any] = _asked("attributes", path, options)
    return found


def hits_of_events(path: str | Path, **options: Any) -> np.ndarray | None:
    """(B,) hits of each event, duplicates among them, of a format that says so before it is read; else ``None``.

    Args:
        path, options: as of :func:`read_hits`.
    """
    found: np.ndarray | None = _asked("counts", path, options)
    return found


def users_columns(path: str | Path, **options: Any) -> list[str]:
    """Names of the columns of a file that are none of ours, which travel with the hits.

    Args:
        path, options: as of :func:`read_hits`.
    """
    return _asked("users", path, options) or []


def check_features(path: str | Path, found: Sequence[str], **options: Any) -> None:
    """Raise unless the features that the options name are among those that were found.

    Args:
        path: of the file, as of :func:`read_hits`.
        found: the features that its hits have.
        options: as of :func:`read_hits`.

    Raises:
        ConfigError: one is not; it names the columns that could be one.
    """
    for name in ReadOptions.of(options).features:
        if name not in found:
            known = dict.fromkeys([*found, *users_columns(path, **{**options, "carry": True})])
            raise unknown_name("feature", name, known).at(path)


def write_hits(
    path: str | Path, hits: HitBatch, attributes: Mapping[str, Any] | None = None, kept_only: bool = False
) -> WriteReport:
    """Write all events to a file of the format that its ending names.

    The file appears when it is whole; after a failure an older one is as it was.

    Args:
        path: of the file; a name without an ending becomes a folder of images.
        hits: B events.
        attributes: settings to keep with the hits (native files only).
        kept_only: write only the hits that a model kept.

    Returns:
        what was written, and what the format could not hold.

    Raises:
        StorageError: disk full, no permission, ...
        UsageError: an unknown ending, or ``kept_only`` without ``kept``.
    """
    with open_writer(path, attributes, kept_only, hits.geometry) as writer:
        writer.append(hits)
    return writer.report


def open_writer(
    path: str | Path,
    attributes: Mapping[str, Any] | None = None,
    kept_only: bool = False,
    geometry: DetectorGeometry | None = None,
) -> HitWriter:
    """A context manager that writes blocks of events: ``append(hits)``, then ``report``.

    Args:
        path, attributes, kept_only: as of :func:`write_hits`.
        geometry: of the hits; a ``.csv`` on the robots' grid is a robots table.

    Example:
        >>> with open_writer("clean.h5", kept_only=True) as writer:  # doctest: +SKIP
        ...     for hits in read_blocks("noisy.h5", 1000):
        ...         writer.append(denoise(hits))
    """
    chosen = output_format(path)
    if chosen is FORMATS[".csv"] and _is_robots(geometry):
        chosen = FORMATS[ROBOTS]
    from pointae.io.output import HitWriter

    return HitWriter(Path(path), chosen.code.Sink, attributes, kept_only)


def output_format(path: str | Path) -> Format:
    """The format that a file to be written will have.

    Raises:
        UsageError: an ending that is not written.
    """
    path = Path(path)
    chosen = FORMATS.get(path.suffix.lower() or FOLDER)
    if chosen is None or not chosen.writable:
        endings = ", ".join(end for end, known in FORMATS.items() if known.writable and end.startswith("."))
        advice = f"known: {endings}, and none for a folder of images"
        raise UsageError(f"hits cannot be written as '{path.suffix}'", where=path, fix=advice)
    return chosen


def _asked(question: str, path: str | Path, options: Mapping[str, Any]) -> Any:
    """What a function of a file's format answers; ``None`` where the format has no such function."""
    chosen, path, settings = _look(path, options)
    with reading(path, chosen.title):
        answer = getattr(chosen.code, question, None)
        return answer(path, _assembler(settings)) if answer else None


def _look(path: str | Path, options: Mapping[str, Any]) -> tuple[Format, Path, ReadOptions]:
    settings, path = ReadOptions.of(options), Path(path)
    with reading(path, "a file of hits"):
        ending = FOLDER if path.is_dir() else _ending(path)
    chosen = FORMATS.get(ending)
    if chosen is None:
        look(path, "a file of hits", (), ending)
        endings = ", ".join(ending for ending in FORMATS if ending.startswith("."))
        raise DataError(f"unknown ending '{path.suffix}'", where=path, fix=f"known: {endings}, and folders of images")
    if ending != FOLDER:
        look(path, chosen.title, chosen.magic, path.suffix, chosen.packed)
    if ending == ".csv" and _is_robot_table(path, settings.geometry):
        chosen = FORMATS[ROBOTS]
        look(path, chosen.title, chosen.magic, path.suffix, chosen.packed)
    return chosen, path, settings


def _ending(path: Path) -> str:
    """What a name ends with, but for the ending of what compressed it."""
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst")
    return (Path(path.stem) if packed else path).suffix.lower()


def _is_robot_table(path: Path, geometry: DetectorGeometry | None) -> bool:
    """Whether a table has a robot a row: too many columns for hits, or the robots' grid, without hits' header."""
    with reading(path, FORMATS[ROBOTS].title), open_regular(path) as file:
        first = file.readline(1 << 16).partition(b"\r")[0]
    names = {name.strip(b'"\r\n ') for name in first.split(b",")}
    return (first.count(b",") > WIDE or _is_robots(geometry)) and not names & {b"event", b"event_id"}


def _is_robots(geometry: DetectorGeometry | None) -> bool:
    if geometry is None or geometry.name != ROBOTS:
        return False
    from pointae.geometry import robot_geometry

    return geometry == robot_geometry()


def _assembler(settings: ReadOptions) -> Any:
    from pointae.io.assembly import Assembler

    return Assembler(settings)
