"""What files, runs and cards keep of a grid, and grids that a user states in the same words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pointae.errors import ConfigError, unknown_name
from pointae.geometry.detectors import GEOMETRIES, robot_geometry
from pointae.geometry.grid import MAX_BINS, Axis, DetectorGeometry
from pointae.storage import check_version

GEOMETRY_VERSION = 2
"""Of what is stored. 1, or none: no ``axis_starts`` and ``axis_centres``."""
FIELDS = (
    "geometry_version", "detector", "spatial_shape", "bin_widths", "axis_names", "axis_units", "axis_starts",
    "axis_centres",
)  # fmt: skip


def geometry_to_dict(geometry: DetectorGeometry) -> dict[str, Any]:
    """All of a geometry, JSON-able; :func:`geometry_from_dict` makes an equal one of it."""
    axes = geometry.axes
    return {
        "geometry_version": GEOMETRY_VERSION,
        "detector": geometry.name,
        "spatial_shape": list(geometry.spatial_shape),
        "bin_widths": list(geometry.bin_widths),
        "axis_names": [axis.name for axis in axes],
        "axis_units": [axis.unit for axis in axes],
        "axis_starts": [axis.start for axis in axes],
        "axis_centres": [None if axis.centres is None else list(axis.centres) for axis in axes],
    }


def geometry_from_dict(stored: Mapping[str, Any]) -> DetectorGeometry:
    """The geometry that a file, a run or a user describes; names other than those of its fields are passed over.

    Only ``spatial_shape`` is required. Where nothing is said of the axes' positions, a known detector whose shape
    and bin widths agree is taken whole, with its gaps and starts, and any other has evenly pitched axes from 0.

    Args:
        stored: as :func:`geometry_to_dict` makes it, of this version or an earlier one.

    Raises:
        ConfigError: names the field that cannot be, or a version that is later than this one.
    """
    version = stored.get("geometry_version")
    if version is not None:
        check_version(version, GEOMETRY_VERSION, "geometry_version")
        if version > 1 and (missing := [name for name in FIELDS if stored.get(name) is None]):
            raise ConfigError(f"a geometry of version {version} has {missing[0]}, this one lacks it")
    shape = _three(stored, "spatial_shape", _bins, "positive numbers")
    widths = _three(stored, "bin_widths", _width, "finite numbers above 0", (1.0,) * 3)
    name = stored.get("detector", "grid")
    if not isinstance(name, str):
        raise ConfigError(f"detector must be a name, got {_told(name)}")
    if name == robot_geometry().name and shape != robot_geometry().spatial_shape:
        raise ConfigError(
            f"detector 'robots' has a grid of 11 x 11 x 11, spatial_shape is {' x '.join(map(str, shape))}",
            fix="give another grid another name",
        )
    placed = any(stored.get(field) is not None for field in ("axis_starts", "axis_centres"))
    if name in GEOMETRIES and not placed:
        known = GEOMETRIES[name]()
        same_widths = all(abs(a - b) <= 1e-6 * abs(b) for a, b in zip(widths, known.bin_widths, strict=True))
        if known.spatial_shape == shape and (stored.get("bin_widths") is None or same_widths):
            return known
    names = _three(stored, "axis_names", _text, "texts", ("x", "y", "time of flight"))
    units = _three(stored, "axis_units", _text, "texts", ("pixel", "pixel", "bin"))
    starts = _three(stored, "axis_starts", _finite, "finite numbers", (0.0,) * 3)
    centres = _three(stored, "axis_centres", _centres, "lists of finite numbers, or null", ((),) * 3)
    told = zip(names, units, widths, shape, starts, [places or None for places in centres], strict=True)
    return DetectorGeometry(name, *(Axis(*fields) for fields in told))


def find_geometry(stated: str | Mapping[str, Any]) -> DetectorGeometry:
    """A known detector by its name, or the grid that a user states in full.

    Args:
        stated: e.g. ``"torch"`` or ``{"spatial_shape": [64, 48, 500], "axis_starts": [-32, -24, 0]}``; fields as of
            :func:`geometry_to_dict`.

    Raises:
        ConfigError: no such detector, or fields that are unknown or cannot be.
    """
    if isinstance(stated, str):
        if stated not in GEOMETRIES:
            raise unknown_name("geometry", stated, GEOMETRIES)
        return GEOMETRIES[stated]()
    for name in stated:
        if name not in FIELDS:
            raise unknown_name("field of a geometry", str(name)[:40], FIELDS)
    return geometry_from_dict(stated)


def differences_of(one: DetectorGeometry, other: DetectorGeometry) -> list[tuple[str, str, str]]:
    """How two grids differ in what a network is shown: shape, widths, units and where the bins lie; not in names.

    Returns:
        what differs, with its verb, and what it is in the one and in the other:
        ``("bin widths are", "1 x 1 x 1", "2 x 1 x 1")``; empty of equal grids.
    """
    if one == other:
        return []
    if one.spatial_shape != other.spatial_shape:
        return [("the grid is", *_listed(one.spatial_shape, other.spatial_shape))]
    found: list[tuple[str, str, str]] = []
    if not _near(one.bin_widths, other.bin_widths, (0.0,) * 3):
        found.append(("bin widths are", *_listed(one.bin_widths, other.bin_widths)))
    units, their_units = (", ".join(axis.unit for axis in grid.axes) for grid in (one, other))
    if units != their_units:
        found.append(("units are", units, their_units))
    lows, their_lows = (tuple(axis.low for axis in grid.axes) for grid in (one, other))
    if not _near(lows, their_lows, other.bin_widths):
        return [*found, ("the axes begin at", *_listed(lows, their_lows, between=", "))]
    for letter, mine, theirs in zip("xyt", one.axes, other.axes, strict=True):
        if mine.centres is None and theirs.centres is None:
            continue
        pairs = zip(_all_centres(mine), _all_centres(theirs), strict=True)
        for number, (here, there) in enumerate(pairs):
            if not _near((here,), (there,), (theirs.width,)):
                found.append((f"bin {number} of {letter} is at", *_listed((here,), (there,))))
                break
    return found


def _near(ones: tuple[float, ...], others: tuple[float, ...], scales: tuple[float, ...]) -> bool:
    """Whether numbers are equal but for what a file in float32 makes of them."""
    return all(
        abs(a - b) <= 1e-6 * max(abs(a), abs(b), scale) for a, b, scale in zip(ones, others, scales, strict=True)
    )


def _all_centres(axis: Axis) -> tuple[float, ...]:
    return axis.centres or tuple(axis.start + (i + 0.5) * axis.width for i in range(axis.bins))


def _listed(*sides: tuple[float, ...], between: str = " x ") -> tuple[str, str]:
    """Two lists of numbers in words, with as many digits as tell the two apart."""
    for digits in (6, 9, 17):
        one, other = (between.join(f"{v}" if isinstance(v, int) else f"{v:.{digits}g}" for v in side) for side in sides)
        if one != other:
            break
    return one, other


# ---- fields: the value as it is meant, or None where it cannot be ------------------------------------


def _three(
    stored: Mapping[str, Any],
    name: str,
    convert: Callable[[Any], Any],
    what: str,
    default: tuple[Any, ...] | None = None,
) -> tuple[Any, ...]:
    values = stored.get(name)
    if values is None and default is not None:
        return default
    found = tuple(map(convert, values)) if isinstance(values, list | tuple) else ()
    if len(found) != 3 or any(value is None for value in found):
        raise ConfigError(f"{name} must be three {what}, got {_told(values)}")
    return found


def _bins(value: Any) -> int | None:
    number = _finite(value)
    return int(number) if number is not None and number.is_integer() and 1 <= number <= MAX_BINS else None


def _width(value: Any) -> float | None:
    number = _finite(value)
    return number if number is not None and number > 0 else None


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond all floats
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _centres(value: Any) -> tuple[float, ...] | None:
    """Centres of an uneven axis; none of an even one."""
    if value is None:
        return ()
    found = tuple(map(_finite, value)) if isinstance(value, list | tuple) else (None,)
    return found if found and None not in found else None  # type: ignore[return-value]


def _told(value: Any) -> str:
    """A value in a few words, however long or deep it is."""
    if isinstance(value, list | tuple):
        told = [_told(item) if isinstance(item, str | int | float) else "..." for item in value[:4]]
        return f"[{', '.join([*told, '...'] if len(value) > 4 else told)}]"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    return f"'{value:.40}'" if isinstance(value, str) else f"{value!s:.40}"
