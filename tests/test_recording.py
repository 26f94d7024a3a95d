"""Runs judged on a real recording with injected noise, and the limit that lone hits set."""

import csv
import math
import runpy

import pytest
import torch

from pointae.analysis.evaluation import RETENTIONS
from pointae.analysis.recording import AT, LIMIT, limit, lone_share, table_of
from pointae.config_files import load_config
from pointae.errors import CheckpointError, UsageError
from pointae.geometry import timepix3_geometry
from pointae.hits import HitBatch
from pointae.io import read_hits
from pointae.metrics import noise_removed_at
from pointae.runs import RunDirectory
from pointae.training.session import train_run

RECORDING = "tests/data/timepix3/serval_4chips.tpx3"


def test_lone_share_of_the_recording_is_that_of_a_slow_search():
    hits = read_hits(RECORDING, window_ns=20e6)
    time = hits.event_time_ns[hits.batch] + hits.coords[:, 2] * 1.5625
    near = (time[:, None] - time).abs() <= 100
    for axis in (0, 1):
        near &= (hits.coords[:, None, axis] - hits.coords[:, axis]).abs() <= 1
    assert lone_share(hits) == pytest.approx(float((near.sum(1) == 1).double().mean()), abs=2e-3)  # windows cut pairs
    assert lone_share(hits) == pytest.approx(0.44, abs=0.01)
    assert math.isnan(lone_share(HitBatch.empty(timepix3_geometry(), 2)))


def test_the_limit_is_what_a_judge_of_all_but_lone_hits_reaches():
    draw = torch.Generator().manual_seed(1)
    signal = torch.arange(200_000) < 100_000
    score = torch.rand(200_000, generator=draw)  # of lone hits, signal or noise: a guess
    score[:56_000] += 1  # signal with a neighbour
    for kept in (0.99, 0.97, 0.9, 0.6):
        assert noise_removed_at(score, signal, kept) == pytest.approx(limit(0.44, kept), abs=0.01)
    assert limit(0.44, 0.97) == pytest.approx(0.068, abs=1e-3)
    assert [limit(0.44, 0.5), limit(0.0, 0.97), limit(1.0, 0.97)] == [1.0, 1.0, pytest.approx(0.03)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds that look at time over threshold, and one that does not."""
    folder = tmp_path_factory.mktemp("recording")
    short = ["train.epochs=1", "train.precision=fp32", "model.encoder.channels=8", "train.batch_size=20"]
    short += ["evaluate.baselines=[lone_hits, time_window]", "evaluate.precision=fp32"]
    for words in (["name=tot", "seed=1"], ["name=tot", "seed=2"], ["name=blind", "data.source.features=[]"]):
        train_run(load_config("configs/timepix3/point.yaml", [*short, *words]), folder)
    return folder


def judge(*words):
    """The tool in this process: another one would import everything anew."""
    runpy.run_path("tools/recording.py")["main"]([str(word) for word in words])


def test_seeds_are_taken_together_and_filters_told_once(runs, tmp_path, capsys):
    judge(runs / "tot", runs / "blind", runs / "tot-2", "--out", tmp_path / "out")
    assert "have no neighbour within 100 ns" in capsys.readouterr().out
    with open(tmp_path / "out" / "recording.csv", newline="") as file:
        rows = {(row["name"], row["given"], int(row["seeds"])): row for row in csv.DictReader(file)}
    assert set(rows) == {
        (LIMIT, "x, y, t", 0), ("tot", "x, y, t, tot", 2), ("lone_hits", "x, y, t, tot", 2),
        ("time_window", "x, y, t", 2), ("blind", "x, y, t", 1), ("time_window", "x, y, t", 1),
    }  # fmt: skip
    assert all(bool(row["at_97_error"]) == (seeds > 1) for (_, _, seeds), row in rows.items())
    assert float(rows[LIMIT, "x, y, t", 0]["at_97"]) == pytest.approx(0.07, abs=0.01)
    with open(tmp_path / "out" / "curves.csv", newline="") as file:
        points = list(csv.DictReader(file))
    assert len(points) == len(rows) * len(RETENTIONS)
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000


def test_runs_of_simulated_events_are_sent_elsewhere(tmp_path):
    run = RunDirectory.create(tmp_path, "simulated")
    run.write_config("name: simulated\n")
    (run.path / "weights" / "best.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"was trained on simulated events \(torch\)"):
        judge(run.path, "--out", tmp_path / "out")
    with pytest.raises(CheckpointError, match="is not a run directory"):
        judge(tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_table_has_a_row_a_method():
    told = {"given": "x, y, t", "name": "a", "kind": "network", "seeds": 2, "roc_auc": 0.5}
    rows = [{**told, "signal_kept": kept, "noise_removed": 1 - kept, "noise_removed_error": 0.1} for kept in RETENTIONS]
    (row,) = table_of(rows)
    assert [row[f"at_{100 * kept:.0f}"] for kept in AT] == pytest.approx([1 - kept for kept in AT])
    assert table_of([]) == []
