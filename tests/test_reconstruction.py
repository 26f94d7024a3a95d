"""Full patterns from 30 smeared hits among noise: the events, the code's bytes, and the table over code sizes."""

import csv
import math
from typing import get_args

import numpy as np
import pytest
import torch

from pointae.analysis import judging
from pointae.analysis.compression import (
    bytes_per_hit,
    compression_steps,
    compression_table,
    decode_rounded,
    example_patterns,
)
from pointae.config.model import Decoder
from pointae.config_files import load_config
from pointae.data.events import EventData
from pointae.errors import CheckpointError, DataError, UsageError
from pointae.geometry import deepclean3d_geometry, even_geometry, torch_geometry
from pointae.metrics import PatternMetrics, noise_removed_at
from pointae.recover import generated_pattern
from pointae.trained import open_trained
from pointae.training.session import train_run
from visual.plots.compression import plot_compression, plot_patterns

EVENTS = ["data.events.train=32", "data.events.validation=24", "data.events.test=20"]
TINY = [*EVENTS, "model.encoder.channels=8", "train.epochs=1", "evaluate.pictures=0"]
SETS = {4: "set-4", 12: "set-12"}


def open_denoisers(paths):
    return judging.open_denoisers([open_trained(path) for path in paths])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Hardly trained runs: two set decoders, a dense one, and a mask."""
    folder = tmp_path_factory.mktemp("runs")
    for size, name in SETS.items():
        small = [f"model.latent.size={size}", "model.decoder.slots=80", "model.decoder.hidden=16"]
        train_run(load_config("configs/torch/full_pattern_set.yaml", [*TINY, *small, f"name={name}"]), folder)
    coarse = ["model.decoder.stride=[22, 32, 250]", "train.loss.options={hit_weight: 30.0}", "name=dense"]
    train_run(load_config("configs/torch/full_pattern_dense.yaml", [*TINY, *coarse]), folder)
    train_run(load_config("configs/torch/pointnet_point.yaml", [*TINY, "name=mask"]), folder)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    steps = []
    denoisers = open_denoisers([folder / name for name in (*SETS.values(), "dense")])
    found = compression_table(denoisers, lambda step, note: steps.append(step))
    assert sum(steps) == compression_steps(denoisers)
    return {row["name"]: row for row in found}


@pytest.mark.parametrize("name", ["full_pattern_set", "full_pattern_dense"])
def test_thirty_smeared_hits_among_noise_go_in_and_the_full_pattern_should_come_out(name):
    config = load_config(f"configs/torch/{name}.yaml", EVENTS)
    batch = EventData(config.data, config.seed).all_events("test")
    signal = torch.bincount(batch.hits.batch[batch.hits.signal], minlength=20)
    assert 28 < float(signal.double().mean()) <= 30  # a few are smeared out of the grid
    assert (batch.hits.counts - signal).tolist() == [200] * 20
    assert 450 < float(batch.target.counts.double().mean()) <= 500
    assert bool(batch.target.signal.all())
    near = PatternMetrics(reach_bins=8.0)
    near.update(batch.hits.select(batch.hits.signal), batch.target)
    assert near.compute()["purity"] > 0.95  # what goes in is of the pattern that should come out


def test_bytes_of_a_hit():
    assert bytes_per_hit(torch_geometry()) == bytes_per_hit(deepclean3d_geometry()) == 1 + 1 + 2
    for bins, size in ((1, 1), (2, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 3)):
        assert bytes_per_hit(even_geometry((bins, 4, 4), (1, 1, 1))) == size + 2


def test_the_code_is_rounded_before_it_is_decoded(folder):
    (denoiser,) = open_denoisers([folder / "set-4"]).values()
    hits = EventData(denoiser.config.data, denoiser.config.seed).all_events("test").hits
    (_, output), *rest = decode_rounded(denoiser, hits)
    assert not rest
    with torch.no_grad():
        code = denoiser.model.encoder(hits).code
        kept = torch.from_numpy(code.numpy().astype(np.float16).astype(np.float32))
        assert not torch.equal(code, kept)
        assert torch.equal(output.pos, denoiser.model.decoder(kept, None, hits).pos)


def test_rows_are_the_slow_figures_of_each_run(folder, rows):
    for size, name in SETS.items():
        row = rows[name]
        assert (row["kind"], row["decoder"], row["code_size"]) == ("network", "point_set", size)
        (denoiser,) = open_denoisers([folder / name]).values()
        batch = EventData(denoiser.config.data, denoiser.config.seed).all_events("test")
        bytes_in = 4 * batch.hits.num_hits / 20
        assert row["compression_ratio"] == pytest.approx(bytes_in / (2 * size))
        (_, output), *_ = decode_rounded(denoiser, batch.hits)
        metrics = PatternMetrics(3.0, 8.0)
        metrics.update(generated_pattern(output, denoiser.geometry), batch.target)
        assert {key: row[key] for key in metrics.compute()} == pytest.approx(metrics.compute(), nan_ok=True)
        removed = noise_removed_at(output.hit_logits(batch.hits).sigmoid(), batch.hits.signal, 0.97)
        assert row["noise_removed_at_97"] == pytest.approx(removed)
    assert rows["set-4"]["compression_ratio"] == pytest.approx(3 * rows["set-12"]["compression_ratio"])
    assert rows["dense"]["decoder"] == "dense"
    assert rows["dense"]["code_bytes"] == 32


def test_references_bound_what_a_pattern_can_reach(rows):
    every, signal, again = (
        rows[name] for name in ("measured hits", "measured signal", "other photons of the same tracks")
    )
    assert again["coverage"] > 0.85
    assert again["purity"] > 0.85
    assert again["chamfer_time_macro"] < signal["chamfer_time_macro"] < every["chamfer_time_macro"]
    assert every["coverage"] >= signal["coverage"]
    assert every["purity"] == pytest.approx(signal["purity"] * 30 / 230, abs=0.1)
    assert all(row["true_hits"] == again["true_hits"] for row in rows.values())
    assert all("compression_ratio" not in row for row in (every, signal, again))


def test_batches_of_any_size_give_the_same_table(folder, rows):
    denoisers = open_denoisers([folder / "set-4"])
    config = denoisers["set-4"].config
    denoisers["set-4"].config = config.model_copy(
        update={"evaluate": config.evaluate.model_copy(update={"batch_size": 7})}
    )
    again = {row["name"]: row for row in compression_table(denoisers)}["set-4"]
    figures = [name for name, value in rows["set-4"].items() if not isinstance(value, str)]
    assert len(figures) > 15
    for name in figures:
        assert again[name] == pytest.approx(rows["set-4"][name], rel=1e-4, nan_ok=True), name


def test_runs_that_cannot_be_compared_are_told(folder):
    with pytest.raises(CheckpointError, match="mask: its decoder masks hits"):
        compression_table(open_denoisers([folder / "set-4", folder / "mask"]))
    denoisers = open_denoisers([folder / "set-4", folder / "dense"])
    denoisers["dense"].config = denoisers["dense"].config.model_copy(update={"seed": 2})
    with pytest.raises(UsageError, match="dense and set-4 have other test events"):
        compression_table(denoisers)
    robots = denoisers["dense"].config.model_copy(update={"data": load_config("configs/robots/fc.yaml").data})
    denoisers["dense"].config = robots
    with pytest.raises(UsageError, match="dense: was trained on robots"):
        compression_table(denoisers)


def test_every_decoder_that_makes_hits_has_a_line_of_its_own(rows, tmp_path):
    decoders = [kind.model_fields["name"].default for kind in get_args(get_args(Decoder)[0])]
    made = [name for name in decoders if name not in ("per_hit", "category_grid")]  # neither makes hits of a detector
    told = [{**rows["set-4"], "name": name, "decoder": name} for name in made]
    assert plot_compression(told, tmp_path / "all.png").stat().st_size > 20_000


def test_examples_are_of_the_same_events(folder, tmp_path):
    denoisers = open_denoisers([folder / "set-4", folder / "dense"])
    patterns = example_patterns(denoisers, 2)
    assert list(patterns) == ["measured", "full pattern", "set-4", "dense"]
    config = denoisers["dense"].config
    batch = EventData(config.data, config.seed).all_events("test")
    assert torch.equal(patterns["measured"].coords, batch.hits.events(slice(0, 2)).coords)
    assert torch.equal(patterns["full pattern"].coords, batch.target.events(slice(0, 2)).coords)
    (_, output), *_ = decode_rounded(denoisers["set-4"], batch.hits)
    made = generated_pattern(output, torch_geometry()).events(slice(0, 2))
    assert torch.equal(patterns["set-4"].coords, made.coords)
    assert plot_patterns(patterns, tmp_path / "patterns.png").stat().st_size > 20_000


def test_picture_and_csv_hold_every_row(rows, tmp_path):
    path = plot_compression(list(rows.values()), tmp_path / "compression.png")
    assert path.stat().st_size > 10_000
    with (tmp_path / "compression.csv").open(newline="", encoding="utf-8") as file:
        written = {row["name"]: row for row in csv.DictReader(file)}
    assert list(written) == list(rows)
    for name, row in rows.items():
        for key in ("coverage", "chamfer_space_macro"):
            same = float(written[name][key]) == row[key]
            assert same or math.isnan(row[key])
    assert written["measured hits"]["compression_ratio"] == ""
    with pytest.raises(DataError, match="nothing to draw"):
        plot_compression([row for row in rows.values() if row["kind"] == "reference"], tmp_path / "none.png")
