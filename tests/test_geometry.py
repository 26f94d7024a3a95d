"""Grids: gaps between columns, lookup and search as inverses, and what files keep of a detector."""

from __future__ import annotations

import json
import struct

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pointae.errors import ConfigError, DataError
from pointae.geometry import (
    GEOMETRIES,
    Axis,
    DetectorGeometry,
    differences_of,
    even_geometry,
    find_geometry,
    geometry_from_dict,
    geometry_to_dict,
    timepix3_geometry,
    torch_geometry,
)
from pointae.hits import HitBatch
from pointae.io import read_hits, write_hits
from pointae.record import Grid
from pointae.runs import RunDirectory
from visual.scene.source import EventSource, open_events

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


def exact(geometry: DetectorGeometry) -> list:
    """All of a geometry, floats by their bits."""
    told = [geometry.name]
    for axis in geometry.axes:
        numbers = [axis.width, axis.start, *(axis.centres or ())]
        told += [
            axis.name,
            axis.unit,
            axis.bins,
            axis.centres is None,
            *(struct.pack("<d", number) for number in numbers),
        ]
    return told


@st.composite
def axes(draw) -> Axis:
    """Any axis there can be: of any name and unit, negative, tiny, far away, evenly pitched or not."""
    texts = st.text(max_size=6) | st.sampled_from(["null", "[1]", '"', "{}", "a\0", "mm", "$x_{$"])
    numbers = st.floats(-1e6, 1e6) | st.sampled_from([-0.0, 0.1, -2.5, 5e-324, 1 / 3])
    width, start = draw(st.floats(1e-3, 1e6)), draw(numbers)
    centres = tuple(sorted(set(draw(st.lists(numbers, min_size=1, max_size=5))))) if draw(st.booleans()) else None
    bins = draw(st.sampled_from([1, 3, 1000, 2**31])) if centres is None else len(centres)
    return Axis(draw(texts), draw(texts), width, bins, start, centres)


names = st.text(max_size=8).filter(lambda name: name != "robots") | st.sampled_from(["torch", "null", "[3]"])
grids = st.builds(DetectorGeometry, names, axes(), axes(), axes())


@given(grid=grids)
def test_a_drawn_grid_comes_back_bit_for_bit(grid):
    stored = geometry_to_dict(grid)
    assert exact(geometry_from_dict(stored)) == exact(grid)
    assert exact(geometry_from_dict(json.loads(json.dumps(stored)))) == exact(grid)


@settings(max_examples=40, deadline=None)
@given(grid=grids)
def test_a_drawn_grid_comes_back_from_a_run_and_its_views(tmp_path_factory, grid):
    run = RunDirectory.create(tmp_path_factory.mktemp("grid"), "a")
    run.update_record(geometry=geometry_to_dict(grid))
    kept = run.record.geometry
    assert exact(kept.geometry()) == exact(grid)
    card = Grid.model_validate_json(kept.model_dump_json())  # as a card has it
    assert exact(card.geometry()) == exact(grid)
    EventSource(HitBatch.empty(grid, 1)).save(run.views, [0])
    assert exact(open_events(run.views).hits.geometry) == exact(grid)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".parquet"])
@settings(max_examples=40, deadline=None)
@given(grid=grids)
def test_a_drawn_grid_comes_back_from_files(tmp_path_factory, ending, grid):
    path = tmp_path_factory.mktemp("grid") / f"a{ending}"
    write_hits(path, HitBatch(grid, torch.zeros(2, 3, dtype=torch.int32), torch.tensor([0, 2])))
    assert exact(read_hits(path).geometry) == exact(grid)


def test_a_grid_of_thousands_of_uneven_bins_comes_back_from_files(tmp_path):
    centres = tuple(i + i * i / 1e4 for i in range(20_000))
    grid = DetectorGeometry("long", Axis("x", "mm", 1.0, 20_000, centres=centres), *even_geometry((1, 2, 3)).axes[1:])
    for ending in (".h5", ".npz", ".parquet"):
        write_hits(tmp_path / f"a{ending}", HitBatch.empty(grid, 1))
        assert ending == ".parquet" or read_hits(tmp_path / f"a{ending}").geometry == grid


def test_positions_are_where_they_were(tmp_path):
    shifted = DetectorGeometry(
        "lab", Axis("x", "mm", 1.0, 82, -2.5), Axis("y", "mm", 1.0, 8, -4.0), Axis("t", "ns", 1.0, 10, 34.0)
    )
    hits = HitBatch(shifted, torch.tensor([[0, 0, 0], [81, 7, 9]], dtype=torch.int32), torch.tensor([0, 2]))
    write_hits(tmp_path / "a.h5", hits)
    back = read_hits(tmp_path / "a.h5")
    assert back.pos.tolist() == [[-2.0, -3.5, 34.5], [79.0, 3.5, 43.5]]
    assert [(axis.low, axis.high) for axis in back.geometry.axes] == [(-2.5, 79.5), (-4, 4), (34, 44)]


def test_what_is_stored_wins_over_the_name():
    stored = geometry_to_dict(torch_geometry())
    moved = geometry_from_dict({**stored, "axis_starts": [0.0, 0.0, 0.0]})
    assert (moved.name, moved.y.start, moved.x.centres) == ("torch", 0.0, torch_geometry().x.centres)
    with pytest.raises(ConfigError, match="detector 'robots' has a grid of 11 x 11 x 11, spatial_shape is 88 x 128"):
        geometry_from_dict({**stored, "detector": "robots"})
    with pytest.raises(ConfigError, match="axis 'x' needs 8 ascending bin centres"):
        geometry_from_dict({**stored, "spatial_shape": [8, 128, 1000]})


def test_differences_are_told_in_the_words_of_a_detector():
    one = even_geometry((4, 3, 2))

    def other(**changes) -> DetectorGeometry:
        return geometry_from_dict({**geometry_to_dict(one), **changes})

    assert differences_of(one, other(detector="b", axis_names=["u", "v", "w"])) == []
    assert differences_of(one, other(bin_widths=[1 + 1e-8, 1, 1])) == []
    assert differences_of(one, even_geometry((4, 3, 3))) == [("the grid is", "4 x 3 x 2", "4 x 3 x 3")]
    assert differences_of(one, other(bin_widths=[1, 2, 1])) == [("bin widths are", "1 x 1 x 1", "1 x 2 x 1")]
    assert differences_of(one, other(axis_starts=[0, 0, 34])) == [("the axes begin at", "0, 0, 0", "0, 0, 34")]
    assert differences_of(one, other(axis_units=["mm", "mm", "ns"])) == [
        ("units are", "pixel, pixel, bin", "mm, mm, ns")
    ]
    gap = other(axis_centres=[[0.5, 1.5, 4.5, 5.5], None, None])
    assert differences_of(one, gap) == [("bin 2 of x is at", "2.5", "4.5")]
    even = other(axis_centres=[[0.5, 1.5, 2.5, 3.5], None, None])
    assert differences_of(one, even) == []


def test_a_detector_is_found_by_name_or_stated_in_full():
    assert find_geometry("torch") == torch_geometry()
    assert find_geometry({"spatial_shape": [64, 48, 500]}) == even_geometry((64, 48, 500))
    assert find_geometry({"spatial_shape": [64, 48, 500], "axis_starts": [-32, 0, 0]}).x.low == -32
    with pytest.raises(ConfigError, match=r"unknown geometry 'torhc' \(did you mean 'torch'"):
        find_geometry("torhc")
    with pytest.raises(ConfigError, match=r"unknown field of a geometry 'spatial_shap' \(did you mean 'spatial_shape'"):
        find_geometry({"spatial_shap": [64, 48, 500]})


DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"spatial_shape": value}
            for value in ("88", ["88", 128, 1000], [True, 2, 3], [2**70, 1, 1], [2**31 + 1, 1, 1])
        ),
        *({"spatial_shape": value} for value in (DEEP, [DEEP, 1, 1], {"x": 1}, 7, [1.5, 2, 3], [float("inf"), 1, 1])),
        {"spatial_shape": [10**6000, 1, 1]},
        *(
            {"bin_widths": [value, 1.0, 1.0]}
            for value in (float("inf"), float("nan"), 0, -1.0, "1", True, None, 10**400)
        ),
        *({"bin_widths": value} for value in (1.0, [1.0, 1.0], DEEP)),
        *({"axis_names": value} for value in (["x", "y"], ["x", "y", 3], "xyt", DEEP)),
        {"axis_units": ["mm"]},
        *({"axis_starts": value} for value in ([float("nan"), 0, 0], [0, 0], ["0", 0, 0])),
        *(
            {"axis_centres": [value, None, None]}
            for value in ([1.0], [], [1, 1, 2, 3], [1, 2, 3, float("inf")], "1234")
        ),
        *({"axis_centres": value} for value in ([None, None], [[4, 3, 2, 1], None, None])),
        *({"detector": value} for value in (7, "\ud800", ["torch"], DEEP, "robots")),
        *({"geometry_version": value} for value in (3, 99, 0, -1, "2", True, 2.0, 10**6000, [2])),
        {"axis_starts": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_stored_geometry_that_cannot_be_is_refused_by_the_name_of_its_field(change):
    with pytest.raises(ConfigError) as caught:
        geometry_from_dict({**geometry_to_dict(even_geometry((4, 3, 2))), **change})
    told = str(caught.value)
    assert next(iter(change)) in told or "axis 'x'" in told
    assert len(told) < 200


def test_later_versions_of_a_file_are_refused(tmp_path):
    for stated in ({"geometry_version": 99}, {"format_version": 99}):
        attributes = {"format": "pointae-hits", "format_version": 1, "spatial_shape": [4, 3, 2], **stated}
        np.savez(tmp_path / "a.npz", coords=np.zeros((1, 3), int), offsets=[0, 1], attributes=json.dumps(attributes))
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["coords"], file["offsets"] = np.zeros((1, 3), int), [0, 1]
            file.attrs.update(attributes)
        for path in tmp_path.iterdir():
            with pytest.raises(DataError, match=r"a\.(h5|npz): .*version 99 is later .*update pointae"):
                read_hits(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:  # another's number of another format
        file["coords"], file["offsets"] = np.zeros((1, 3), int), [0, 1]
        file.attrs.update({"format": "lab", "format_version": 99})
    assert read_hits(tmp_path / "other.h5").num_hits == 1


def test_a_known_name_with_another_shape_is_another_detector():
    stored = {  # as older files have it
        name: value
        for name, value in geometry_to_dict(torch_geometry()).items()
        if name not in ("geometry_version", "axis_starts", "axis_centres")
    }
    assert geometry_from_dict(stored) == torch_geometry()
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
