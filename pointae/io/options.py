"""How a file is to be read. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from pointae.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from pointae.geometry import DetectorGeometry

Duplicates = Literal["keep", "merge", "error"]
OnBad = Literal["error", "skip"]
ChipLayout = Literal["single", "2x2"]


@dataclass(frozen=True)
class ReadOptions:
    """Options of :func:`pointae.io.read_hits`.

    Args:
        geometry: the grid, for files that do not state one.
        duplicates: hits of an event that share a cell: keep all, merge into one, or fail.
        on_bad: fail at the first bad event, or skip bad events, report them, and fail above 1 %
            (native files and CSV; other formats always fail).
        window_ns: length of an event in a continuous recording (Timepix3).
        gap_ns: build events of continuous recordings from pauses longer than this instead.
        chip_layout: where the chips of a Timepix3 recording are: all on one another with ``chip``
            as a feature, or ``"2x2"``: chips 0 1 beside 2 3, a grid of 512 x 512.
        columns: for CSV and Parquet, the file's own column name by our name, e.g. ``{"t": "tof"}``.
        hits_per_block: of :func:`pointae.io.read_blocks`: a block ends with the event that brings it to so many
            hits (HDF5 and CSV; other formats are in memory as a whole, or have few hits an event).
    """

    geometry: DetectorGeometry | None = None
    duplicates: Duplicates = "keep"
    on_bad: OnBad = "error"
    window_ns: float | None = None
    gap_ns: float | None = None
    chip_layout: ChipLayout = "single"
    columns: Mapping[str, str] = field(default_factory=dict)
    hits_per_block: int | None = None

    def __post_init__(self) -> None:
        choices = (("duplicates", Duplicates), ("on_bad", OnBad), ("chip_layout", ChipLayout))
        for name, known in choices:
            if getattr(self, name) not in get_args(known):
                raise unknown_name(name, str(getattr(self, name)), get_args(known))
        for name in ("window_ns", "gap_ns", "hits_per_block"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be above 0, got {value}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ReadOptions:
        """The options given by keyword; ``None`` means the default."""
        known = [spec.name for spec in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_name("reading option", name, known)
        return cls(**{name: value for name, value in options.items() if value is not None})
