"""Curves, plots, reports and comparisons of runs."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from pointae.analysis.evaluation import ranked_events
from pointae.config_files import dump_config, load_config
from pointae.errors import CheckpointError, DataError
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.metrics import calibration, noise_removed_at, noise_removed_curve, output_histogram, per_event_table
from pointae.runs import RunDirectory
from pointae.storage import read_table, write_table
from visual.theme import DARK, THEMES
from visual.training_plots import Course, draw_training, loss_label, plot_training

# ---- curves --------------------------------------------------------------------------------------


def scored(count=400, seed=1):
    draw = torch.Generator().manual_seed(seed)
    signal = torch.rand(count, generator=draw) < 0.3
    logits = torch.randn(count, generator=draw) + 3 * signal - 1.5
    return torch.sigmoid(logits).round(decimals=2), signal  # rounded, so that some tie


def test_a_curve_is_the_metric_at_each_retention():
    score, signal = scored()
    retentions = [0.05, 0.5, 0.9, 0.97, 0.99]
    slow = [noise_removed_at(score, signal, retention) for retention in retentions]
    assert noise_removed_curve(score, signal, retentions).tolist() == pytest.approx(slow)
    ends = noise_removed_curve(score, signal, [0.0, 1.0])
    assert ends[1] == float((score[~signal] < score[signal].min()).double().mean())
    assert ends[0] == float((score[~signal] < score[signal].max()).double().mean())
    for nothing in (signal, ~signal):  # only signal, only noise
        assert np.isnan(noise_removed_curve(score[nothing], signal[nothing], [0.9])).all()
    assert np.isnan(noise_removed_curve(torch.zeros(0), torch.zeros(0, dtype=torch.bool), [0.9, 0.99])).all()


def test_the_histogram_of_outputs_counts_every_hit_once():
    score = torch.tensor([0.0, 1.0, 0.5, torch.sigmoid(torch.tensor(2.1)), 1e-30])
    signal = torch.tensor([False, True, False, True, False])
    rows = output_histogram(score, signal)
    assert (rows[0]["low"], rows[-1]["high"]) == (-16, 16)
    assert all(a["high"] == b["low"] for a, b in pairwise(rows))
    assert (rows[0]["noise"], rows[-1]["signal"]) == (2, 1)  # what saturates is not lost
    (two,) = [row for row in rows if row["low"] <= 2.1 < row["high"]]
    assert (two["signal"], two["noise"]) == (1, 0)
    assert sum(row["signal"] + row["noise"] for row in rows) == 5
    empty = output_histogram(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert sum(row["signal"] + row["noise"] for row in empty) == 0


def test_calibration_is_the_share_of_signal_in_each_bin_of_scores():
    draw = torch.Generator().manual_seed(2)
    score, signal = torch.rand(400, generator=draw), torch.rand(400, generator=draw) < 0.3
    rows = calibration(score, signal)
    for row in rows:
        inside = (score >= row["low"]) & (score < row["high"])
        assert row["hits"] == int(inside.sum())
        if row["hits"]:
            assert row["signal_share"] == pytest.approx(float(signal[inside].double().mean()))
            assert row["mean_score"] == pytest.approx(float(score[inside].double().mean()))
    assert sum(row["hits"] for row in rows) == len(score)
    assert all(math.isnan(row["signal_share"]) for row in calibration(score[:0], signal[:0]))


def test_a_table_is_read_as_it_was_written(tmp_path):
    write_table(tmp_path / "a.csv", [{"name": "a", "x": 0.1, "n": 3}, {"name": "b", "x": math.nan}])
    first, second = read_table(tmp_path / "a.csv")
    assert first == {"name": "a", "x": 0.1, "n": 3.0}
    assert second["name"] == "b"
    assert math.isnan(second["x"])
    assert math.isnan(second["n"])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


# ---- plots of a training -------------------------------------------------------------------------


def run_with(folder, rows, outputs=(), *overrides):
    run = RunDirectory.create(folder, "demo")
    run.write_config(dump_config(load_config("configs/demo.yaml", list(overrides))))
    run.write_metrics(rows)
    if outputs:
        run.write_outputs(outputs)
    return run


def epoch_row(epoch, **more):
    return {
        "epoch": epoch, "seconds": 60.0 * epoch, "learning_rate": 1e-3 / epoch, "train_loss": 0.4 / epoch,
        "validation_loss": 0.5 / epoch, "noise_removed_at_97": 0.9, "noise_removed_at_99": 0.8, "roc_auc": 0.97,
        "signal_retention": 0.7, "noise_removed": 0.95, "purity": 0.9, "f1": 0.8, "snr_db_in": -8.0, "snr_db_out": 2.0,
        "events": 10, "signal_hits": 300, "noise_hits": 2000, "signal_kept": 250, "noise_kept": 100,
        "threshold_at_97": 0.25, **more,
    }  # fmt: skip


def drawn(course, monkeypatch, tmp_path):
    """Axes of the picture by the label of their y axis."""
    figures = []
    monkeypatch.setattr("visual.training_plots.save_picture", lambda figure, path, dpi: figures.append(figure))
    plot_training(course, tmp_path / "training.png")
    return {axes.get_ylabel(): axes for axes in figures[0].axes}, figures[0]


def test_the_course_of_a_training_is_drawn_in_full(tmp_path, monkeypatch):
    outputs = output_histogram(*scored())
    run = run_with(tmp_path, [epoch_row(1), epoch_row(2, exact_accuracy=0.4, distance_mm=7.0)], outputs)
    axes, figure = drawn(Course.of(run), monkeypatch, tmp_path)
    by_epoch, by_time = [each for each in figure.axes if each.get_ylabel() == "loss: bce"]
    assert (by_epoch.get_xlabel(), by_time.get_xlabel()) == ("epoch", "time [min]")
    assert by_time.lines[0].get_xdata().tolist() == [1, 3]
    assert by_time.lines[1].get_ydata().tolist() == [0.5, 0.25]
    hits = {line.get_label(): line for line in axes["hits an event, at a score of 0.5"].lines}
    assert hits["kept"].get_ydata().tolist() == [35, 35]
    assert hits["removed"].get_ydata().tolist() == [195, 195]
    assert hits["true signal"].get_ydata().tolist() == [30, 30]
    assert hits["true signal"].get_linestyle() == ":"
    cut = axes["validation hits"].lines[0]
    assert cut.get_xdata()[0] == pytest.approx(math.log(0.25 / 0.75))
    assert axes["learning rate at the epoch's end"].lines[0].get_ydata().tolist() == [1e-3, 5e-4]
    assert axes["distance mm"].lines[0].get_ydata().tolist()[1] == 7  # a metric that nobody foresaw
    assert axes["further metrics [%]"].lines[0].get_label() == "exact accuracy"
    run.update_record(status="finished", threshold=0.5)
    assert Course.of(run).threshold == 0.5


def test_pictures_of_a_training_are_written_on_light_and_dark_paper_with_their_numbers(tmp_path):
    run = run_with(tmp_path, [epoch_row(1)], output_histogram(*scored()))
    light, dark = draw_training(run, THEMES)
    assert [light.name, dark.name] == ["training.png", "training_dark.png"]
    assert imread(light)[0, 0, :3].tolist() == [1, 1, 1]
    assert imread(dark)[0, 0, :3] == pytest.approx([int(DARK.paper[i : i + 2], 16) / 255 for i in (1, 3, 5)], abs=0.01)
    assert read_table(light.with_suffix(".csv"))[0]["train_loss"] == 0.4
    assert len(read_table(run.plots / "training_outputs.csv")) == len(read_table(run.outputs_path))


def test_an_old_or_empty_training_is_drawn_as_far_as_it_goes(tmp_path, monkeypatch):
    few = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.3, "validation_loss": math.nan}]
    axes, figure = drawn(Course.of(run_with(tmp_path, few)), monkeypatch, tmp_path)
    assert len(figure.axes) == 1
    assert axes["loss: bce"].lines[0].get_ydata().tolist() == [0.5, 0.3]
    for name, rows in (("none", None), ("empty", [])):
        run = run_with(tmp_path / name, rows or [])
        if rows is None:
            run.metrics_path.unlink()
        with pytest.raises(DataError, match="holds no epochs"):
            draw_training(run)


def test_a_loss_is_called_by_all_its_terms():
    terms = "train.loss={name: weighted_sum, terms: [{name: bce, weight: 1}, {name: dice, weight: 0.5}]}"
    assert loss_label(load_config("configs/demo.yaml", [terms])) == "1 bce + 0.5 dice"
    config = load_config("configs/demo.yaml", ["model.latent.name=variational", "model.encoder.proposals=4"])
    assert loss_label(config) == "bce + KL + tracks"


# ---- what an evaluation keeps --------------------------------------------------------------------


def events_of(qualities, seed=3):
    """Events of 4 signal and 6 noise hits, of whose signal so many are kept, and no noise."""
    draw = torch.Generator().manual_seed(seed)
    grid = torch_geometry()
    total = 10 * len(qualities)
    coords = torch.stack([torch.randint(bins, (total,), generator=draw) for bins in grid.spatial_shape], 1).int()
    signal = torch.tensor(([True] * 4 + [False] * 6) * len(qualities), dtype=torch.bool)
    kept = torch.tensor([i < quality for quality in qualities for i in range(10)], dtype=torch.bool)
    offsets = 10 * torch.arange(len(qualities) + 1)
    return HitBatch(grid, coords, offsets, signal=signal, kept=kept, score=kept.float() * 0.8 + 0.1)


def test_best_median_and_worst_events_are_found_each_once():
    hits = events_of([1, 4, 2, 3, 4, 1, 2, 3, 1, 4])
    rows = ranked_events(hits)
    assert [row["rank"] for row in rows] == [f"{rank} {i}" for rank in ("best", "median", "worst") for i in (1, 2, 3)]
    assert [row["event"] for row in rows[:3]] == [1, 4, 9]
    assert all(row["signal_retention"] == 1 for row in rows[:3])
    assert {row["event"] for row in rows[6:]} == {0, 5, 8}
    assert rows[6]["f1"] == pytest.approx(0.4)
    middle = sorted(float(x) for x in per_event_table(hits)["f1"])[3:7]
    assert all(row["f1"] in [pytest.approx(x) for x in middle] for row in rows[3:6])
    assert [row["event"] for row in ranked_events(hits.events([0, 1]))] == [1, 0]
    assert [row["rank"] for row in ranked_events(hits.events([0]))] == ["best 1"]
    assert hits.signal is not None
    no_signal = hits.select(~hits.signal)
    assert ranked_events(no_signal) == ranked_events(hits.events([])) == []
