"""Curves, plots, reports and comparisons of runs."""

import html
import json
import math
import re
import runpy
import subprocess
import sys
from base64 import b64encode
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from pointae.analysis.comparison import compare_runs, judged_table, notes_on, ranking_table
from pointae.analysis.evaluation import ranked_events
from pointae.config_files import dump_config, load_config
from pointae.errors import CheckpointError, DataError, UsageError
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.io import read_hits
from pointae.metrics import calibration, noise_removed_at, noise_removed_curve, output_histogram, per_event_table
from pointae.results import read_evaluated, read_metrics
from pointae.runs import RunDirectory
from pointae.storage import read_table, write_json, write_table
from pointae.training.session import train_run
from visual.plots.quality import plot_quality
from visual.plots.theme import DARK, THEMES
from visual.plots.training import Course, draw_training, loss_label, plot_training

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
    first, second = read_table(tmp_path / "a.csv", texts=("name",))
    assert first == {"name": "a", "x": 0.1, "n": 3.0}
    assert second["name"] == "b"
    assert math.isnan(second["x"])
    assert math.isnan(second["n"])
    with pytest.raises(DataError, match="cannot be read"):
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
    monkeypatch.setattr("visual.plots.training.save_picture", lambda figure, path, dpi: figures.append(figure))
    plot_training(course, tmp_path / "training.png")
    return {axes.get_ylabel(): axes for axes in figures[0].axes}, figures[0]


def test_the_course_of_a_training_is_drawn_in_full(tmp_path, monkeypatch):
    outputs = output_histogram(*scored())
    run = run_with(tmp_path, [epoch_row(1), epoch_row(2, wheel_f1=0.4, distance_mm=7.0)], outputs)
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
    assert axes["F1 of voxels by kind [%]"].lines[0].get_ydata().tolist()[1] == 40
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


def test_legends_are_no_wider_than_their_panels(tmp_path, monkeypatch):
    _, figure = drawn(Course.of(run_with(tmp_path, [epoch_row(1)], output_histogram(*scored()))), monkeypatch, tmp_path)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    widths = [axes.get_window_extent(renderer).width for axes in figure.axes]
    assert max(widths) < 1.1 * min(widths)
    for axes, width in zip(figure.axes, widths, strict=True):
        assert axes.get_legend() is None or axes.get_legend().get_window_extent(renderer).width < 1.1 * width


@pytest.mark.parametrize(("removed", "end"), [(0.3, 50), (0.75, 20), (0.993, 0.5), (0.9999, 0.1), (math.nan, 0.1)])
def test_the_axis_of_noise_removed_ends_where_the_best_curve_does(removed, end, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("visual.plots.quality.save_picture", lambda figure, path: figures.append(figure))
    curves = [
        {"name": "a", "kind": "network", "signal_kept": kept, "noise_removed": share}
        for kept, share in ((0.5, 0.99999), (0.8, removed), (0.97, removed / 2))
    ]
    plot_quality(curves, {}, tmp_path / "quality.png")
    (axes,) = [axes for axes in figures[0].axes if axes.get_ylabel() == "noise removed [%]"]
    assert axes.get_ylim() == (100, end)


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


def test_training_with_its_plots_imports_no_viewer(tmp_path):
    words = ["configs/torch/pointnet_point.yaml", *SMALL, "train.epochs=1", "--runs", str(tmp_path)]
    viewers = {"open3d", "pyvista", "vtk", "vtkmodules", "plotly"}
    code = f"""import runpy, sys
runpy.run_path("tools/train.py")["main"]({words})
print(sorted({viewers} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(list(tmp_path.glob("*/plots/training*.png"))) == 2


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


# ---- reports and comparisons ---------------------------------------------------------------------

SMALL = [
    "data.events.train=64", "data.events.validation=40", "data.events.test=30", "data.source.noise=50",
    "model.encoder.channels=8", "model.encoder.rounds=1", "train.epochs=2", "train.batch_size=16", "train.threads=1",
    "train.precision=fp32", "evaluate.pictures=4",
]  # fmt: skip


def train_small(folder, *more):
    return train_run(load_config("configs/torch/pointnet_point.yaml", [*SMALL, *more]), folder, command="python <b>")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Two runs, of which one was judged by the tool."""
    folder = tmp_path_factory.mktemp("runs")
    first, second = (train_small(folder, f"name={name}") for name in ("first", "second"))
    type_in("evaluate", first.path)
    return first, second


def type_in(tool, *words):
    """The tool in this process: another one would import everything anew."""
    runpy.run_path(f"tools/{tool}.py")["main"]([str(word) for word in words])


def scenes_in(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="scenes">(.*?)</script>', text, re.S).group(1))


def test_a_judged_run_has_a_page_that_tells_all_of_it(judged):
    run, _ = judged
    text = run.report.read_text(encoding="utf-8")
    assert "python &lt;b&gt;" in text  # how it was made
    assert html.escape(run.config_path.read_text()) in text
    for name in ("training", "quality", "comparison"):
        for theme in THEMES:
            picture = b64encode((run.plots / theme.file_name(name)).read_bytes()).decode()
            assert picture in text
        assert (run.plots / f"{name}.csv").is_file()
    for name in ("oracle", "knn_density", "dbscan"):
        assert f">{name}</th>" in text
    assert not re.search(r'<(script|link|img|iframe)\b[^>]*\b(src|href)="(?!data:)', text)
    assert len(text) < 8e6
    hits = read_hits(run.predictions("ranked"))
    ranked = read_evaluated(run, "ranked")
    scenes = scenes_in(run.report)
    assert len(scenes) == len(ranked) == hits.batch_size == 9
    for scene, row, count in zip(scenes, ranked, hits.counts.tolist(), strict=True):
        assert scene["title"].startswith(f"{row['rank']}, event {row['event']:.0f}")
        assert sum(len(layer["t"]) for layer in scene["layers"] if layer["name"] != "input") == count


def test_what_an_evaluation_keeps_is_what_it_found(judged):
    run, _ = judged
    table = {row["name"]: row for row in read_evaluated(run, "table")}
    curves = read_evaluated(run, "curves")
    assert {row["name"] for row in curves} == set(table)
    for name, row in table.items():
        (there,) = [x for x in curves if x["name"] == name and x["signal_kept"] == pytest.approx(0.97)]
        assert there["noise_removed"] == pytest.approx(row["noise_removed_at_97"], abs=1e-6)
    hits = sum(row["hits"] for row in read_evaluated(run, "calibration"))
    assert hits == table["network"]["signal_hits"] + table["network"]["noise_hits"]
    events = read_table(run.evaluation_table("events"))
    f1 = {row["event"]: row["f1"] for row in events if row["signal"]}
    ranked = read_evaluated(run, "ranked")
    assert ranked[0]["f1"] == max(f1.values())
    assert min(row["f1"] for row in ranked) == min(f1.values())
    assert all(f1[row["event"]] == pytest.approx(row["f1"]) for row in ranked)


def test_runs_are_ranked_and_told_on_one_page(judged, tmp_path, capsys):
    first, second = judged
    type_in("compare", second.path, first.path, "--out", tmp_path / "both")
    page, told = tmp_path / "both" / "report.html", capsys.readouterr().out
    assert f"saved: {page}" in told
    assert told.index(" first ") < told.index(" second ")  # what was judged comes first
    note = f"second was not judged on test events: python tools/evaluate.py {second.path}"
    assert note in told
    text = page.read_text(encoding="utf-8")
    assert note in text
    rows = read_table(tmp_path / "both" / "ranking.csv", texts=("name", "path", "status", "network", "loss"))
    assert [row["name"] for row in rows] == ["first", "second"]
    table = read_evaluated(first, "table")[0]
    assert rows[0]["noise_removed_at_97"] == pytest.approx(table["noise_removed_at_97"])
    epochs = read_metrics(second)
    best = min(epochs, key=lambda row: row["validation_loss"])
    assert rows[1]["validation noise_removed_at_97"] == best["noise_removed_at_97"]
    assert rows[1]["parameters"] == second.record.parameters
    titles = [scene["title"] for scene in scenes_in(page)]
    assert sum(title.startswith("first: ") for title in titles) == 9
    assert sum(title.startswith("second: event") for title in titles) == 4
    courses = read_table(tmp_path / "both" / "plots" / "courses.csv", texts=("name",))
    assert [(row["name"], row["epoch"]) for row in courses] == [(n, e) for n in ("first", "second") for e in (1, 2)]


def test_runs_judged_on_other_events_and_bad_names_are_told(judged, tmp_path):
    first, _ = judged
    rows = compare_runs([first])
    assert notes_on(rows) == []
    assert "different events" in notes_on([*rows, {**rows[0], "name": "other", "events": 31}])[0]
    with pytest.raises(UsageError, match="is named twice"):
        type_in("compare", first.path, first.path)
    with pytest.raises(CheckpointError, match="is not a run directory"):
        type_in("compare", tmp_path / "none")
    empty = RunDirectory.create(tmp_path, "empty")
    empty.write_config(first.config_path.read_text())
    with pytest.raises(DataError, match="holds no epochs to draw"):
        type_in("compare", empty.path)


def test_a_run_is_told_beside_what_it_was_judged_with(tmp_path):
    run = run_with(tmp_path, [epoch_row(1)])
    assert judged_table(run) is None
    network = {"noise_removed_at_97": 0.9123, "snr_db_out": -2.22, "roc_auc": None, "events": 2000, "settings": {}}
    oracle = {"noise_removed_at_97": 0.99, "events": 2000, "settings": {"threshold": 0.5}}
    write_json(run.judged_path, {"network": network, "oracle": oracle, "pattern": {"coverage": 0.5, "true_hits": 1234}})
    table = judged_table(run)
    assert (table.title, table.headings) == ("2,000 events", ("", "network", "oracle"))
    assert table.rows == (
        ("noise removed at 97 % signal kept", "91.2%", "99.0%"),
        ("SNR after, dB", "-2.2", ""),
        ("generated pattern: coverage", "0.5", ""),
        ("generated pattern: true hits", "1,234", ""),
    )


def test_runs_of_the_same_name_are_told_apart_by_their_paths(tmp_path):
    runs = [
        run_with(tmp_path / part, [epoch_row(1, noise_removed_at_97=share)]) for part, share in (("a", 0.5), ("b", 0.9))
    ]
    assert [row["name"] for row in compare_runs(runs)] == [str(runs[1].path), str(runs[0].path)]
    assert ranking_table(compare_runs(runs)).rows[0][:2] == ("1", str(runs[1].path))
