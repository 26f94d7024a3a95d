"""The detector's grid: its axes, the detectors known by name, and what files and runs keep of one.

Loads no torch before a tensor comes in, so that settings can state a grid.
"""

from __future__ import annotations

from pointae.geometry.detectors import (
    GEOMETRIES,
    TIMEPIX3_STEP_NS,
    deepclean3d_geometry,
    robot_geometry,
    timepix3_geometry,
    torch_geometry,
)
from pointae.geometry.grid import MAX_BINS, Axis, DetectorGeometry, even_geometry
from pointae.geometry.stored import (
    GEOMETRY_VERSION,
    differences_of,
    find_geometry,
    geometry_from_dict,
    geometry_to_dict,
)

__all__ = [
    "GEOMETRIES",
    "GEOMETRY_VERSION",
    "MAX_BINS",
    "TIMEPIX3_STEP_NS",
    "Axis",
    "DetectorGeometry",
    "deepclean3d_geometry",
    "differences_of",
    "even_geometry",
    "find_geometry",
    "geometry_from_dict",
    "geometry_to_dict",
    "robot_geometry",
    "timepix3_geometry",
    "torch_geometry",
]
