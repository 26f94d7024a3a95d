"""Figures of denoisers beside the oracle: the same events, errors and counts as a slow description gives."""

import csv
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from events import random_hits

from pointae.analysis import figures
from pointae.analysis.bootstrap import event_weights, noise_removed_at_error, share_error
from pointae.analysis.conditions import ONE_TRACK, SEED, TABLE, THREE_TRACKS, Condition, by_chunks, sweeps
from pointae.analysis.judging import Scorer, judge, network_scorer, open_denoisers, oracle_scorer
from pointae.benchmark import quality_speed as speed
from pointae.config import TorchSource
from pointae.config_files import load_config
from pointae.data.events import SPLITS
from pointae.data.simulated import split_seed
from pointae.errors import DataError, UsageError
from pointae.metrics import noise_removed_at
from pointae.trained import open_trained
from pointae.training.session import train_run
from visual.plots.figures import plot_quality_speed, plot_range

SMALL = [
    "data.events.train=16", "data.events.validation=16", "data.events.test=1",
    "model.encoder.channels=8", "train.epochs=1", "train.precision=fp32",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict:
    """Two seeds of one recipe, and another recipe."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = {
        "one": ("pointnet_point", ["seed=1"]),
        "two": ("pointnet_point", ["seed=2"]),
        "deep": ("pointnet_point", ["model.encoder.rounds=2"]),
    }
    return {
        name: train_run(load_config(f"configs/torch/{config}.yaml", [*SMALL, f"name={name}", *more]), folder).path
        for name, (config, more) in recipes.items()
    }


def opened(*paths) -> dict:
    return open_denoisers([open_trained(path) for path in paths])


@pytest.fixture(scope="module")
def denoisers(runs) -> dict:
    return opened(*runs.values())


@pytest.fixture(scope="module")
def hits():
    """Events with scores that often tie, one of them empty."""
    hits = random_hits([7, 0, 30, 12, 1, 25, 40, 9], seed=3)
    score = (torch.rand(hits.num_hits, generator=torch.Generator().manual_seed(1)) + 0.4 * hits.signal).mul(8).round()
    return hits.replace(score=score / 16)


# ---- events ------------------------------------------------------------------------------------------


def test_events_are_the_same_in_every_call_and_of_no_training():
    few, many = ONE_TRACK.events(3), ONE_TRACK.events(600)
    assert torch.equal(few.coords, many.events(slice(0, 3)).coords)
    assert many.event_id.tolist() == list(range(600))
    own = {split_seed(SEED, part) for part in ("figures", "figures calibration")}
    assert len(own) == 2
    assert not own & {split_seed(seed, split) for seed in range(300) for split in SPLITS}
    assert not torch.equal(few.coords, ONE_TRACK.events(3, "figures calibration").coords)


def test_sweeps_cover_the_range_and_change_one_thing_at_a_time():
    swept: dict[str, list[Condition]] = {}
    for condition in sweeps():
        swept.setdefault(condition.sweep, []).append(condition)
    assert {name: (points[0].setting, points[-1].setting) for name, points in swept.items()} == {
        "signal": (10, 350), "noise": (0, 1000), "tracks": (1, 5), "noise_mode": ("uniform", "mixture"),
        "sigma_t_ps": (50.0, 100.0),
    }  # fmt: skip
    for name, points in swept.items():
        assert ONE_TRACK.source in [point.source for point in points]
        changed = {
            key
            for point in points
            for key, value in point.source.model_dump().items()
            if value != ONE_TRACK.source.model_dump()[key]
        }
        assert changed <= {name, *(["tracks"] if name == "signal" else [])}


def test_many_signal_hits_are_really_there():
    of_five_tracks = next(point for point in sweeps() if point.setting == 350).events(20)
    assert 300 < int(of_five_tracks.signal.sum()) / 20 <= 350


def test_scores_by_chunks_are_those_of_all(denoisers):
    hits, denoiser = ONE_TRACK.events(501), denoisers["one"]
    together = denoiser(hits).score
    assert torch.allclose(by_chunks(hits, lambda part: denoiser(part).score), together, atol=1e-5)
    assert by_chunks(hits.events(slice(0, 0)), lambda part: denoiser(part).score).shape == (0,)


# ---- figures and errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("retention", [0.97, 0.6])
def test_errors_are_those_of_events_written_out_again(hits, retention):
    weights = event_weights(hits.batch_size, replicates=20)
    assert (weights.sum(1) == hits.batch_size).all()
    removed, kept = [], []
    for draw in weights:
        again = hits.events(torch.from_numpy(np.repeat(np.arange(len(draw)), draw)))
        removed.append(noise_removed_at(again.score, again.signal, retention))
        kept.append(float((again.score >= 0.5)[again.signal].double().mean()))
    found = noise_removed_at_error(hits.score, hits.signal, hits.batch, retention, weights)
    assert found == pytest.approx(np.std(removed, ddof=1), rel=1e-6)
    each = [hits.events([i]) for i in range(hits.batch_size)]
    part = torch.tensor([int((event.score >= 0.5)[event.signal].sum()) for event in each])
    whole = torch.tensor([int(event.signal.sum()) for event in each])
    assert share_error(part, whole, weights) == pytest.approx(np.std(kept, ddof=1), rel=1e-6)


def test_nothing_to_remove_has_no_error(hits):
    weights = event_weights(hits.batch_size)
    signal = hits.signal
    for truth in (torch.ones_like(signal), torch.zeros_like(signal)):
        assert np.isnan(noise_removed_at_error(hits.score, truth, hits.batch, 0.97, weights))
    assert np.isnan(share_error(torch.zeros(8), torch.zeros(8), weights))
    assert event_weights(0).shape == (100, 0)


def test_the_error_is_that_of_independent_sets_of_events():
    row = judge(oracle_scorer(ONE_TRACK), ONE_TRACK, ONE_TRACK.events(50))
    sets = ONE_TRACK.events(800)
    scores = sets.replace(score=oracle_scorer(ONE_TRACK).score(sets))
    parts = [scores.events(slice(first, first + 50)) for first in range(0, 800, 50)]
    spread = np.std([noise_removed_at(part.score, part.signal, 0.97) for part in parts], ddof=1)
    assert 0.5 < row["noise_removed_at_97_error"] / spread < 2


def test_a_row_is_what_counting_hit_by_hit_gives(denoisers):
    hits = THREE_TRACKS.events(12)
    row = judge(network_scorer("one", denoisers["one"]), THREE_TRACKS, hits)
    scored = [(float(s), bool(t)) for s, t in zip(denoisers["one"](hits).score, hits.signal, strict=True)]
    of_signal = sorted(s for s, t in scored if t)
    of_noise = [s for s, t in scored if not t]
    for retention in (97, 99):
        place = (len(of_signal) - 1) * (1 - retention / 100)
        low = int(place)
        cut = of_signal[low] + (of_signal[low + 1] - of_signal[low]) * (place - low)
        removed = sum(s < cut for s in of_noise) / len(of_noise)
        assert row[f"noise_removed_at_{retention}"] == pytest.approx(removed, abs=1.5 / len(of_noise))
    threshold = denoisers["one"].threshold
    assert row["signal_retention"] == sum(s >= threshold for s in of_signal) / len(of_signal)
    assert row["noise_removed"] == sum(s < threshold for s in of_noise) / len(of_noise)
    assert (row["events"], row["noise_hits_per_event"]) == (12, 200)
    assert row["signal_hits_per_event"] == len(of_signal) / 12


def test_the_oracle_reaches_the_physical_limit():
    row = judge(oracle_scorer(ONE_TRACK), ONE_TRACK, ONE_TRACK.events(500))
    assert row["noise_removed_at_97"] == pytest.approx(0.991, abs=0.005)
    assert row["noise_removed_at_99"] == pytest.approx(0.989, abs=0.005)
    assert "threshold" not in row


def test_without_noise_only_what_is_kept_is_defined():
    quiet = Condition("quiet", TorchSource(noise=0))
    row = judge(Scorer("all", "network", lambda hits: torch.ones(hits.num_hits), 0.5), quiet, quiet.events(5))
    assert (row["signal_retention"], row["signal_retention_error"]) == (1, 0)
    assert np.isnan([row[name] for name in ("noise_removed", "noise_removed_error", "noise_removed_at_97_error")]).all()


# ---- the table, the range, the speed -------------------------------------------------------------------


def test_the_order_of_denoisers_changes_no_figure(denoisers, monkeypatch):
    monkeypatch.setattr(figures, "BASELINE_NAMES", ())
    turned = dict(reversed(denoisers.items()))
    told = []
    one = figures.figures_table(denoisers, 20, lambda steps, note: told.append(steps))
    other = figures.figures_table(turned, 20)
    assert len(told) == figures.table_steps(denoisers)
    assert [row["name"] for row in one[:4]] == ["oracle", "one", "two", "deep"]
    plain = [row for row in one if row["kind"] != "mean of seeds"]
    assert sorted(plain, key=str) == sorted((row for row in other if row["kind"] != "mean of seeds"), key=str)
    assert figures.benchmark_rows(one) == figures.judge_benchmark(denoisers, 20)


def test_seeds_of_one_recipe_are_averaged(denoisers, monkeypatch):
    monkeypatch.setattr(figures, "BASELINE_NAMES", ())
    rows = figures.figures_table(denoisers, 20)
    means = [row for row in rows if row["kind"] == "mean of seeds"]
    assert [row["condition"] for row in means] == [condition.name for condition in TABLE]
    alike = [row for row in rows if row["name"] in ("one", "two") and row["condition"] == TABLE[0].name]
    for name in figures.SHARES:
        first, second = (row[name] for row in alike)
        assert means[0][name] == pytest.approx((first + second) / 2)
        assert means[0][f"{name}_error"] == pytest.approx(abs(first - second) / 2**0.5)


def test_filters_are_tuned_on_other_events(denoisers, monkeypatch):
    monkeypatch.setattr("pointae.analysis.judging.CALIBRATION_EVENTS", 30)
    monkeypatch.setattr(figures, "BASELINE_NAMES", ("time_window",))
    rows = figures.figures_table({}, 60)
    (row,) = (row for row in rows if row["name"] == "time_window" and row["condition"] == ONE_TRACK.name)
    assert row["signal_retention"] == pytest.approx(0.97, abs=0.03)
    assert row["signal_retention"] != 0.97
    assert 0 < row["noise_removed"] < 0.5


def test_the_range_has_every_point_and_the_oracle_beside(denoisers, tmp_path):
    told = []
    rows = figures.range_curves({"one": denoisers["one"]}, 2, lambda steps, note: told.append(steps))
    assert len(told) == figures.range_steps({"one": None})
    assert [(row["sweep"], row["setting"]) for row in rows[::2]] == [(c.sweep, c.setting) for c in sweeps()]
    names = {row["setting"]: row["name"] for row in rows if row["kind"] == "bound"}
    assert names["uniform"] == "oracle"
    assert {names[mode] for mode in ("tracks", "crossing", "mixture")} == {"oracle (if uniform)"}
    picture = plot_range(rows, tmp_path / "range.png", "two events")
    assert picture.stat().st_size > 20_000
    with picture.with_suffix(".csv").open() as file:
        written = list(csv.DictReader(file))
    assert len(written) == len(rows)
    columns = ["sweep", "setting", "name", "signal_hits_per_event", "noise_removed_at_97", "noise_removed_at_97_error"]
    assert set(columns) <= set(written[0])
    assert [row["noise_removed_at_97"] for row in written] == [str(row["noise_removed_at_97"]) for row in rows]


def test_a_slow_denoiser_takes_part_in_fewer_rounds_but_in_one(monkeypatch):
    clock, calls, told = [0.0], [], []
    monkeypatch.setattr(speed, "ROUNDS", 4)
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def taking(name, seconds):
        def denoise(piece):
            calls.append(name)
            clock[0] += seconds

        return denoise

    denoisers = {"slow": taking("slow", 2 * speed.ENOUGH_S), "fast": taking("fast", 1.0)}
    seconds = speed._rounds(denoisers, [ONE_TRACK.events(2)], lambda steps, note: told.append(note))
    assert seconds == {"slow": [2 * speed.ENOUGH_S], "fast": [1.0] * 4}
    assert (calls.count("slow"), calls.count("fast")) == (2, 5)  # one more that is not counted
    assert len(told) == 2 * (4 + 1)


def test_speed_stands_beside_quality(denoisers, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "CALLS", {1: 3, 64: 1})
    monkeypatch.setattr(speed, "ROUNDS", 2)
    quality = figures.judge_benchmark(denoisers, 10)
    told = []
    rows = speed.quality_speed(denoisers, quality, lambda steps, note: told.append(note))
    assert len(told) == speed.quality_speed_steps(denoisers)
    firsts = [note.split(",")[0] for note in told[::3]]
    assert firsts[:3] == list(denoisers)  # each round begins with another
    assert [(row["name"], row["batch"]) for row in rows[:-1]] == [(n, b) for b in (1, 64) for n in denoisers]
    per_event = ONE_TRACK.events(64).num_hits / 64
    for row in rows[3:6]:
        assert row["hits_per_second"] / row["events_per_second"] == pytest.approx(per_event)
        assert row["events_per_second"] >= row["events_per_second_p90"] > 0
    removed = {row["name"]: row["noise_removed_at_99"] for row in quality}
    assert {row["name"]: row["noise_removed_at_99"] for row in rows} == removed
    assert rows[-1]["kind"] == "bound"
    assert not any("times_dense2d" in row for row in rows)
    picture = plot_quality_speed(rows, tmp_path / "speed.png")
    assert picture.stat().st_size > 20_000
    assert len(picture.with_suffix(".csv").read_text().splitlines()) == 1 + len(rows)


def test_the_predecessors_network_is_the_measure_of_speed(denoisers, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "CALLS", {4: 1})
    monkeypatch.setattr(speed, "ROUNDS", 1)
    small = [*SMALL[:3], "model.encoder.channels=[2,2,2]", "model.decoder.channels=[2,2,2]", "train.epochs=1"]
    dense = train_run(load_config("configs/torch/dense2d.yaml", small), tmp_path).path
    both = {**opened(dense), "one": denoisers["one"]}
    rows = speed.quality_speed(both, figures.judge_benchmark(both, 5))
    rates = {row["name"]: row["events_per_second"] for row in rows[:2]}
    assert rows[0]["times_dense2d"] == 1
    assert rows[1]["times_dense2d"] == pytest.approx(rates["one"] / rates["dense2d"])


def test_an_empty_picture_is_refused(tmp_path):
    for plot in (plot_range, plot_quality_speed):
        with pytest.raises(DataError, match="nothing to draw"):
            plot([], tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []


# ---- by name --------------------------------------------------------------------------------------------


def test_denoisers_are_called_by_their_run(runs, tmp_path):
    other = tmp_path / "one"
    other.symlink_to(runs["two"], target_is_directory=True)
    alike = tmp_path / "else" / "one"
    shutil.copytree(runs["deep"], alike)
    assert list(opened(runs["one"], runs["deep"])) == ["one", "deep"]
    assert list(opened(runs["one"], alike)) == [str(runs["one"].resolve()), str(alike.resolve())]
    with pytest.raises(UsageError, match="twice"):
        opened(runs["two"], other)


def test_shares_are_printed_with_their_error():
    row = {"name": "a", "noise_removed": 0.9123, "noise_removed_error": 0.0011, "hits_per_second": 1234.5}
    row |= {"noise_removed_at_97": float("nan"), "times_dense2d": 2.345}
    cells = [figures.cell(row, name) for name in (*row, "signal_retention") if not name.endswith("error")]
    assert cells == ["a", "91.23 ± 0.11", "1,234", "undefined", "2.35", ""]


def type_in(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "tools/figures.py", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [(4, ["nowhere"], "nowhere"), (2, ["nowhere", "--events", "0"], "must be above 0")],
)
def test_wrong_input_is_told_in_one_line(code, words, told, tmp_path):
    done = type_in(*words, "--out", tmp_path / "out")
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_tool_prints_the_same_figures_again(runs, tmp_path):
    words = [runs["one"], runs["two"], "--events", 30, "--range-events", 5, "--threads", 1]
    done = type_in(*words, "--out", tmp_path / "all")
    assert done.returncode == 0, done.stderr
    assert "30 + 200 uniform, 30 events" in done.stdout
    names = ["environment.json", "range.csv", "range.png", "speed.csv", "speed.png", "table.csv"]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == names
    for part in ("table", "range"):
        again = type_in(*words, "--only", part, "--out", tmp_path / part)
        assert again.returncode == 0, again.stderr
        assert (tmp_path / part / f"{part}.csv").read_bytes() == (tmp_path / "all" / f"{part}.csv").read_bytes()
