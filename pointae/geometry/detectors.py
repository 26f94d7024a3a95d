"""Detectors that are known by name."""

from __future__ import annotations

from pointae.geometry.grid import Axis, DetectorGeometry, even_geometry


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
