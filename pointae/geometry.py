"""The detector's grid: for each axis a name, a unit and the centres of its bins.

Two spaces are used throughout: ``coords`` are bin numbers (x, y, t), ``pos`` are physical
(mm, mm, ns). ``coords -> pos`` is a lookup, ``pos -> coords`` a search, so unevenly pitched
axes (the TORCH columns have a gap every eight) cost nothing extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pointae.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Axis:
    """One axis of the grid: evenly pitched, or with a centre for every bin.

    Args:
        name: what is measured, e.g. ``"x"`` or ``"time of flight"``.
        unit: of every length here, e.g. ``"mm"``.
        width: sensitive width of one bin.
        bins: number of bins.
        start: lower edge of the first bin of an even axis.
        centres: bin centres, ascending, where the pitch is uneven; ``None`` for an even axis,
            whose bin i covers ``start + [i, i + 1) * width``.
    """

    name: str
    unit: str
    width: float
    bins: int
    start: float = 0.0
    centres: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.bins < 1 or not self.width > 0:
            raise ConfigError(f"axis '{self.name}' needs bins and a width, got {self.bins} of {self.width}")
        if self.centres is not None:
            ascending = all(a < b for a, b in zip(self.centres, self.centres[1:], strict=False))
            if len(self.centres) != self.bins or not ascending:
                raise ConfigError(f"axis '{self.name}' needs {self.bins} ascending bin centres")

    @property
    def label(self) -> str:
        """Name and unit, as written along a drawn axis."""
        return f"{self.name} [{self.unit}]"

    @property
    def low(self) -> float:
        """Lower edge of the first bin."""
        return self.start if self.centres is None else self.centres[0] - self.width / 2

    @property
    def high(self) -> float:
        """Upper edge of the last bin."""
        return self.start + self.bins * self.width if self.centres is None else self.centres[-1] + self.width / 2

    def centres_of(self, index: Tensor) -> Tensor:
        """Centres of the bins numbered ``index`` (any shape, integer): float64, in ``unit``."""
        if self._table is None:
            return self.start + (index.double() + 0.5) * self.width
        return self._table.to(index.device)[index.long()]

    def bins_of(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Bin numbers (int32, clamped to the axis) of values, and whether each lies between the outer edges."""
        value = value.double()
        inside = (value >= self.low) & (value < self.high)
        if self._table is None:
            index = ((value - self.start) / self.width).floor()
        else:
            table = self._table.to(value.device)
            # Halfway between centres: a value in a gap goes to the nearer bin.
            index = torch.searchsorted((table[1:] + table[:-1]) / 2, value.contiguous(), right=True)
        return index.clamp(0, self.bins - 1).int(), inside

    @cached_property
    def _table(self) -> Tensor | None:
        return None if self.centres is None else torch.tensor(self.centres, dtype=torch.float64)


@dataclass(frozen=True)
class DetectorGeometry:
    """The three axes of a detector.

    Args:
        name: a name for people and files, e.g. ``"torch"``.
        x, y, t: the axes, in the order of ``coords``.
    """

    name: str
    x: Axis
    y: Axis
    t: Axis

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        """The axes in the order of ``coords``."""
        return (self.x, self.y, self.t)

    @property
    def spatial_shape(self) -> tuple[int, int, int]:
        """Bins along (x, y, t)."""
        return (self.x.bins, self.y.bins, self.t.bins)

    @property
    def bin_widths(self) -> tuple[float, float, float]:
        """Sensitive width of a bin along (x, y, t), in each axis' unit."""
        return (self.x.width, self.y.width, self.t.width)

    @property
    def num_cells(self) -> int:
        """Cells of the full grid."""
        return self.x.bins * self.y.bins * self.t.bins

    def positions(self, coords: Tensor) -> Tensor:
        """Physical positions of bin numbers.

        Args:
            coords: (N, 3) integer [x, y, t] inside the grid.

        Returns:
            (N, 3) float32, in the axes' units (mm, mm, ns for a TORCH detector).
        """
        columns = [axis.centres_of(coords[:, i]).float() for i, axis in enumerate(self.axes)]
        return torch.stack(columns, dim=1)

    def coords_of(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Bin numbers of physical positions.

        A position in a gap between bins goes to the nearer bin.

        Args:
            pos: (N, 3) float, in the axes' units.

        Returns:
            coords: (N, 3) int32, clamped to the grid.
            inside: (N, 3) bool, whether the position is within the axis' outer edges.
        """
        columns, inside = zip(*(axis.bins_of(pos[:, i]) for i, axis in enumerate(self.axes)), strict=True)
        return torch.stack(columns, dim=1), torch.stack(inside, dim=1)

    def unit_positions(self, pos: Tensor) -> Tensor:
        """Positions (..., 3) scaled so that the detector's outer edges are at -1 and 1."""
        centre, half = self._frame
        return (pos - centre.to(pos)) / half.to(pos)

    def physical_positions(self, unit: Tensor) -> Tensor:
        """The inverse of :meth:`unit_positions`."""
        centre, half = self._frame
        return unit * half.to(unit) + centre.to(unit)

    @cached_property
    def _frame(self) -> tuple[Tensor, Tensor]:
        edges = torch.tensor([[axis.low, axis.high] for axis in self.axes], dtype=torch.float64)
        return edges.mean(1), (edges[:, 1] - edges[:, 0]) / 2

    def index_of(self, axis_name: str) -> int:
        """Column of the axis called ``axis_name`` in ``coords`` and ``pos``.

        Raises:
            ConfigError: no axis of that name.
        """
        names = ("x", "y", "t")
        if axis_name not in names:
            raise unknown_name("axis", axis_name, names)
        return names.index(axis_name)


def even_geometry(
    spatial_shape: tuple[int, int, int],
    bin_widths: tuple[float, float, float] = (1.0, 1.0, 1.0),
    axis_names: tuple[str, str, str] = ("x", "y", "time of flight"),
    axis_units: tuple[str, str, str] = ("pixel", "pixel", "bin"),
    name: str = "grid",
) -> DetectorGeometry:
    """A detector of evenly pitched axes that start at 0."""
    axes = [
        Axis(axis, unit, float(width), int(bins))
        for axis, unit, width, bins in zip(axis_names, axis_units, bin_widths, spatial_shape, strict=True)
    ]
    return DetectorGeometry(name, *axes)


def torch_geometry() -> DetectorGeometry:
    """One module of the LHCb TORCH detector: 88 columns, 128 effective rows, 25 ns in 25 ps bins.

    Eleven photon detectors of 60 mm pitch and 53 mm active width side by side, 8 columns each;
    rows are mm in the focal plane (3.16 mrad a row). Sources: docs/detector.md.
    """
    column, pitch, active, plate = 53.0 / 8, 60.0, 53.0, 660.0
    centres = tuple(
        tube * pitch + (pitch - active) / 2 + (i + 0.5) * column - plate / 2 for tube in range(11) for i in range(8)
    )
    return DetectorGeometry(
        "torch",
        Axis("x", "mm", column, 88, centres=centres),
        Axis("y (focal plane)", "mm", 53.0 / 128, 128, start=-26.5),
        Axis("time of flight", "ns", 0.025, 1000, start=34.0),
    )


def deepclean3d_geometry() -> DetectorGeometry:
    """The grid of DeepClean3D's files: 88 px over 800 mm, 128 px over 1500 mm, 1000 steps over 1000 ns."""
    shape, widths = (88, 128, 1000), (800 / 88, 1500 / 128, 1.0)
    return even_geometry(shape, widths, axis_units=("mm", "mm", "ns"), name="deepclean3d")


TIMEPIX3_STEP_NS = 25.0 / 16
"""Finest time step of a Timepix3 chip: 1/16 of its 40 MHz clock."""


def timepix3_geometry(window_ns: float = 20e6, shape: tuple[int, int] = (256, 256)) -> DetectorGeometry:
    """Timepix3: 55 um pixels, 256 x 256 a chip, time in steps of 1.5625 ns since the event's start."""
    return DetectorGeometry(
        "timepix3",
        Axis("x", "mm", 0.055, shape[0]),
        Axis("y", "mm", 0.055, shape[1]),
        Axis("time of arrival", "ns", TIMEPIX3_STEP_NS, max(1, round(window_ns / TIMEPIX3_STEP_NS))),
    )


def robot_geometry() -> DetectorGeometry:
    """The grid that robots are built on: 11 x 11 x 11 cells (:mod:`pointae.robots`)."""
    return even_geometry((11, 11, 11), axis_names=("x", "y", "z"), axis_units=("cell",) * 3, name="robots")


GEOMETRIES = {
    "torch": torch_geometry,
    "deepclean3d": deepclean3d_geometry,
    "timepix3": timepix3_geometry,
    "robots": robot_geometry,
}
"""Detectors known by name."""


def geometry_to_dict(geometry: DetectorGeometry) -> dict[str, Any]:
    """What a file or a run keeps of a geometry; :func:`geometry_from_dict` reads it back."""
    return {
        "detector": geometry.name,
        "spatial_shape": list(geometry.spatial_shape),
        "bin_widths": list(geometry.bin_widths),
        "axis_names": [axis.name for axis in geometry.axes],
        "axis_units": [axis.unit for axis in geometry.axes],
    }


def geometry_from_dict(stored: Mapping[str, Any]) -> DetectorGeometry:
    """The geometry that a file describes.

    A known detector whose shape and bin widths agree is taken whole, with its gaps and starts;
    anything else becomes evenly pitched axes that start at 0.

    Raises:
        ConfigError: no usable ``spatial_shape``.
    """
    shape = tuple(int(bins) for bins in stored.get("spatial_shape", ()))
    if len(shape) != 3 or min(shape) < 1:
        raise ConfigError(f"spatial_shape must be three positive numbers, got {stored.get('spatial_shape')}")
    widths = tuple(float(width) for width in stored.get("bin_widths", (1.0, 1.0, 1.0)))
    name = str(stored.get("detector", "grid"))
    if name in GEOMETRIES:
        known = GEOMETRIES[name]()
        same_widths = all(abs(a - b) <= 1e-6 * abs(b) for a, b in zip(widths, known.bin_widths, strict=True))
        if known.spatial_shape == shape and ("bin_widths" not in stored or same_widths):
            return known
    names = tuple(str(axis) for axis in stored.get("axis_names", ("x", "y", "time of flight")))
    units = tuple(str(unit) for unit in stored.get("axis_units", ("pixel", "pixel", "bin")))
    return even_geometry(shape, widths, names, units, name=name)  # type: ignore[arg-type]
