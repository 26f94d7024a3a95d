"""How a file is to be read. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from pointae.config import FileSource, RobotSource, Source
from pointae.errors import UsageError, unknown_name
from pointae.geometry import DetectorGeometry, find_geometry, robot_geometry
from pointae.io.advice import said

Duplicates = Literal["keep", "merge", "error"]
OnBad = Literal["error", "skip"]
ChipLayout = Literal["single", "2x2"]
Trigger = Literal["tdc1_rising", "tdc1_falling", "tdc2_rising", "tdc2_falling"]
MAX_DELAY_NS = 1e12
"""A thousand seconds."""
INSTEAD = {"window_ns": ("gap_ns",), "gap_ns": ("trigger", "trigger_delay_ns"), "trigger": ("gap_ns",)}
"""Options that an option takes the place of, where it is given and they are not."""


@dataclass(frozen=True)
class ReadOptions:
    """Options of :func:`pointae.io.read_hits`.

    A run keeps those that are settings of :class:`~pointae.config.FileSource` too, by the same name; tools that read
    files have an argument for each of them (:mod:`pointae.io.arguments`).

    Args:
        geometry: the grid, for files that do not state one.
        duplicates: hits of an event that share a cell: keep all, merge into one, or fail.
        on_bad: fail at the first bad event, or skip bad events, report them, and fail above 1 %
            (native files and CSV; of a Timepix3 recording damaged chunks; other formats always fail).
        window_ns: length of an event in a continuous recording (Timepix3).
        gap_ns: build events of continuous recordings from pauses longer than this instead.
        trigger: build them of the hits after each of the recorded triggers of this kind instead, in windows of
            ``window_ns`` or until the next; t is the time since the trigger.
        trigger_delay_ns: from a trigger to the begin of its window; below 0 the window begins before it.
        chip_layout: where the chips of a Timepix3 recording are: all on one another with ``chip``
            as a feature, or ``"2x2"``: chips 3 0 and, turned by 180 degrees, 2 1, a grid of 512 x 512.
        columns: for CSV and Parquet, the file's own column name by our name, e.g. ``{"t": "tof"}``.
        features: names of the columns that are features for a network, e.g. ``("tot",)``; of native files and
            recordings also those that they declare as such.
        carry: take the user's own columns along.
        verbatim: cells of the user's columns of a CSV stay letter by letter as they are; else those whose cells are
            all numbers become numbers, for formats with types.
        hits_per_block: of :func:`pointae.io.read_blocks`: a block ends with the event that brings it to so many
            hits (HDF5 and CSV; other formats are in memory as a whole, or have few hits an event).
    """

    geometry: DetectorGeometry | None = None
    duplicates: Duplicates = "keep"
    on_bad: OnBad = "error"
    window_ns: float | None = None
    gap_ns: float | None = None
    trigger: Trigger | None = None
    trigger_delay_ns: float = 0.0
    chip_layout: ChipLayout = "single"
    columns: Mapping[str, str] = field(default_factory=dict)
    features: Sequence[str] = ()
    carry: bool = True
    verbatim: bool = True
    hits_per_block: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        choices = (("duplicates", Duplicates), ("on_bad", OnBad), ("chip_layout", ChipLayout), ("trigger", Trigger))
        for name, known in choices:
            value = getattr(self, name)
            if value not in get_args(known) and not (value is None and name == "trigger"):
                raise unknown_name(name, str(value), get_args(known))
        for name in ("window_ns", "gap_ns", "hits_per_block"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be above 0 and finite, got {value}")
        if not abs(self.trigger_delay_ns) <= MAX_DELAY_NS:
            raise UsageError(f"trigger_delay_ns must be within {MAX_DELAY_NS:g} of 0, got {self.trigger_delay_ns}")
        if self.trigger is not None and self.gap_ns is not None:
            raise UsageError("events are built by trigger or by gap_ns, not by both", fix="leave one out")
        if self.trigger is None and self.trigger_delay_ns:
            raise UsageError(
                "trigger_delay_ns counts from a trigger", fix=f"name one: {said('trigger', 'tdc1_rising')}"
            )

    @property
    def skips(self) -> bool:
        """Whether bad events are left out rather than told."""
        return self.on_bad == "skip"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ReadOptions:
        """The options given by keyword; ``None`` means the default."""
        known = [spec.name for spec in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown_name("reading option", name, known)
        return cls(**{name: value for name, value in options.items() if value is not None})

    @classmethod
    def of_source(cls, source: Source) -> ReadOptions:
        """What a config says of how its files are read; robots are on their grid, simulated events have no files."""
        if not isinstance(source, FileSource):
            return cls(geometry=robot_geometry() if isinstance(source, RobotSource) else None)
        names = [spec.name for spec in fields(cls) if spec.name in FileSource.model_fields]
        grid = None if source.geometry is None else find_geometry(source.geometry)
        return cls.of({**{name: getattr(source, name) for name in names}, "geometry": grid})

    def but(self, given: Mapping[str, Any]) -> ReadOptions:
        """These options but for those given by keyword; ``None`` is not given, and names of columns add to these."""
        given = {name: value for name, value in given.items() if value is not None}
        replaced = {other for name in given for other in INSTEAD.get(name, ())}
        if "columns" in given:
            given["columns"] = {**self.columns, **given["columns"]}
        return self.of({**{name: value for name, value in vars(self).items() if name not in replaced}, **given})
