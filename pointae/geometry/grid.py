"""The detector's grid: for each axis a name, a unit and the centres of its bins.

Two spaces are used throughout: ``coords`` are bin numbers (x, y, t), ``pos`` are physical
(mm, mm, ns). ``coords -> pos`` is a lookup, ``pos -> coords`` a search, so unevenly pitched
axes (the TORCH columns have a gap every eight) cost nothing extra.
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pointae.errors import ConfigError, unknown_name

if TYPE_CHECKING:  # loaded where tensors come in: settings check a grid without it
    from torch import Tensor

MAX_BINS = 1 << 31
"""Of an axis: bin numbers are int32, from 0."""


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
        for text in (self.name, self.unit):
            _check_text(text, "name and unit of an axis")
        for name in ("width", "start"):
            object.__setattr__(self, name, self._number(getattr(self, name), name))
        try:
            bins = 0 if isinstance(self.bins, bool) else operator.index(self.bins)
        except TypeError:
            bins = 0
        object.__setattr__(self, "bins", bins or self.bins)
        if not 1 <= bins <= MAX_BINS or not 0 < self.width < math.inf:
            raise ConfigError(f"axis '{self.name}' needs bins and a width, got {self.bins!s:.40} of {self.width}")
        if self.centres is not None:
            centres = tuple(self._number(centre, "centre") for centre in self.centres)
            object.__setattr__(self, "centres", centres)
            ascending = all(a < b for a, b in itertools.pairwise(centres))
            if len(centres) != bins or not ascending or not all(map(math.isfinite, centres)):
                raise ConfigError(f"axis '{self.name}' needs {bins} ascending bin centres")
        if not -math.inf < self.low < self.high < math.inf or not math.isfinite(self.start):
            raise ConfigError(f"axis '{self.name}' cannot run from {self.low} to {self.high}")

    def _number(self, value: Any, what: str) -> float:
        try:
            if not isinstance(value, bool | str):
                return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
        raise ConfigError(f"axis '{self.name}' needs a number as {what}, got {value!s:.40}")

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
        import torch

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
        import torch

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

    def __post_init__(self) -> None:
        _check_text(self.name, "name of a detector")

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
        import torch

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
        import torch

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
        import torch

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


def _check_text(text: Any, what: str) -> None:
    try:
        if isinstance(text, str) and text.encode() is not None:
            return
    except UnicodeEncodeError:  # half a character, which no file can hold
        pass
    raise ConfigError(
        f"the {what} must be text, got {ascii(text) if isinstance(text, str) else type(text).__name__}"[:120]
    )
