"""The focusing block in its (y, z) plane: the angle of the light becomes a height on the detectors."""

from __future__ import annotations

import math

from torch import Tensor

from pointae.simulate.module import BEVEL, BEVEL_TOP, DETECTOR_SHIFT, ENTRANCE, MIRROR_EDGES, MIRROR_RADIUS

_SIN, _COS, _TAN = math.sin(BEVEL), math.cos(BEVEL), math.tan(BEVEL)


def focus(up: Tensor, forward: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Follow light from the top of the plate by the cylindrical mirror to the photon detectors.

    Args:
        up: (N,) |k_y| of the unit vector k along the light.
        forward: (N,) |k_z|.
        depth: (N,) mm, way to go in z to the bevel.

    Returns:
        height: (N,) mm on the detectors, from their middle.
        path: (N,) mm of light inside the block, from the plate's top.
        hit: (N,) bool, whether the light met the mirror and went back to the detectors.
    """
    to_bevel = depth / (forward + up * _TAN)
    y = BEVEL_TOP - to_bevel * up * (1 / _COS)
    # The block's frame is turned by the bevel's angle.
    ty, tz = forward * _SIN - up * _COS, forward * _COS + up * _SIN
    length = (ty * ty + tz * tz).sqrt()
    a, b = ty / length, tz / length
    half = b * ENTRANCE + a * y
    to_mirror = (half * half - (y * y + (ENTRANCE**2 - MIRROR_RADIUS**2))).sqrt() - half
    y_mirror, z_mirror = y + to_mirror * a, to_mirror * b + ENTRANCE
    my, mz = y_mirror * (1 / MIRROR_RADIUS), z_mirror * (1 / MIRROR_RADIUS)
    twice = (my * ty + mz * tz) * 2
    ty, tz = ty - twice * my, tz - twice * mz
    back = (ENTRANCE - z_mirror) / tz
    height = -(y_mirror + back * ty + DETECTOR_SHIFT)
    hit = (y_mirror > MIRROR_EDGES[0]) & (y_mirror < MIRROR_EDGES[1]) & (tz < 0)
    return height, to_bevel + to_mirror / length + back, hit
