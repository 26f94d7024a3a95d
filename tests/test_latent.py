"""Latent spaces: codes, planes, clusters and walks beside slow truths; every table and picture of a small run."""

import csv
import json
import math
import re
import runpy

import numpy as np
import pytest
import torch

from pointae import optional
from pointae.analysis.latent.clusters import cluster, distances, elbow, silhouette
from pointae.analysis.latent.codes import decode, event_names, meanings, posterior_means
from pointae.analysis.latent.projection import project
from pointae.analysis.latent.report import Questions, analyse
from pointae.analysis.latent.walks import between, judged_samples, nearest, prior_codes
from pointae.config import Config
from pointae.config_files import load_config
from pointae.data.events import EventData
from pointae.errors import CheckpointError, ComponentError, UsageError
from pointae.geometry import robot_geometry
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.recover import generated_pattern
from pointae.robots import robot_codes
from pointae.training.session import train_run
from visual.pages.latent import page_content

ROBOTS = {
    "name": "robots",
    "data": {
        "source": {"kind": "robots", "robots": 220}, "target": "full",
        "shares": {"train": 0.7, "validation": 0.1, "test": 0.2},
    },
    "model": {
        "encoder": {"name": "pointnet", "channels": 8, "rounds": 1},
        "latent": {"name": "variational", "size": 3},
        "decoder": {"name": "point_set", "slots": 8, "hidden": 16, "categories": 4},
    },
    "train": {"epochs": 1, "loss": {"name": "set"}, "threads": 1, "device": "cpu"},
}  # fmt: skip


def robots(*events: list[tuple[int, int, int, int]]) -> HitBatch:
    """Robots of voxels ``(x, y, z, category)``."""
    voxels = torch.tensor([voxel for event in events for voxel in event], dtype=torch.int32).reshape(-1, 4)
    offsets = torch.tensor([0, *(len(event) for event in events)]).cumsum(0)
    return HitBatch(robot_geometry(), voxels[:, :3].contiguous(), offsets, category=voxels[:, 3].to(torch.int8))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_run(Config.model_validate(ROBOTS), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def denoiser(run) -> Denoiser:
    return Denoiser.open(run.path)


@pytest.fixture(scope="module")
def hits(denoiser) -> HitBatch:
    return EventData(denoiser.config.data, denoiser.config.seed).all_events("validation").hits


# ---- codes ---------------------------------------------------------------------------------------------


def test_codes_are_posterior_means_event_by_event(denoiser, hits):
    codes = posterior_means(denoiser, hits)
    assert codes.shape == (22, 3)
    with torch.no_grad():
        alone = [denoiser.model(hits.events([event])).latent.mean[0].numpy() for event in range(22)]
    np.testing.assert_allclose(codes, np.stack(alone), atol=1e-5)
    assert (codes == posterior_means(denoiser, hits)).all()  # nothing is drawn


def test_a_decoded_mean_is_the_reconstruction(denoiser, hits):
    made = decode(denoiser, posterior_means(denoiser, hits))
    (_, prediction), *_ = denoiser.predictions(hits)
    truth = generated_pattern(prediction.output, denoiser.geometry)
    assert made.batch_size == 22
    assert torch.equal(made.offsets, truth.offsets)
    assert torch.equal(made.coords, truth.coords)
    assert torch.equal(made.category, truth.category)


def test_no_events_have_no_codes_and_an_empty_event_has_one(denoiser):
    assert posterior_means(denoiser, robots()).shape == (0, 3)
    assert decode(denoiser, np.zeros((0, 3))).batch_size == 0
    assert np.isfinite(posterior_means(denoiser, robots([], [(5, 5, 5, 1)]))).all()


def test_meanings_of_robots():
    one = robots([(5, 5, 5, 2), (4, 5, 5, 1), (6, 5, 5, 1)], [(5, 5, 5, 4), (6, 5, 5, 3)], [])
    category, size, symmetry = meanings(one, robots=True)
    assert category.values.tolist() == ["wheel", "joint", "none"]  # of equally common ones the first
    assert category.labels == ("wheel", "sensor", "joint", "caster", "none")
    assert size.values.tolist() == [3, 2, 0]
    assert symmetry.values.tolist() == ["symmetric", "not symmetric", "symmetric"]
    plain = HitBatch(one.geometry, one.coords, one.offsets)
    assert [meaning.name for meaning in meanings(plain, robots=False)] == ["size"]


def test_events_are_called_as_their_user_calls_them():
    one = robots([], [], [])
    assert event_names(one) == ["0", "1", "2"]
    assert event_names(one.replace(event_id=("a", "b", "a"))) == ["a (0)", "b", "a (2)"]
    assert event_names(one.replace(event_id=torch.tensor([7, 3, 9]))) == ["7", "3", "9"]


# ---- planes and clusters ---------------------------------------------------------------------------------


def test_pca_is_fitted_on_training_codes_alone():
    train, validation = np.random.default_rng(0).normal(size=(2, 50, 4)) * [5, 2, 1, 0.1]
    found = project("pca", train, validation, seed=1)
    centred = train - train.mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    for i in range(2):
        truth = (validation - train.mean(0)) @ directions[i]
        assert min(abs(found.validation[:, i] - truth).max(), abs(found.validation[:, i] + truth).max()) < 1e-9
    share = values[0] ** 2 / (values**2).sum()
    assert found.axes[0] == f"component 1 ({100 * share:.0f} % of variance)"
    assert (project("pca", train, validation[:0], seed=1).train == found.train).all()
    flat = project("pca", train[:, :1], validation[:, :1], seed=1)
    assert (flat.train[:, 1] == 0).all()


@pytest.mark.slow
def test_umap_is_seeded_and_fitted_on_training_codes_alone():
    pytest.importorskip("umap")
    train, validation = np.random.default_rng(0).normal(size=(2, 60, 4))
    train[:30] += 20
    found, again = (project("umap", train, part, seed=3) for part in (validation, validation[:5]))
    assert (found.train == again.train).all()
    assert found.validation.shape == (60, 2)
    halves = found.train[:30].mean(0) - found.train[30:].mean(0)
    assert np.linalg.norm(halves) > 3 * found.train[:30].std(0).max()


def test_umap_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setattr(optional, "is_installed", lambda name: name != "umap")
    with pytest.raises(ComponentError, match=r"umap is not installed \(pip install -e '.\[latent\]'") as caught:
        project("umap", np.zeros((9, 2)), np.zeros((1, 2)), seed=1)
    assert caught.value.exit_code == 7


def test_clusters_that_are_there_are_found():
    draw = np.random.default_rng(1)
    centres = np.array([[0, 0, 9], [9, 0, 0], [0, 9, 0], [9, 9, 9]])
    truth = draw.integers(0, 4, 120)
    codes = centres[truth] + draw.normal(size=(120, 3)) * 0.3
    found = cluster(codes[:80], codes[80:], (codes[:80, :2], codes[80:, :2]), seed=1)
    assert found.elbow == found.chosen == 4
    by_count = {row["clusters"]: row for row in found.rows}
    assert max(by_count, key=lambda count: by_count[count]["silhouette"]) == 4
    assert by_count[4]["silhouette"] > 0.9
    assert by_count[4]["inertia"] == pytest.approx(3 * 0.09, rel=0.3)
    pairs = [(a, b) for a in range(40) for b in range(40)]
    same = found.labels[:, None] == found.labels
    assert all(same[a, b] == (truth[80 + a] == truth[80 + b]) for a, b in pairs)
    assert cluster(codes[:80], codes[80:], (codes[:80, :2], codes[80:, :2]), seed=1, chosen=3).chosen == 3


def test_the_elbow_is_where_the_curve_bends():
    assert elbow([2, 3, 4, 5, 6], [10.0, 6.0, 2.0, 1.5, 1.0]) == 4
    assert elbow([2, 3, 4], [1.0, 1.0, 1.0]) == 2
    assert elbow([2], [1.0]) == 2


def test_distances_leave_out_an_event_and_itself():
    codes = np.random.default_rng(2).normal(size=(7, 3))
    truth = [np.linalg.norm(codes[a] - codes[b]) for a in range(7) for b in range(7) if a != b]
    assert distances(codes) == pytest.approx((np.mean(truth), np.std(truth)))
    assert all(math.isnan(value) for value in distances(codes[:1]))
    assert math.isnan(silhouette(codes, np.zeros(7, int)))


# ---- walks -------------------------------------------------------------------------------------------------


def test_nearest_is_by_distance_then_by_order():
    codes = np.array([[3.0, 0], [1, 0], [0, 1], [-1, 0], [9, 9]])
    found, distance = nearest(codes, np.zeros(2), 4)
    assert found.tolist() == [1, 2, 3, 0]
    assert distance.tolist() == [1, 1, 1, 3]
    assert len(nearest(codes, np.zeros(2), 10)[0]) == 5


def test_an_interpolation_ends_at_both_reconstructions(denoiser, hits):
    codes = posterior_means(denoiser, hits)
    walk = between(codes[4], codes[9], 5)
    assert (walk[0] == codes[4]).all()
    assert (walk[-1] == codes[9]).all()
    np.testing.assert_allclose(walk[2], (codes[4] + codes[9]) / 2)
    made, ends = decode(denoiser, walk), decode(denoiser, codes[[4, 9]])
    for step, end in ((0, 0), (4, 1)):
        assert torch.equal(robot_codes(made.events([step])), robot_codes(ends.events([end])))


def test_prior_codes_are_standard_normal_and_their_own():
    codes = prior_codes(4000, 3, seed=5)
    assert (codes[:10] == prior_codes(10, 3, seed=5)).all()
    assert (codes[:10] != prior_codes(10, 3, seed=6)).all()
    assert np.abs(codes.mean(0)).max() < 0.06
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=0.08)


def test_samples_are_judged_against_what_was_trained_on():
    known = robots([(5, 5, 5, 1), (6, 5, 5, 2)], [(5, 5, 5, 3)])
    drawn = robots(
        [(6, 5, 5, 2), (5, 5, 5, 1)],  # known, its voxels in another order
        [(5, 5, 5, 1), (6, 5, 5, 1)],  # new
        [(5, 5, 5, 1), (6, 5, 5, 1)],  # the same again
        [(5, 5, 5, 1), (10, 10, 10, 1)],  # out of reach
        [],
    )
    samples = judged_samples(drawn, known)
    assert samples.valid.tolist() == [True, True, True, False, False]
    assert samples.novel.tolist() == [False, True, True, True, True]
    assert samples.first.tolist() == [True, True, False, True, True]
    assert samples.shares() == {
        "samples": 5, "valid": 0.6, "novel_of_valid": pytest.approx(2 / 3), "different_of_valid": pytest.approx(2 / 3),
    }  # fmt: skip
    assert judged_samples(robots(), known).shares()["valid"] == 0


# ---- the whole ---------------------------------------------------------------------------------------------


def test_the_tool_writes_every_table_and_picture(run, capsys):
    main = runpy.run_path("tools/latent.py")["main"]
    main([str(run.path), "--projections", "pca", "--samples", "12", "--events", "2", "--steps", "3", "--skip", "1",
          "--between", "2", "3", "--neighbours-of", "1", "--clusters", "3"])  # fmt: skip
    told = capsys.readouterr().out
    assert re.search(r"clusters \(KMeans\) +3", told)
    assert re.search(r"of them robots that can be +\d", told)
    names = {path.name for path in run.latent.iterdir()}
    sheets = ("neighbours", "reconstructions", "interpolation", "samples")
    assert names >= {"codes.png", "codes.csv", "clusters.png", "clusters.csv", "latent.html", "summary.json"}
    assert names >= {f"{sheet}{end}" for sheet in sheets for end in (".png", "_hits.csv")}
    with (run.latent / "codes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [sum(row["split"] == split for row in rows) for split in ("train", "validation")] == [154, 22]
    assert set(rows[0]) >= {"event", "category", "size", "symmetry", "cluster", "pca_1", "pca_2", "z0", "z2"}
    with (run.latent / "reconstructions_hits.csv").open() as file:
        panels = {(row["row"], row["panel"]) for row in csv.DictReader(file)}
    assert {row for row, _ in panels} <= {"original", "reconstruction"}
    assert {panel for row, panel in panels if row == "original"} == {"0", "1"}
    page = (run.latent / "latent.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=['\"]https?:", page)
    assert json.loads((run.latent / "summary.json").read_text())["train_events"] == 154


def test_the_page_holds_the_events_and_their_reconstructions(denoiser, hits):
    report = analyse(denoiser, Questions(methods=("pca",), samples=0))
    content = page_content(report)
    assert report.samples is None
    assert len(content["names"]) == len(content["originals"]) == len(content["reconstructions"]) == 22
    assert content["originals"][3] == torch.cat([hits.coords, hits.category[:, None].int()], 1)[
        hits.offsets[3] : hits.offsets[4]
    ].tolist()  # fmt: skip
    assert [meaning["name"] for meaning in content["meanings"]] == ["category", "size", "symmetry", "cluster"]
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--between", "0", "22"], r"--between 22 is out of range: the validation events are 0..21"),
        (["--neighbours-of", "-1"], r"--neighbours-of -1 is out of range"),
        (["--skip", "22"], r"--skip 22 leaves no validation event: there are 22"),
        (["--steps", "1"], r"--steps and --clusters start at 2"),
    ],
)
def test_a_wrong_event_is_told(run, options, message):
    with pytest.raises(UsageError, match=message):
        runpy.run_path("tools/latent.py")["main"]([str(run.path), "--projections", "pca", *options])


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run directory"):
        runpy.run_path("tools/latent.py")["main"]([str(tmp_path)])


def test_a_mask_has_a_latent_space_but_no_reconstructions(tmp_path):
    small = [
        "data.events.train=40", "data.events.validation=20", "data.source.noise=10", "model.encoder.channels=8",
        "model.encoder.rounds=1", "model.latent.size=2", "train.epochs=1", "train.precision=fp32", "train.device=cpu",
    ]  # fmt: skip
    masked = train_run(load_config("configs/torch/pointnet_point.yaml", small), tmp_path)
    report = analyse(Denoiser.open(masked.path), Questions(methods=("pca",)))
    assert report.reconstructions is None
    assert [sheet.name for sheet in report.sheets] == ["neighbours"]
    assert [meaning.name for meaning in report.validation.meanings] == ["size"]
    with pytest.raises(CheckpointError, match="masks measured hits"):
        decode(Denoiser.open(masked.path), np.zeros((1, 2)))
