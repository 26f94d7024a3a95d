"""Each tool as a user types it: help, one real run, one wrong input, and what it exits with."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pointae.config import TorchSource
from pointae.config_files import load_config
from pointae.io import read_hits, write_hits
from pointae.simulate import simulate_events
from pointae.training.session import train_run

TOOLS = sorted(Path("tools").glob("*.py"))
SMALL = [
    "data.events.train=32", "data.events.validation=40", "data.events.test=30",
    "model.encoder.channels=16", "train.epochs=1", "train.precision=fp32", "evaluate.pictures=2",
]  # fmt: skip


def type_in(tool: str, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, f"tools/{tool}.py", *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train_run(load_config("configs/torch/pointnet_point.yaml", SMALL), folder)
    return folder


@pytest.fixture(scope="module")
def hits_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hits") / "hits.h5"
    write_hits(path, simulate_events(TorchSource(), seed=3, index=torch.arange(12)))
    return path


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_help_loads_nothing_slow(tool):
    probe = (
        f"import sys, runpy; sys.argv = ['{tool}', '--help']\n"
        f"try: runpy.run_path('{tool}', run_name='__main__')\n"
        "except SystemExit as exit: assert exit.code in (0, None)\n"
        "slow = {'torch', 'matplotlib', 'sklearn', 'scipy', 'open3d', 'pyvista'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_train_evaluate_denoise_view(tmp_path):
    trained = type_in("train", "configs/torch/pointnet_point.yaml", *SMALL, "--runs", tmp_path / "runs")
    assert trained.returncode == 0, trained.stderr
    run = tmp_path / "runs" / "latest"
    assert run.read_text().strip() == "pointnet_point"
    judged = type_in("evaluate", run)
    assert "knn_density" in judged.stdout
    viewed = type_in("view", run, "--engine", "files", "--events", 1)
    assert viewed.returncode == 0, viewed.stderr
    written = [Path(line.split()[-1]) for line in viewed.stdout.splitlines() if line.endswith((".png", ".html"))]
    assert {path.suffix for path in written} == {".png", ".html"}
    assert all(path.stat().st_size > 10_000 for path in written)


def test_evaluate_json_is_one_object_of_micro_metrics(runs):
    done = type_in("evaluate", runs / "latest", "--json", "--no-baselines")
    figures = json.loads(done.stdout)
    assert set(figures) >= {
        "signal_retention", "noise_removed", "noise_removed_at_97", "noise_removed_at_99",
        "noise_kept_per_event", "snr_db_in", "snr_db_out", "purity",
    }  # fmt: skip
    kept = 1 - figures["noise_removed"]
    assert figures["noise_kept_per_event"] == pytest.approx(200 * kept, rel=1e-3)


def test_evaluate_takes_a_labelled_file(runs, hits_file):
    done = type_in("evaluate", runs / "latest", hits_file, "--json", "--no-baselines")
    assert json.loads(done.stdout)["events"] == 12


def test_denoise_says_what_it_did(runs, hits_file, tmp_path):
    done = type_in("denoise", runs / "latest", hits_file, "-o", tmp_path / "clean.csv", "--kept-only")
    assert "events/s" in done.stdout
    assert f"saved: {tmp_path / 'clean.csv'}" in done.stdout
    clean = read_hits(tmp_path / "clean.csv")
    assert bool(clean.kept.all())


def test_dry_run_shows_and_writes_nothing(tmp_path):
    done = type_in("train", "configs/torch/sparse_point.yaml", "--dry-run", "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "parameters" in done.stdout
    assert "coords" in done.stdout
    assert not (tmp_path / "runs").exists()


WRONG = [
    (2, "train", ["configs/demo.yaml", "train.epoch=3"], "did you mean 'epochs'"),
    (2, "train", ["configs/demmo.yaml"], "did you mean"),
    (2, "train", [], "which config?"),
    (2, "train", ["configs/demo.yaml", "--resume", "runs/latest"], "takes the run's own config"),
    (2, "frame_time", ["--frames", "0"], "must be above 0"),
    (4, "train", ["--resume", "nowhere"], "not a run directory"),
    (4, "evaluate", ["nowhere"], "not a run directory"),
    (4, "denoise", ["nowhere", "x.h5", "-o", "y.h5"], "not a run directory"),
    (4, "view", ["nowhere"], ""),
    (2, "simulate", ["configs/demmo.yaml", "-o", "x.h5"], "did you mean"),
    (3, "inspect_data", ["nowhere.h5"], "nowhere.h5"),
]


@pytest.mark.parametrize(("code", "tool", "words", "told"), WRONG, ids=lambda value: str(value)[:30])
def test_wrong_input_is_told_in_one_line(code, tool, words, told):
    done = type_in(tool, *words)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="a screen is taken for granted there")
def test_frame_time_of_an_engine_that_cannot_draw_is_told(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = type_in("frame_time", "--engine", "open3d", "--hits", "5")
    assert done.returncode == 7
    assert "run it under xvfb-run" in done.stderr
    assert done.stdout == ""


def test_debug_shows_the_traceback():
    assert "Traceback" in type_in("evaluate", "nowhere", "--debug").stderr


def test_a_broken_file_leaves_nothing_behind(runs, tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    begin = time.perf_counter()
    done = type_in("denoise", runs / "latest", broken, "-o", tmp_path / "clean.h5")
    assert time.perf_counter() - begin < 60
    assert done.returncode == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.h5"]
