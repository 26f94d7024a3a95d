"""Every engine against dense convolutions, against each other, and at the limits of spconv's int32."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pointae.errors import ComponentError, ConfigError, DataError
from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.nn.loops import LOOPS
from pointae.nn.sparse.blocks import Blocks
from pointae.nn.sparse.engines import ENGINES, build_levels, resolve_engine
from pointae.nn.sparse.kernel_maps import KernelMap
from pointae.nn.sparse.layers import DownConv, ResidualBlock, UpConv
from pointae.nn.sparse.neighbours import matches, neighbour_pairs
from pointae.optional import compiled_loops, is_installed
from pointae.threads import side_by_side
from pointae.voxels import Triple, VoxelBatch, pack_keys, to_dense, unpack_keys, voxelize

needs_spconv = pytest.mark.skipif(not is_installed("spconv"), reason="spconv is not installed")
needs_loops = pytest.mark.skipif(compiled_loops(*LOOPS)[0] is None, reason=compiled_loops(*LOOPS)[1])
COMPILED = pytest.param("torch, compiled loops", marks=needs_loops)
C_IN, C_MID, C_OUT = 3, 4, 2


@pytest.fixture(params=["torch alone", COMPILED, "dense", pytest.param("spconv", marks=needs_spconv)])
def engine(request, monkeypatch) -> str:
    """Every engine, and ``torch`` both ways."""
    return chosen(request.param, monkeypatch)


@pytest.fixture(params=["torch alone", COMPILED])
def torch_engine(request, monkeypatch) -> str:
    return chosen(request.param, monkeypatch)


@pytest.fixture
def torch_alone(monkeypatch) -> str:
    return chosen("torch alone", monkeypatch)


def chosen(name: str, monkeypatch) -> str:
    if name == "torch alone":
        monkeypatch.setattr("pointae.nn.loops.compiled_loops", lambda *_: (None, "torch alone"))
    return name.split()[0].strip(",")


def random_voxels(shape, batch_size, num_hits, seed=0, dtype=torch.float32) -> VoxelBatch:
    draw = torch.Generator().manual_seed(seed)
    coords = torch.stack([torch.randint(bins, (num_hits,), generator=draw) for bins in shape], 1).int()
    batch = torch.randint(max(batch_size, 1), (num_hits,), generator=draw)
    hits = HitBatch.from_batch_index(even_geometry(shape), coords, batch, batch_size)
    return voxelize(hits, torch.randn(num_hits, C_IN, generator=draw, dtype=dtype))[0]


@st.composite
def events(draw) -> tuple[VoxelBatch, Triple, Triple, Triple]:
    """Voxels of 1 to 400 events, some empty, often at borders, of hits that may share one; kernel, ratio, dilation."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    batch_size = draw(st.one_of(st.integers(1, 8), st.integers(9, 400)))
    along = [st.one_of(st.sampled_from([0, bins - 1]), st.integers(0, bins - 1)) for bins in shape]
    rows = draw(st.lists(st.tuples(st.integers(0, batch_size - 1), *along), max_size=60))
    cells = torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)
    hits = HitBatch.from_batch_index(even_geometry(shape), cells[:, 1:], cells[:, 0].long(), batch_size)
    features = torch.randn(len(rows), C_IN, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    kernel = draw(st.sampled_from([(3, 3, 3), (1, 1, 1), (1, 3, 5), (5, 1, 3)]))
    ratio = draw(st.sampled_from([(2, 2, 2), (1, 2, 3), (4, 1, 1), (3, 3, 4)]))
    dilation = draw(st.sampled_from([(1, 1, 1), (1, 1, 1), (2, 1, 3), (1, 2, 4)]))
    return voxelize(hits, features)[0], kernel, ratio, dilation


def weights(kernel, ratio, dtype=torch.float32) -> list[Tensor]:
    draw = torch.Generator().manual_seed(7)
    shapes = [(prod(kernel), C_IN, C_MID), (prod(ratio), C_MID, C_OUT), (prod(ratio), C_OUT, C_MID)]
    return [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]


def run(engine, voxels, kernel, ratio, dilation=(1, 1, 1)) -> list[Tensor]:
    """submanifold -> down -> up, then gradients of random projections with respect to all inputs."""
    level = build_levels(engine, voxels, [ratio], kernel, dilation)[0]
    return outputs_and_gradients(voxels, kernel, ratio, level.submanifold, level.down, level.up)


def outputs_and_gradients(voxels, kernel, ratio, submanifold, down, up) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in (voxels.features, *weights(kernel, ratio, voxels.features.dtype))]
    same = submanifold(leaves[0], leaves[1])
    coarse = down(same, leaves[2])
    fine = up(coarse, leaves[3])
    draw = torch.Generator().manual_seed(3)
    grads = [torch.randn(t.shape, generator=draw, dtype=t.dtype) for t in (same, coarse, fine)]
    torch.autograd.backward([same, coarse, fine], grads)
    return [same, coarse, fine, *(leaf.grad for leaf in leaves)]


def by_conv3d(voxels, kernel, ratio, dilation=(1, 1, 1)) -> list[Tensor]:
    """The same by convolutions of the whole grid, read at the occupied voxels."""
    indices, shape = voxels.indices, voxels.spatial_shape
    whole = [-(-bins // step) * step for bins, step in zip(shape, ratio, strict=True)]
    coarse = torch.unique(indices.div(indices.new_tensor([1, *ratio]), rounding_mode="floor"), dim=0)

    def volume(features: Tensor, indices: Tensor, shape) -> Tensor:
        return to_dense(VoxelBatch(indices, features, tuple(shape), voxels.batch_size))

    def at(volume: Tensor, indices: Tensor) -> Tensor:
        b, x, y, t = indices.long().unbind(1)
        return volume[b, :, x, y, t]

    def filters(weight: Tensor, size) -> Tensor:  # (K, C_in, C_out) -> conv3d's (C_out, C_in, x, y, t)
        return weight.view(*size, *weight.shape[1:]).permute(4, 3, 0, 1, 2)

    def submanifold(features: Tensor, weight: Tensor) -> Tensor:
        padding = [size // 2 * step for size, step in zip(kernel, dilation, strict=True)]
        dense = volume(features, indices, shape)
        return at(F.conv3d(dense, filters(weight, kernel), padding=padding, dilation=dilation), indices)

    def down(features: Tensor, weight: Tensor) -> Tensor:
        return at(F.conv3d(volume(features, indices, whole), filters(weight, ratio), stride=ratio), coarse)

    def up(features: Tensor, weight: Tensor) -> Tensor:
        dense = volume(features, coarse, [bins // step for bins, step in zip(whole, ratio, strict=True)])
        return at(F.conv_transpose3d(dense, filters(weight, ratio).transpose(0, 1), stride=ratio), indices)

    return outputs_and_gradients(voxels, kernel, ratio, submanifold, down, up)


def assert_agree(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        if a.numel():
            assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3, 3), (1, 1, 1)), ((1, 3, 5), (1, 2, 1))])
def test_equals_dense_convolutions_at_the_occupied_voxels(engine, kernel, dilation):
    ratio = (2, 3, 2)
    voxels = random_voxels((7, 6, 9), 3, 150)  # 7 and 9 leave a partial last voxel
    assert_agree(run(engine, voxels, kernel, ratio, dilation), by_conv3d(voxels, kernel, ratio, dilation))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=events())
def test_drawn_events_agree_with_dense_convolutions(engine, drawn):
    assert_agree(run(engine, *drawn), by_conv3d(*drawn))


def test_places_of_a_table_that_many_keys_share_hide_none(torch_alone, monkeypatch):
    monkeypatch.setattr("pointae.nn.sparse.neighbours.CELLS_A_VOXEL", 0)  # all keys in very few places
    voxels = random_voxels((5, 6, 7), 4, 300)
    assert_agree(run("torch", voxels, (3, 3, 3), (2, 2, 2)), by_conv3d(voxels, (3, 3, 3), (2, 2, 2)))


def test_maps_of_few_rows_each_give_what_one_map_does(torch_alone, monkeypatch):
    voxels = random_voxels((5, 6, 7), 4, 300)
    whole = run("torch", voxels, (3, 3, 3), (2, 2, 2))
    monkeypatch.setattr("pointae.nn.sparse.kernel_maps.PAIRS_A_MAP", 100)
    assert len(build_levels("torch", voxels)[0]._neighbours.to_targets) > 10
    assert_agree(run("torch", voxels, (3, 3, 3), (2, 2, 2)), whole)


@pytest.mark.parametrize("reduce", ["amax", "mean"])
def test_pooling_equals_that_of_the_hits_of_each_coarse_voxel(reduce):
    voxels = random_voxels((7, 6, 9), 3, 150)
    level, coarse = build_levels("torch", voxels, [(2, 3, 2)])
    pooled = level.pool(voxels.features, reduce)
    owner = voxels.indices.div(torch.tensor([1, 2, 3, 2]), rounding_mode="floor")
    for row, cell in zip(pooled, coarse.indices, strict=True):
        own = voxels.features[(owner == cell).all(1)]
        torch.testing.assert_close(row, own.amax(0) if reduce == "amax" else own.mean(0))
    none = random_voxels((5, 6, 7), 2, 0)
    assert build_levels("torch", none, [(2, 2, 2)])[0].pool(none.features, reduce).shape == (0, C_IN)


def test_dense_volumes_that_are_too_large_are_refused_before_they_are_made():
    voxels = random_voxels(torch_geometry().spatial_shape, 400, 12_000)
    with pytest.raises(DataError, match=r"400 events on 88 x 128 x 1000 voxels would need [\d.,]+ GB") as caught:
        run("dense", voxels, (3, 3, 3), (2, 2, 2))
    assert "engine 'torch'" in str(caught.value)


def test_a_dense_box_is_no_larger_than_its_voxels_need():
    far = random_voxels(torch_geometry().spatial_shape, 2, 40)
    cells = far.indices % torch.tensor([2, 3, 4, 5]) + torch.tensor([0, 80, 120, 990])  # a corner of 11 million cells
    cells = torch.unique(cells.int(), dim=0)
    voxels = VoxelBatch(cells, torch.randn(len(cells), C_IN), far.spatial_shape, 2)
    drawn = voxels, (3, 3, 3), (2, 2, 2)
    assert_agree(run("dense", *drawn), run("torch", *drawn))


def by_looking_up(voxels, kernel) -> Tensor:
    """Submanifold convolution voxel by voxel, its neighbours looked up in a dictionary."""
    rows = {tuple(cell): row for row, cell in enumerate(voxels.indices.tolist())}
    weight = weights(kernel, (1, 1, 1))[0]
    out = torch.zeros(len(rows), C_MID)
    steps = list(product(*[range(-(size // 2), size // 2 + 1) for size in kernel]))
    for (b, x, y, t), row in rows.items():
        for offset, (dx, dy, dt) in enumerate(steps):
            source = rows.get((b, x + dx, y + dy, t + dt))
            if source is not None:
                out[row] += voxels.features[source] @ weight[offset]
    return out


@needs_spconv
def test_engines_agree_at_batch_400_on_the_full_grid():
    voxels = random_voxels(torch_geometry().spatial_shape, 400, 12_000)
    shape = voxels.spatial_shape
    # 400 x 11,264,000 cells are beyond 2^32: the neighbours of these cells of event 0, counted
    # modulo 2^32, are cells of event 381, and an unguarded spconv would join them.
    cells = torch.tensor([[0, x, 0, t] for x in (0, 1) for t in (0, 1, 500, 998, 999)])
    aliases = pack_keys(cells, shape) + 2**32 + 1
    keys = torch.unique(torch.cat([pack_keys(voxels.indices, shape), pack_keys(cells, shape), aliases]))
    voxels = VoxelBatch(unpack_keys(keys, shape), torch.randn(len(keys), C_IN), shape, 400)
    kernel, ratio = (3, 3, 3), (2, 2, 4)
    together = run("spconv", voxels, kernel, ratio)
    assert_agree(together, run("torch", voxels, kernel, ratio))
    assert_agree([by_looking_up(voxels, kernel)], together[:1])
    for engine in ("spconv", "torch"):
        alone = []
        for event in range(400):
            rows = voxels.indices[:, 0] == event
            own = voxels.indices[rows] - torch.tensor([event, 0, 0, 0], dtype=torch.int32)
            level = build_levels(engine, VoxelBatch(own, voxels.features[rows], voxels.spatial_shape, 1), [ratio])[0]
            w_same, w_down, _ = weights(kernel, ratio)
            alone.append(level.down(level.submanifold(voxels.features[rows], w_same), w_down))
        assert_agree([torch.cat(alone)], [together[1]])


@needs_spconv
def test_spconv_refuses_an_event_beyond_int32():
    voxels = random_voxels((2048, 2048, 1024), 1, 5)
    with pytest.raises(ComponentError, match="engine 'torch'"):
        run("spconv", voxels, (3, 3, 3), (2, 2, 2))
    run("torch", voxels, (3, 3, 3), (2, 2, 2))


@pytest.mark.parametrize("batch_size", [0, 4])
def test_no_voxels(engine, batch_size):
    results = run(engine, random_voxels((5, 6, 7), batch_size, 0), (3, 3, 3), (2, 2, 2))
    assert [len(result) for result in results[:4]] == [0, 0, 0, 0]
    assert all(not grad.any() for grad in results[4:])


def test_layers_and_bfloat16_autocast(engine):
    voxels = random_voxels((6, 6, 6), 2, 80)
    levels = build_levels(engine, voxels, [(2, 2, 2)])
    block, down, up = ResidualBlock(C_IN), DownConv(C_IN, 5, (2, 2, 2)), UpConv(5, C_IN, (2, 2, 2))

    def forward() -> Tensor:
        h = block(voxels.features, levels[0])
        return up(down(h, levels[0]), levels[0])

    exact = forward()
    with torch.autocast("cpu", torch.bfloat16):
        rough = forward()
    rough.float().square().sum().backward()
    assert (exact - rough).abs().max() < 0.05 * exact.abs().max()
    assert all(torch.isfinite(p.grad).all() for p in down.parameters())


def test_neighbour_pairs_equal_a_search_of_all_pairs(torch_engine):
    kernel = (3, 5, 3)
    voxels = random_voxels((4, 5, 6), 3, 120)
    place = voxels.indices.long()
    step = place[None] - place[:, None]  # (target, source, [batch, x, y, t])
    half = torch.tensor([0, 1, 2, 1])
    near = (step.abs() <= half).all(-1) & (step != 0).any(-1)
    target, source = near.nonzero(as_tuple=True)
    kx, ky, kt = (step[target, source] + half)[:, 1:].unbind(1)
    expected = torch.stack([(kx * kernel[1] + ky) * kernel[2] + kt, target, source], 1)
    offset, found_source, found_target = neighbour_pairs(voxels.indices, voxels.spatial_shape, kernel)
    found = torch.stack([offset, found_target, found_source], 1)
    assert sorted(found.tolist()) == sorted(expected.tolist())
    assert not (offset.diff() < 0).any()
    assert torch.equal(found_source.flip(0), found_target)
    assert torch.equal(prod(kernel) - 1 - offset.flip(0), offset)


def test_kernel_map_is_small_however_uneven_the_offsets():
    line = torch.stack([torch.zeros(500), torch.zeros(500), torch.zeros(500), torch.arange(500)], 1).int()
    voxels = random_voxels((9, 9, 500), 1, 300)
    indices = torch.unique(torch.cat([line, voxels.indices]), dim=0)
    pairs = neighbour_pairs(indices, (9, 9, 500), (3, 3, 3))
    kernel_map = KernelMap.build(*pairs, 27, len(indices), len(indices))
    assert len(pairs[0]) <= kernel_map.inputs.num_slots <= 3 * len(pairs[0])


def test_torch_engine_passes_gradcheck_and_repeats_itself(torch_engine):
    voxels = random_voxels((4, 4, 4), 2, 40, dtype=torch.float64)
    level = build_levels("torch", voxels, [(2, 2, 2)])[0]
    inputs = [t.clone().requires_grad_() for t in (voxels.features, *weights((3, 3, 3), (2, 2, 2), torch.float64))]
    assert torch.autograd.gradcheck(
        lambda f, a, b, c: level.up(level.down(level.submanifold(f, a), b), c), inputs, fast_mode=True
    )
    first, second = (run("torch", voxels, (3, 3, 3), (2, 2, 2)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_engines_by_name(monkeypatch):
    assert resolve_engine("torch")[0] == "torch"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolve_engine("auto") == ("torch", f"auto: no CUDA device; {compiled_loops(*LOOPS)[1]}")
    with pytest.raises(ConfigError, match=r"unknown sparse engine 'spcnv' .*did you mean 'spconv'"):
        resolve_engine("spcnv")
    monkeypatch.setattr("pointae.optional.is_installed", lambda module: False)
    with pytest.raises(ComponentError) as caught:
        resolve_engine("spconv")
    assert caught.value.exit_code == 7
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    engine, reason = resolve_engine("auto")
    assert engine == "torch"
    assert "not installed" in reason


def test_wrong_levels_are_refused():
    voxels = random_voxels((4, 4, 4), 1, 9)
    with pytest.raises(ConfigError, match="odd sizes"):
        build_levels("torch", voxels, kernel_size=(2, 3, 3))
    with pytest.raises(ConfigError, match="unknown sparse engine"):
        build_levels("auto", voxels)
    with pytest.raises(ConfigError, match="no coarser"):
        build_levels("torch", voxels)[0].down(voxels.features, torch.ones(8, C_IN, 1))
    assert set(ENGINES) == {"torch", "spconv", "dense"}


@needs_loops
def test_compiled_loops_give_the_same_numbers_whatever_the_threads(monkeypatch):
    voxels = random_voxels((7, 6, 9), 3, 300)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run("torch", voxels, (3, 3, 3), (2, 3, 2))
        monkeypatch.setattr("pointae.threads.WORTH", 1)  # also these few pairs are shared out
        torch.set_num_threads(3)
        together = run("torch", voxels, (3, 3, 3), (2, 3, 2))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_an_error_in_a_part_is_told_and_no_part_is_left_out(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    done: list[int] = []
    side_by_side(done.append, 20)
    assert sorted(done) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda part: 1 // (part - 7), 20)
    side_by_side(done.append, 0)
    assert len(done) == 20


@needs_loops
def test_matches_are_those_of_torch_alone(torch_alone, monkeypatch):
    keys = torch.unique(torch.randint(2000, (500,), generator=torch.Generator().manual_seed(1)))
    steps = torch.tensor([1, 2, 7, 500, 5000])
    by_torch = matches(keys, steps)
    monkeypatch.undo()
    assert all(torch.equal(a, b) for a, b in zip(matches(keys, steps), by_torch, strict=True))
    assert len(by_torch[0]) > 100


@pytest.fixture
def asked_anew():
    compiled_loops.cache_clear()
    yield
    compiled_loops.cache_clear()


def test_without_numba_torch_computes_alone_and_says_so(asked_anew, monkeypatch):
    monkeypatch.setattr("pointae.optional.is_installed", lambda module: module != "numba")
    told = "no compiled loops: numba is not installed (pip install -e '.[fast]' in pointae's folder)"
    assert resolve_engine("torch")[1] == f"named in the settings; {told}"
    assert isinstance(build_levels("torch", random_voxels((5, 6, 7), 2, 9))[0]._neighbours, Blocks)


@needs_loops
def test_numba_told_not_to_compile_is_as_good_as_none(asked_anew, monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert resolve_engine("torch")[1].endswith("no compiled loops: NUMBA_DISABLE_JIT is set")
    assert isinstance(build_levels("torch", random_voxels((5, 6, 7), 2, 9))[0]._neighbours, Blocks)


@pytest.mark.parametrize("num_hits", [0, 60])
def test_a_bias_is_added_to_every_row(engine, num_hits):
    voxels = random_voxels((7, 6, 9), 3, num_hits)
    level = build_levels(engine, voxels, [(2, 3, 2)])[0]
    same, down, up = weights((3, 3, 3), (2, 3, 2))
    fine = level.submanifold(voxels.features, same)
    for convolve, rows, weight in ((level.submanifold, voxels.features, same), (level.down, fine, down)):
        bias = torch.randn(weight.shape[2], requires_grad=True)
        out = convolve(rows, weight, bias)
        torch.testing.assert_close(out, convolve(rows, weight) + bias)
        grad = torch.randn_like(out)
        torch.testing.assert_close(torch.autograd.grad(out, bias, grad)[0], grad.sum(0))
    coarse, bias = level.down(fine, down), torch.randn(C_MID)
    torch.testing.assert_close(level.up(coarse, up, bias), level.up(coarse, up) + bias)


def test_a_bias_keeps_its_type_under_autocast(torch_engine):
    voxels = random_voxels((7, 6, 9), 3, 60)
    level, (same, _, _), bias = build_levels("torch", voxels)[0], weights((3, 3, 3), (1, 1, 1)), torch.randn(C_MID)
    with torch.autocast("cpu", torch.bfloat16):
        half = level.submanifold(voxels.features, same)
        assert half.dtype == torch.bfloat16
        assert torch.equal(level.submanifold(voxels.features, same, bias), half + bias)
