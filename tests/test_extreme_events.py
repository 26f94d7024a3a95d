"""Events of few hits, of very many, and of hits in one place: by every network, with and without compiled loops."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from events import random_hits
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_shipped_configs import SHIPPED
from torch import nn

from pointae.config_files import load_config
from pointae.data.events import Batch, EventData
from pointae.errors import DataError
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.inference import Denoiser, denoise_file
from pointae.io import hits_of_events, read_hits, write_hits
from pointae.nn import edgeconv, outputs
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from pointae.nn.outputs import PointSet
from pointae.shipped import shipped_names
from pointae.tracking import posterior
from pointae.training.objective import make_loss
from pointae.training.session import build_model, train_run

CASE = Path("tests/data/cases/single_hit_event.csv")
LAST = [bins - 1 for bins in torch_geometry().spatial_shape]
DISPATCHED = [
    *(f"pointae.tracking.{name}" for name in ("fit", "hough", "density")),
    *(f"pointae.nn.{name}" for name in ("embedding", "sparse.neighbours", "sparse.whole_block", "sparse.rows")),
    "pointae.nn.sparse.torch_engine",
]
EVENTS = {
    "no hits": [],
    "one hit": [[44, 77, 970]],
    "two hits": [[44, 77, 970], [3, 1, 20]],
    "five hits": [[44, 77, 970], [3, 1, 20], [87, 127, 999], [40, 60, 500], [40, 60, 500]],
    "one cell": [[44, 77, 970]] * 60,
    "first cell": [[0, 0, 0]] * 60,
    "last cell": [LAST] * 60,
    "first cell alone": [[0, 0, 0]],
    "last cell alone": [LAST],
    "one time": [[number, number, 999] for number in range(80)],
    "one column": [[87, row, 300] for row in range(128)],
    "one pixel": [[10, 10, 12 * number] for number in range(80)],
    "an edge, twice": [[0, row, 0] for row in range(40)] * 2,
}


def event_of(cells: list[list[int]]) -> HitBatch:
    coords = torch.tensor(cells, dtype=torch.int32).reshape(-1, 3)
    return HitBatch(torch_geometry(), coords, torch.tensor([0, len(coords)]))


EXTREME = HitBatch.concat([event_of(cells) for cells in EVENTS.values()])
shipped = cache(lambda name: Denoiser.open(name, "cpu"))


@pytest.fixture(params=["compiled", pytest.param("torch alone", marks=pytest.mark.slow)])
def loops(request, monkeypatch):
    """With compiled loops, and as where numba cannot be used."""
    if request.param == "torch alone":
        for name in DISPATCHED:
            monkeypatch.setattr(import_module(name), "loops_for", lambda *_: None)
    return request.param


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_networks_score_extreme_events(name, loops):
    scores = shipped(name)(EXTREME).score
    assert scores.shape == (EXTREME.num_hits,)
    assert ((scores >= 0) & (scores <= 1)).all()  # false for nan


@pytest.mark.parametrize("name", shipped_names())
@hypothesis_settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 999), st.booleans())
def test_shipped_networks_score_events_of_few_hits(name, sizes, seed, in_one_place):
    hits = random_hits(sizes, seed=seed)
    if in_one_place and hits.num_hits:
        hits = hits.replace(coords=hits.coords[:1].expand(hits.num_hits, -1).contiguous())
    scores = shipped(name)(hits).score
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_names())
def test_shipped_networks_score_many_events_of_few_hits(name, loops):
    scores = shipped(name)(random_hits([0, 1, 1, 2, 3, 4, 5] * 20, seed=1)).score
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("name", [name for name in shipped_names() if name != "torch-base"])
def test_an_extreme_event_among_others_is_as_alone(name):
    alone = torch.cat([shipped(name)(EXTREME.events([event])).score for event in range(EXTREME.batch_size)])
    assert torch.allclose(shipped(name)(EXTREME).score, alone, atol=1e-4)


def test_an_event_of_one_hit_takes_no_other_with_it(tmp_path):
    out = tmp_path / "clean.csv"
    report = denoise_file(shipped("torch-base"), CASE, out)
    assert (report.events, report.hits) == (11, read_hits(CASE).num_hits)
    clean = read_hits(out)
    assert clean.counts.tolist() == read_hits(CASE).counts.tolist()
    assert 1 in clean.counts.tolist()
    assert torch.isfinite(clean.score).all()


def test_without_compiled_loops_the_track_fit_scores_events_of_one_hit(monkeypatch):
    for name in DISPATCHED:
        monkeypatch.setattr(import_module(name), "loops_for", lambda *_: None)
    few = HitBatch.concat([event_of(EVENTS[name]) for name in ("no hits", "one hit", "first cell alone")])
    scores = shipped("torch-base")(few).score
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=pytest.mark.slow if "robots" in path.parts or "full_pattern_dense" in path.stem else ()
        )
        for path in SHIPPED
    ],
    ids=str,
)
def test_every_config_scores_and_learns_from_extreme_events(path, loops):
    """Finite, in both modes, and with a batch of one event."""
    config = load_config(path)
    if config.data.source.kind == "robots":
        config = load_config(path, ["data.source.robots=100"])
    if config.model.encoder.name == "track_fit":  # the second pass is as all that follow
        config = load_config(path, ["model.encoder.passes=2"])
    data = EventData(config.data, config.seed)
    model = build_model(config, data)
    loss = make_loss(config.train, False, data.category_counts())
    for batch in _batches(data):
        model.train().zero_grad()
        value = loss(model(batch.hits), batch)
        value.backward()
        assert torch.isfinite(value)
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
        with torch.no_grad():
            assert torch.isfinite(model.eval()(batch.hits).output.hit_logits(batch.hits)).all()


def _batches(data: EventData) -> list[Batch]:
    made = next(data.batches("train", 8)).hits
    if made.category is not None:  # robots
        chosen = [
            made,
            made.events([0]),
            made.select(made.local_index() < 2),
            made.events([1]).select(made.events([1]).local_index() < 1),
        ]
    else:
        last = torch.tensor(data.geometry.spatial_shape, dtype=torch.int32) - 1
        few = made.select(made.local_index() < (made.batch % 6))
        chosen = [few, few.events([1]), few.events([0]), few.replace(coords=few.coords * 0), made.events([2])]
        chosen += [few.replace(coords=last.expand(few.num_hits, -1).contiguous())]
    return [Batch(hits, hits if hits.signal is None else hits.select(hits.signal)) for hits in chosen]


def test_a_guess_of_no_track_is_within_reach_and_a_covariance_that_is_none_becomes_the_priors():
    broken = torch.stack([torch.eye(5), torch.full((5, 5), torch.nan), -torch.eye(5)]).double()
    assert torch.equal(posterior._inverse(broken), torch.eye(5).double().expand(3, -1, -1))
    # A hundred thousand hits in one place, summed in single precision: less than the prior is left of one direction.
    direction = torch.tensor([1.0, -2.0, 3.0, 1.0, 0.5]).double()
    lost = 1e7 * torch.outer(direction, direction) + torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, -0.5])).double()
    covariance = posterior._inverse(lost)
    assert torch.linalg.eigvalsh(covariance).min() > 0
    whole = torch.eye(5).double() + torch.outer(direction, direction)
    assert torch.allclose(posterior._inverse(whole), torch.linalg.inv(whole))


def test_nearest_hits_by_parts_are_those_at_once(monkeypatch):
    hits = random_hits([40, 0, 1, 17, 3], seed=2)
    unit = torch_geometry().unit_positions(hits.pos)
    whole = edgeconv.nearest_hits(unit, hits, 4)
    monkeypatch.setattr(edgeconv, "_PAIRS_AT_ONCE", 5 * 40 * 7)
    assert torch.equal(edgeconv.nearest_hits(unit, hits, 4), whole)


# ---- many hits -----------------------------------------------------------------------------------


def limited(path: str = "configs/torch/attention_point.yaml", most: int = 30) -> Denoiser:
    """An untrained network that takes few hits an event."""
    config = load_config(path, ["model.encoder.channels=16", f"model.encoder.max_hits={most}"])
    model = Autoencoder(config.model, torch_geometry()).eval()
    denoiser = shipped("torch-small")
    return Denoiser(
        model, config, denoiser.geometry, (), 0.5, {}, denoiser.precision, denoiser.source
    )  # fmt: skip


def test_an_event_of_too_many_hits_is_refused_by_name_before_any_work(monkeypatch, tmp_path):
    denoiser, hits = limited(), random_hits([5, 30, 31, 2]).replace(signal=None)
    monkeypatch.setattr(denoiser.model.encoder, "forward", lambda _: pytest.fail("worked"))
    with pytest.raises(DataError, match=r"event 2 has 31 hits, attention takes at most 30 .*torch-small") as error:
        denoiser(hits)
    assert error.value.exit_code == 3
    named = hits.replace(event_id=("a", "b", "of July", "d"))
    write_hits(tmp_path / "hits.h5", named)
    with pytest.raises(DataError, match=r"hits\.h5: event of July has 31 hits"):
        denoise_file(denoiser, tmp_path / "hits.h5", tmp_path / "clean.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["hits.h5"]


def test_an_event_of_too_many_hits_is_left_out_where_bad_ones_are(tmp_path):
    hits = random_hits([5, 30, 31, 2]).replace(signal=None)
    write_hits(tmp_path / "hits.h5", hits)
    report = denoise_file(limited(), tmp_path / "hits.h5", tmp_path / "clean.h5", options={"on_bad": "skip"})
    assert report.notes == ["1 event was left out: more than 30 hits"]
    clean = read_hits(tmp_path / "clean.h5")
    assert torch.equal(clean.coords, hits.events([0, 1, 3]).coords)
    assert clean.counts.tolist() == [5, 30, 2]


def test_the_track_fit_takes_no_more_than_its_finder_and_states_its_own_limit():
    assert shipped("torch-base").model.max_hits == 20_000
    assert shipped("torch-small").model.max_hits is None
    with pytest.raises(DataError, match="event 1 has 20,001 hits, track_fit takes at most 20,000"):
        shipped("torch-base")(random_hits([3, 20_001]))


def test_without_compiled_loops_the_track_fit_takes_fewer_and_says_what_to_install(monkeypatch):
    denoiser = shipped("torch-base")
    monkeypatch.setattr("pointae.nn.track_fit.loops_for", lambda *_: None)
    monkeypatch.setattr(denoiser.model.encoder, "forward", lambda _: pytest.fail("worked"))
    with pytest.raises(
        DataError, match=r"event 1 has 2,001 hits, track_fit takes at most 2,000 .*pip install -e"
    ) as error:
        denoiser(random_hits([3, 2001]))
    assert "20,000 hits" in str(error.value)
    assert "--on-bad skip" in str(error.value)


@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_a_large_event_at_the_end_of_a_file_is_refused_before_the_first_is_denoised(ending, monkeypatch, tmp_path):
    hits = random_hits([5] * 2500 + [31]).replace(signal=None)  # more than a block
    write_hits(tmp_path / f"hits.{ending}", hits)
    denoiser = limited()
    monkeypatch.setattr(denoiser.model.encoder, "forward", lambda _: pytest.fail("worked"))
    with pytest.raises(DataError, match=rf"hits\.{ending}: event 2500 has 31 hits"):
        denoise_file(denoiser, tmp_path / f"hits.{ending}", tmp_path / "clean.h5")
    assert [file.name for file in tmp_path.iterdir()] == [f"hits.{ending}"]


def test_an_event_that_is_small_once_its_duplicates_are_merged_is_no_large_one(tmp_path):
    hits = event_of([[44, 77, 970]] * 40 + [[3, 1, 20]])
    write_hits(tmp_path / "hits.h5", hits)
    assert hits_of_events(tmp_path / "hits.h5").tolist() == [41]
    report = denoise_file(limited(), tmp_path / "hits.h5", tmp_path / "clean.h5", options={"duplicates": "merge"})
    assert (report.events, report.hits) == (1, 2)


def test_points_speak_for_hits_in_bounded_memory(monkeypatch):
    hits, points = random_hits([40, 0, 1, 17, 3], seed=2), torch.rand(5, 7, 3) * 50
    made = PointSet(points, torch.randn(5, 7), torch.zeros(5, 7, 0), torch.tensor([16.0, 16.0, 1.0]))
    square = ((hits.pos[:, None] - points[hits.batch]) / made.reach).square().sum(2)
    wanted = (made.presence[hits.batch] - square / 2).amax(1)
    for pairs in (1, 100, 1 << 22):
        monkeypatch.setattr(outputs, "_PAIRS", pairs)
        assert torch.allclose(made.hit_logits(hits), wanted, rtol=1e-4, atol=1e-3)


def test_a_training_on_files_refuses_an_event_of_too_many_hits_before_it_starts(tmp_path):
    write_hits(tmp_path / "hits.h5", random_hits([5] * 20 + [31]))
    config = load_config(
        "configs/torch/attention_point.yaml",
        ["data.source={kind: files, paths: [" + str(tmp_path / "hits.h5") + "]}", "model.encoder.max_hits=30"],
    )
    with pytest.raises(DataError, match="event 20 has 31 hits"):
        train_run(config, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("in_one_cell", [False, True])
@pytest.mark.parametrize("network", ["torch-small", "torch-finder", "pointnet_point", "sparse_point", "dense3d_point"])
def test_a_hundred_thousand_hits_in_an_event(network, in_one_cell):
    denoiser = shipped("torch-small")
    if not network.startswith("torch-"):
        config = load_config(f"configs/torch/{network}.yaml")
        model = Autoencoder(config.model, torch_geometry()).eval()
        denoiser = Denoiser(model, config, denoiser.geometry, (), 0.5, {}, denoiser.precision, denoiser.source)
    hits = random_hits([100_000])
    if in_one_cell:
        hits = hits.replace(coords=hits.coords[:1].expand(hits.num_hits, -1).contiguous())
    assert torch.isfinite(denoiser(hits).score).all()


@pytest.mark.slow
@pytest.mark.parametrize("in_one_cell", [False, True])
def test_the_track_fit_at_its_limit(in_one_cell):
    hits = random_hits([20_000])
    if in_one_cell:
        hits = hits.replace(coords=hits.coords[:1].expand(hits.num_hits, -1).contiguous())
    assert torch.isfinite(shipped("torch-base")(hits).score).all()


# ---- a last batch of one event -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norm", "shape"), [(BatchNorm1d, ()), (BatchNorm2d, (1, 1)), (BatchNorm2d, (2, 3)), (BatchNorm3d, (1, 1, 1))]
)
def test_batch_normalisation_of_one_value_is_by_running_statistics(norm, shape):
    layer = norm(4).train()
    many = torch.randn(9, 4, *shape)
    layer(many)
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    for events in (0, 1):
        alone = layer(many[:events])
        if events * math.prod(shape) <= 1:
            own = (1, 4, *[1] * len(shape))
            assert torch.allclose(alone, (many[:events] - mean.view(own)) / (var.view(own) + layer.eps).sqrt())
            assert torch.equal(layer.running_mean, mean)
            assert torch.equal(layer.running_var, var)
    plain = getattr(nn, norm.__name__)(4).train()
    assert torch.equal(norm(4).train()(many), plain(many))


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("configs/torch/dense2d.yaml", ["model.encoder.channels=[2, 3, 4]", "model.encoder.hidden=8",
                                        "model.decoder.channels=[4, 3, 2]", "model.decoder.hidden=8",
                                        "data.events={train: 9, validation: 1, test: 1}"]),
        pytest.param("configs/robots/batch_norm.yaml", ["data.source.robots=14"], marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_last_batch_of_one_event_trains(path, changes, tmp_path):
    more = ["train.epochs=1", "train.batch_size=8", "train.precision=fp32", "evaluate.pictures=0"]
    config = load_config(path, [*changes, *more])
    data = EventData(config.data, config.seed)
    assert [batch.hits.batch_size for batch in data.batches("train", 8)] == [8, 1]
    run = train_run(config, tmp_path)
    assert run.record.status == "finished"
