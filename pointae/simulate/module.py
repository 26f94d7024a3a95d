"""The numbers of one LHCb TORCH module: plate, focusing block, photon detectors. Sources: docs/detector.md.

Frame: x across the plate, y along it (photon detectors at +y), z along the beam; mm and ns.
"""

import math

SPEED_OF_LIGHT = 299.792458
"""mm/ns."""

PLATE_WIDTH, PLATE_HEIGHT, PLATE_DEPTH = 660.0, 2500.0, 10.0
"""mm; x in [-W/2, W/2], y in [-H/2, H/2], z in [0, D]."""
DISTANCE = 9500.0
"""mm from the interaction point to the plate."""
MODULE_CENTRES = 9
"""Modules in a row, side by side; the event's module is one of them."""
BEND = 0.66
"""Change of the x slope by the magnet, times GeV/c, for unit charge."""

BEVEL = math.radians(36.0)
"""Angle of the bevel at the plate's top, through which light enters the focusing block."""
BEVEL_BASE = PLATE_HEIGHT / 2 - PLATE_DEPTH / math.tan(BEVEL)
"""Height of the bevel's lower edge."""
BEVEL_TOP = 23.704
"""mm in the block's frame: where light without way to go to the bevel meets it."""
MIRROR_RADIUS = 260.0
ENTRANCE = 133.7
"""Plane of the block's frame in which the bevel and the detectors lie."""
MIRROR_EDGES = (-64.296, 26.704)
DETECTOR_SHIFT = 37.296
"""mm between the block's origin and the middle of the photon detectors."""

TUBE_PITCH, TUBE_WIDTH, TUBE_EDGE = 60.0, 53.0, 3.5
"""Photon detectors side by side: pitch, active width and the dead edge before it."""
COLUMN_WIDTH = TUBE_WIDTH / 8
COLUMNS, ROWS, TIME_BINS = 88, 128, 1000
ROW_HEIGHT = TUBE_WIDTH / ROWS
CHARGE_SHARING = 0.1
"""mm, Gaussian smearing of the row coordinate."""
WINDOW_START, TIME_BIN = 34.0, 0.025
"""ns after the collision."""
CROSSING = 25.0
"""ns between bunch crossings, and the length of the time window."""

INDEX_AIR = 1.00029
ROUGHNESS = 0.5e-3
"""um rms of the polished surfaces."""
MAX_SIDE_REFLECTIONS = 10
RAW_PHOTONS = 260
"""Photons followed at least for a track whose number of hits is fixed; also the most that physics gives one."""
RAW_PHOTONS_FOR = 30
"""Hits for which so many are enough, but for a track in 500; for more hits as many more are followed."""
