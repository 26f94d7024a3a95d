"""Grids: gaps between columns, lookup and search as inverses, and what files keep of a detector."""

from __future__ import annotations

import pytest
import torch

from pointae.errors import ConfigError
from pointae.geometry import (
    GEOMETRIES,
    Axis,
    even_geometry,
    geometry_from_dict,
    geometry_to_dict,
    timepix3_geometry,
    torch_geometry,
)

ALL = [*(make() for make in GEOMETRIES.values()), even_geometry((1, 3, 2), (0.1, 2.0, 1e-3))]
by_name = pytest.mark.parametrize("geometry", ALL, ids=lambda geometry: geometry.name)


def column(values) -> torch.Tensor:
    """(N, 3) positions with the values as x, in the middle of the other axes of the TORCH grid."""
    x = torch.as_tensor(values, dtype=torch.float64)
    return torch.stack([x, torch.zeros_like(x), torch.full_like(x, 40.0)], dim=1)


def test_torch_columns_have_a_gap_after_every_eight():
    coords = torch.zeros(88, 3, dtype=torch.int32)
    coords[:, 0] = torch.arange(88)
    steps = torch_geometry().positions(coords)[:, 0].diff()
    between_tubes = torch.arange(1, 88) % 8 == 0
    assert steps[7].item() == pytest.approx(13.625, abs=1e-4)  # 6.625 mm of a column and 7 mm of a gap
    torch.testing.assert_close(steps[between_tubes], torch.full((10,), 13.625), rtol=0, atol=1e-4)
    torch.testing.assert_close(steps[~between_tubes], torch.full((77,), 6.625), rtol=0, atol=1e-4)


def test_torch_covers_its_plate_its_focal_plane_and_25_ns():
    geometry = torch_geometry()
    assert geometry.spatial_shape == (88, 128, 1000)
    assert geometry.num_cells == 88 * 128 * 1000
    edges = [(axis.low, axis.high) for axis in geometry.axes]
    for (low, high), expected in zip(edges, [(-326.5, 326.5), (-26.5, 26.5), (34, 59)], strict=True):
        assert (low, high) == pytest.approx(expected)


def test_positions_in_a_gap_go_to_the_nearer_column():
    axis = torch_geometry().x
    left, right = axis.centres[7:9]
    middle = (left + right) / 2
    x = [left, left + axis.width / 2 + 1e-6, middle - 1e-6, middle + 1e-6, right - axis.width / 2 - 1e-6, right]
    coords, inside = torch_geometry().coords_of(column(x))
    assert coords[:, 0].tolist() == [7, 7, 7, 8, 8, 8]
    assert coords.dtype == torch.int32
    assert inside.all()


def test_positions_outside_are_clamped_and_told():
    geometry = torch_geometry()
    low, high = geometry.x.low, geometry.x.high
    coords, inside = geometry.coords_of(column([low - 1e-6, low, high - 1e-6, high, 1e9, -1e9]))
    assert coords[:, 0].tolist() == [0, 0, 87, 87, 87, 0]
    assert inside[:, 0].tolist() == [False, True, True, False, False, False]
    assert inside[:, 1:].all()


@by_name
def test_lookup_and_search_are_inverses(geometry):
    draw = torch.Generator().manual_seed(0)
    longest = 3000
    columns = [  # every bin of short axes, both ends and a sample of long ones
        torch.cat([torch.randint(bins, (longest,), generator=draw), torch.tensor([0, bins - 1])])
        if bins > longest
        else torch.arange(longest + 2) % bins
        for bins in geometry.spatial_shape
    ]
    coords = torch.stack(columns, dim=1).int()
    pos = torch.stack([axis.centres_of(coords[:, i]) for i, axis in enumerate(geometry.axes)], dim=1)
    found, inside = geometry.coords_of(pos)
    assert torch.equal(found, coords)
    assert inside.all()
    assert geometry.positions(coords).dtype == torch.float32
    if max(geometry.spatial_shape) <= 100_000:  # float32 positions cannot tell more bins apart
        assert torch.equal(geometry.coords_of(geometry.positions(coords))[0], coords)


def test_ten_millimetres_on_deepclean3d():
    geometry = GEOMETRIES["deepclean3d"]()
    assert 10 / geometry.x.width == pytest.approx(1.10)
    assert 10 / geometry.y.width == pytest.approx(0.853, abs=5e-4)
    assert geometry.t.width == 1.0


@by_name
def test_files_give_back_the_geometry_they_were_given(geometry):
    stored = geometry_to_dict(geometry)
    back = geometry_from_dict(stored)
    assert geometry_to_dict(back) == stored
    assert back == geometry


def test_a_known_name_with_another_shape_is_another_detector():
    stored = geometry_to_dict(torch_geometry())
    for change in ({"spatial_shape": [8, 128, 1000]}, {"bin_widths": [1.0, 1.0, 1.0]}):
        other = geometry_from_dict({**stored, **change})
        assert other.x.centres is None
        assert list(other.spatial_shape) == change.get("spatial_shape", [88, 128, 1000])
        assert other.x.unit == "mm"
    assert geometry_from_dict({"detector": "torch", "spatial_shape": [88, 128, 1000]}) == torch_geometry()
    short = timepix3_geometry(window_ns=1000.0)
    assert geometry_from_dict(geometry_to_dict(short)).spatial_shape == (256, 256, 640)


@pytest.mark.parametrize("shape", [None, [], [3, 4], [3, 0, 4], [1, 2, 3, 4]])
def test_a_stored_geometry_without_a_shape_is_refused(shape):
    with pytest.raises(ConfigError, match="spatial_shape must be three positive numbers"):
        geometry_from_dict({} if shape is None else {"spatial_shape": shape})


@by_name
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_unit_positions_put_the_edges_at_one_and_come_back(geometry, dtype, tolerance):
    low, high = (torch.tensor([getattr(a, end) for a in geometry.axes], dtype=torch.float64) for end in ("low", "high"))
    pos = torch.stack([low, high, (low + high) / 2, low + 0.3 * (high - low)]).to(dtype)
    unit = geometry.unit_positions(pos)
    assert unit.dtype == dtype
    expected = torch.tensor([-1, 1, 0, -0.4], dtype=dtype)[:, None].expand(4, 3)
    torch.testing.assert_close(unit, expected, rtol=0, atol=tolerance)
    back = geometry.physical_positions(unit)
    assert ((back - pos).abs() <= tolerance * (high - low).to(dtype)).all()


def test_axes_are_found_by_letter():
    geometry = torch_geometry()
    assert [geometry.index_of(letter) for letter in "xyt"] == [0, 1, 2]
    assert geometry.x.label == "x [mm]"
    with pytest.raises(ConfigError, match=r"unknown axis 'z' \(known: t, x, y\)"):
        geometry.index_of("z")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bins": 0}, "axis 'x' needs bins and a width, got 0 of 1.0"),
        ({"width": 0.0}, "axis 'x' needs bins and a width, got 3 of 0.0"),
        ({"width": float("nan")}, "needs bins and a width"),
        ({"centres": (0.0, 1.0)}, "axis 'x' needs 3 ascending bin centres"),
        ({"centres": (0.0, 2.0, 1.0)}, "axis 'x' needs 3 ascending bin centres"),
    ],
)
def test_an_axis_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Axis(**{"name": "x", "unit": "mm", "width": 1.0, "bins": 3, **fields})
