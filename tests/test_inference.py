"""A trained run at work on hits and on files."""

import json
import threading
from dataclasses import replace

import pytest
import torch

from pointae import inference
from pointae.analysis.evaluation import evaluate_run, save_evaluation
from pointae.config import TorchSource
from pointae.config_files import load_config
from pointae.errors import CheckpointError, DataError, StorageError
from pointae.geometry import deepclean3d_geometry, even_geometry
from pointae.hits import HitBatch
from pointae.inference import Denoiser, denoise, denoise_file, event_groups
from pointae.io import open_writer, read_blocks, read_hits, write_hits
from pointae.io.output import HitWriter
from pointae.precision import choose_precision
from pointae.runs import RunDirectory
from pointae.simulate import simulate_events
from pointae.trained import open_trained
from pointae.training.session import train_run

SMALL = [
    "data.events.train=32", "data.events.validation=40", "data.events.test=30",
    "model.encoder.channels=16", "train.epochs=1", "train.precision=fp32",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    return train_run(load_config("configs/torch/pointnet_point.yaml", SMALL), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def hits() -> HitBatch:
    return simulate_events(TorchSource(), seed=5, index=torch.arange(20))


def test_denoising_keeps_every_hit_and_its_place(run, hits):
    clean = denoise(hits, run.path)
    assert torch.equal(clean.coords, hits.coords)
    assert torch.equal(clean.offsets, hits.offsets)
    assert torch.equal(clean.kept, clean.score >= run.record.threshold)


def test_groups_of_events_do_not_change_the_scores(run, hits):
    denoiser = Denoiser.open(run.path)
    together = denoiser(hits).score
    alone = torch.cat([denoiser(hits.events([i])).score for i in range(hits.batch_size)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_half_precision_is_asked_for_by_the_config_and_keeps_the_scores(run, hits):
    trained = open_trained(run.path)
    evaluate = trained.config.evaluate.model_copy(update={"precision": "bf16"})
    half = Denoiser.of(replace(trained, config=trained.config.model_copy(update={"evaluate": evaluate})))
    assert half.precision.name == choose_precision("auto", "bf16").name
    assert Denoiser.of(trained).precision.name == "fp32"
    difference = (half(hits).score - Denoiser.of(trained)(hits).score).abs().max()
    assert difference < 0.02
    assert (difference > 0) == (half.precision.name == "bf16")


def test_event_groups_cover_every_event_once():
    counts = torch.tensor([3, 0, 50, 1, 1, 0, 7, 200, 2])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    coords = torch.zeros((int(offsets[-1]), 3), dtype=torch.int32)
    hits = HitBatch(deepclean3d_geometry(), coords, offsets, event_id=torch.arange(9))
    groups = list(event_groups(hits, max_events=4, max_hits=60))
    assert torch.equal(torch.cat([group.event_id for group in groups]), hits.event_id)
    assert all(group.batch_size <= 4 for group in groups)
    assert all(group.num_hits <= 60 or group.batch_size == 1 for group in groups)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".csv"])
def test_a_file_comes_back_with_scores(run, hits, tmp_path, ending):
    source, out = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    write_hits(source, hits.replace(hit_id=torch.arange(hits.num_hits) * 7))
    report = denoise_file(Denoiser.open(run.path), source, out)
    clean = read_hits(out, geometry=hits.geometry)
    assert (report.events, report.hits) == (20, hits.num_hits)
    assert torch.equal(clean.coords, hits.coords)
    assert torch.equal(clean.hit_id, torch.arange(hits.num_hits) * 7)
    assert report.kept == int(clean.kept.sum())


@pytest.mark.parametrize("ending", [".h5", ".csv"])
def test_a_file_in_blocks_is_the_file_at_once(run, hits, tmp_path, ending, monkeypatch):
    denoiser, source = Denoiser.open(run.path), tmp_path / f"in{ending}"
    write_hits(source, hits)
    denoise_file(denoiser, source, tmp_path / f"whole{ending}")
    monkeypatch.setattr(inference, "BLOCK_EVENTS", 4)
    monkeypatch.setattr(inference, "BLOCK_HITS", 600)  # three events bring a block to it
    report = denoise_file(denoiser, source, tmp_path / f"parts{ending}")
    whole, parts = (read_hits(tmp_path / f"{name}{ending}", geometry=hits.geometry) for name in ("whole", "parts"))
    assert (report.events, report.hits, report.kept) == (20, hits.num_hits, int(whole.kept.sum()))
    assert torch.equal(parts.coords, whole.coords)
    assert torch.equal(parts.offsets, whole.offsets)
    assert torch.allclose(parts.score, whole.score, atol=1e-5)


@pytest.mark.parametrize("ending", [".h5", ".csv"])
def test_a_block_ends_with_the_event_that_brings_it_to_its_hits(tmp_path, ending):
    counts = torch.tensor([5, 1, 1, 9, 2, 2, 3])
    coords = torch.zeros((int(counts.sum()), 3), dtype=torch.int32)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    write_hits(tmp_path / f"a{ending}", HitBatch(deepclean3d_geometry(), coords, offsets))
    blocks = list(read_blocks(tmp_path / f"a{ending}", 3, hits_per_block=6))
    assert [block.counts.tolist() for block in blocks] == [[5, 1], [1, 9], [2, 2, 3]]


def test_a_failure_while_reading_or_writing_ends_the_whole_and_leaves_nothing(run, hits, tmp_path, monkeypatch):
    denoiser, source, out = Denoiser.open(run.path), tmp_path / "in.csv", tmp_path / "out.csv"
    threads = threading.active_count()
    monkeypatch.setattr(inference, "BLOCK_EVENTS", 4)
    write_hits(source, hits)
    lines = source.read_text().splitlines()
    columns = lines[-1].split(",")
    columns[1] = "99"  # x of the last hit, outside of the grid
    source.write_text("\n".join([*lines[:-1], ",".join(columns)]))
    with pytest.raises(DataError, match="x = 99 is outside the grid"):
        denoise_file(denoiser, source, out)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]

    def full(self, hits):
        raise StorageError("No space left on device", where=out)

    write_hits(source, hits)
    monkeypatch.setattr(HitWriter, "append", full)
    with pytest.raises(StorageError, match="No space left"):
        denoise_file(denoiser, source, out)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    assert threading.active_count() == threads


def test_an_empty_file_is_denoised_to_an_empty_one(run, hits, tmp_path):
    with open_writer(tmp_path / "in.h5") as writer:
        writer.append(hits.events([]))
    report = denoise_file(Denoiser.open(run.path), tmp_path / "in.h5", tmp_path / "out.h5")
    assert (report.events, report.hits, report.kept) == (0, 0, 0)
    assert read_hits(tmp_path / "out.h5").batch_size == 0


def test_other_bin_widths_are_told_and_another_shape_is_refused(run, hits, tmp_path):
    denoiser = Denoiser.open(run.path)
    other = hits.replace(geometry=deepclean3d_geometry())
    write_hits(tmp_path / "other.h5", other)
    report = denoise_file(denoiser, tmp_path / "other.h5", tmp_path / "out.h5")
    assert "bin widths" in report.notes[0]
    assert torch.equal(denoiser(other).score, denoiser(hits).score)
    small = HitBatch.empty(even_geometry((88, 88, 1000)), 1)
    with pytest.raises(CheckpointError, match=r"88 x 128 x 1000.*88 x 88 x 1000"):
        denoiser(small)


def test_a_deepclean3d_bundle_is_cleaned_with_a_word_on_its_bins(run, hits, tmp_path):
    write_hits(tmp_path / "bundle.pt", hits.replace(geometry=deepclean3d_geometry()))
    denoiser = Denoiser.open(run.path)
    report = denoise_file(denoiser, tmp_path / "bundle.pt", tmp_path / "clean.pt")
    assert "bin widths are 9.09091 x 11.7188 x 1 here" in report.notes[0]
    assert "holds the kept hits" in report.notes[1]
    assert read_hits(tmp_path / "clean.pt").num_hits == report.kept


def test_a_run_without_weights_says_so(run, tmp_path):
    empty = RunDirectory.create(tmp_path, "empty")
    empty.write_config(run.config_path.read_text())
    with pytest.raises(CheckpointError, match="no weights") as caught:
        Denoiser.open(empty.path)
    assert caught.value.exit_code == 4


def test_evaluation_judges_network_and_baselines_on_the_same_events(run):
    evaluation = evaluate_run(run)
    assert [row.name for row in evaluation.rows] == ["network", "oracle", "knn_density", "dbscan"]
    hits = {row.figures["signal_hits"] for row in evaluation.rows}
    assert len(hits) == 1
    oracle = evaluation.rows[1].figures
    assert oracle["noise_removed_at_97"] > 0.97  # it was told the right particles
    assert oracle["signal_retention"] > 0.9
    save_evaluation(run, evaluation, pictures=3)
    assert read_hits(run.predictions()).batch_size == 3
    stored = json.loads((run.evaluation / "metrics.json").read_text())
    assert stored["network"]["noise_removed_at_97"] == evaluation.rows[0].figures["noise_removed_at_97"]
    assert len((run.evaluation / "events.csv").read_text().splitlines()) == 31


def test_events_of_a_file_have_no_oracle(run, hits):
    names = [row.name for row in evaluate_run(run, hits).rows]
    assert names == ["network", "knn_density", "dbscan"]


def test_evaluation_needs_truth(run, hits):
    with pytest.raises(DataError, match="no truth"):
        evaluate_run(run, hits.replace(signal=None), baselines=False)


def test_the_set_decoder_is_judged_by_its_pattern(tmp_path):
    run = train_run(load_config("configs/torch/pointnet_set.yaml", SMALL), tmp_path)
    pattern = evaluate_run(run, baselines=False).pattern
    assert pattern["true_hits"] > 0
    assert 0 <= pattern["coverage"] <= 1
