"""Of several things those that can be are worked on; the others are named, and the worst code is the tool's."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from calls import tool

from pointae.analysis.latent.clusters import cluster
from pointae.analysis.latent.projection import project
from pointae.attempts import Attempts
from pointae.config import Config, TorchSource
from pointae.config_files import load_config
from pointae.errors import CheckpointError, ComponentError, DataError, NonFiniteError, UsageError, worst
from pointae.io import write_hits
from pointae.runs import RunDirectory
from pointae.simulate import simulate_events
from pointae.training.session import train_run

CASES = Path("tests/data/cases")
SMALL = [
    "train.epochs=1", "train.threads=1", "train.device=cpu", "train.batch_size=8", "train.precision=fp32",
    "model.encoder.channels=8", "model.encoder.layers=1", "model.encoder.heads=2", "model.latent.size=4",
]  # fmt: skip


# ---- the rule ------------------------------------------------------------------------------------------


def test_the_largest_code_is_the_worst_but_for_the_unexpected():
    assert worst([]) == worst([0]) == 0
    assert worst([3, 5, 2]) == 5
    assert worst([7, 1, 6]) == 1


def test_all_are_tried_and_the_worst_is_raised(capsys):
    errors = {"a": DataError("bad"), "c": NonFiniteError("worse"), "d": UsageError("less")}
    done = []

    def work() -> None:
        with Attempts() as attempts:
            for name in "abcd":
                with attempts.at(name):
                    if name in errors:
                        raise errors[name]
                    done.append(name)

    with pytest.raises(NonFiniteError, match="c: worse"):
        work()
    assert done == ["b"]
    told = capsys.readouterr().err
    assert "a: bad" in told
    assert "d: less" in told
    assert "c: worse" not in told  # whoever catches it tells it


def test_what_stops_all_is_not_kept_back_and_what_failed_before_is_told(capsys):
    def work() -> None:
        with Attempts() as attempts:
            with attempts.at("a"):
                raise DataError("bad")
            with attempts.at("b"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "a: bad" in capsys.readouterr().err


# ---- the tools -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    words = [*SMALL, "data.events.train=16", "data.events.validation=8", "data.events.test=8", "data.source.noise=20"]
    for name in ("one", "two"):
        train_run(load_config("configs/demo.yaml", [*words, f"name={name}"]), folder)
    return folder


def test_files_that_can_be_read_are_told_beside_one_that_cannot(tmp_path, capsys):
    events = simulate_events(TorchSource(noise=20), 1, torch.arange(3))
    write_hits(tmp_path / "good.h5", events)
    (tmp_path / "bad.h5").write_bytes(b"no HDF5")
    files = [str(tmp_path / name) for name in ("bad.h5", "good.h5", "missing.h5")]
    with pytest.raises(DataError):
        tool("inspect_data", *files)
    out, told = capsys.readouterr()
    assert f"{events.num_hits}" in out
    assert "missing.h5" in told
    with pytest.raises(DataError):
        tool("inspect_data", "--json", *files)
    assert [row["file"] for row in json.loads(capsys.readouterr().out)] == [files[1]]


def without_epochs(run: RunDirectory) -> None:
    run.metrics_path.unlink()
    run.update_record(status="training")


def damaged(run: RunDirectory) -> None:
    run.record_path.write_text("[]")


def of_words(run: RunDirectory) -> None:
    run.judged_path.write_text("[1")


@pytest.mark.parametrize(("spoil", "left"), [(without_epochs, 2), (damaged, 1), (of_words, 1)])
def test_runs_are_compared_beside_one_that_cannot_be(two_runs, tmp_path, capsys, spoil, left):
    runs = []
    for name in ("one", "two"):
        shutil.copytree(two_runs / name, tmp_path / name)
        runs.append(str(tmp_path / name))
    spoil(RunDirectory(tmp_path / "one"))
    with pytest.raises((DataError, CheckpointError), match="one"):
        tool("compare", *runs, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()
    with (tmp_path / "out" / "ranking.csv").open() as file:
        names = {row["name"] for row in csv.DictReader(file)}
    assert len(names) == left
    assert "two" in names
    if spoil is without_epochs:
        assert "one: its training was killed before the first epoch ended" in " ".join(capsys.readouterr().out.split())


def test_runs_that_did_not_end_say_so_when_they_are_used(two_runs, tmp_path, capsys):
    shutil.copytree(two_runs / "one", tmp_path / "one")
    run = RunDirectory.open(tmp_path / "one")
    run.update_record(status="training")
    write_hits(tmp_path / "hits.h5", simulate_events(TorchSource(noise=20), 1, torch.arange(3)))
    told = "its training was killed after 1 epoch"
    tool("denoise", run.path, tmp_path / "hits.h5", "-o", tmp_path / "out.h5")
    assert told in " ".join(capsys.readouterr().err.split())
    tool("evaluate", run.path, "--no-baselines")
    assert told in " ".join(capsys.readouterr().err.split())
    tool("view", run.path, "--engine", "html", "--out", tmp_path / "look")
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["all_noise.csv", "rare_signal.csv"])
def test_without_signal_no_share_of_it_is_told(tmp_path, capsys, name):
    source = f"{{kind: files, paths: [{CASES / name}]}}"
    config = load_config("configs/demo.yaml", [*SMALL, f"data.source={source}", "name=run"])
    run = train_run(config, tmp_path)
    found = run.record.signal_hits
    out = " ".join(capsys.readouterr().out.split())
    assert "keeps 97 % of signal" not in out
    told = "no signal in validation" if not found else f"the threshold rests on {found} signal hit"
    assert told in out
    assert "nan" not in out
    assert found < 20
    tool("denoise", run.path, CASES / name, "-o", tmp_path / "out.csv")
    assert told in " ".join(capsys.readouterr().err.split())
    tool("denoise", run.path, CASES / name, "-o", tmp_path / "out.csv", "--threshold", "0.4")
    assert told not in " ".join(capsys.readouterr().err.split())
    tool("evaluate", run.path, "--json", "--no-baselines")
    out, said = capsys.readouterr()
    figures = json.loads(out, parse_constant=pytest.fail)
    assert told in " ".join(said.split())
    if figures["signal_hits"] == 0:
        assert "no signal among the" in " ".join(said.split())
        assert figures["roc_auc"] is None


@pytest.mark.parametrize("threshold", ["nan", "inf", "-0.1", "1.5"])
def test_a_threshold_that_no_score_can_be_compared_with_is_refused(two_runs, tmp_path, threshold):
    words = [str(two_runs / "one"), str(CASES / "all_noise.csv"), "-o", str(tmp_path / "out.csv")]
    with pytest.raises(UsageError, match="threshold"):
        tool("denoise", *words, f"--threshold={threshold}")
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_of_deepclean3d_is_looked_at_like_any_other_file(tmp_path):
    events = simulate_events(TorchSource(noise=20), 1, torch.arange(2))
    write_hits(tmp_path / "images", events)
    torch.save(torch.zeros(2, 1, 128, 88, dtype=torch.float64), tmp_path / "bundle.pt")
    (tmp_path / "bundles" / "Data").mkdir(parents=True)
    shutil.move(tmp_path / "bundle.pt", tmp_path / "bundles" / "Data" / "a.pt")
    for name in ("images", "bundles"):
        tool("view", tmp_path / name, "--engine", "html", "--out", tmp_path / f"{name}_look")
        assert any((tmp_path / f"{name}_look").rglob("*.html"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        tool("view", tmp_path / "empty", "--engine", "html")


# ---- few events ----------------------------------------------------------------------------------------


def robot_run(folder: Path, path: Path) -> RunDirectory:
    config = Config.model_validate({
        "name": "robots",
        "data": {"source": {"kind": "robots", "paths": [str(path)]}, "target": "full"},
        "model": {
            "encoder": {"name": "pointnet", "channels": 8, "rounds": 1},
            "latent": {"name": "variational", "size": 3},
            "decoder": {"name": "point_set", "slots": 8, "hidden": 16, "categories": 4},
        },
        "train": {"epochs": 1, "loss": {"name": "set"}, "threads": 1, "device": "cpu"},
    })  # fmt: skip
    return train_run(config, folder)


def test_the_latent_space_of_a_few_robots_is_told_and_no_option_is_blamed_that_nobody_gave(tmp_path, capsys):
    run = robot_run(tmp_path, CASES / "rob_tiny.csv")
    tool("latent", run.path, "--samples", "5")
    assert (run.latent / "latent.html").is_file()
    assert "umap is left out: it needs at least 5 training events, there are 3" in " ".join(
        capsys.readouterr().err.split()
    ) or not shutil.which("umap")
    for option, told in ((["--between", "0", "1"], "--between 1"), (["--clusters", "9"], "--clusters 9")):
        with pytest.raises(UsageError, match=told):
            tool("latent", run.path, *option)


@pytest.mark.parametrize("events", [1, 2, 3, 4])
@pytest.mark.parametrize("equal", [True, False])
def test_few_or_equal_codes_have_a_plane_and_clusters(events, equal):
    codes = torch.zeros(events, 3).numpy() if equal else torch.randn(events, 3, dtype=torch.float64).numpy()
    plane = project("pca", codes, codes, seed=1)
    assert plane.train.shape == (events, 2)
    found = cluster(codes, codes, (plane.train, plane.validation), seed=1)
    assert found.chosen == (1 if equal or events < 3 else 2)
    assert len(found.labels) == events


def test_an_event_count_that_umap_cannot_place_is_told():
    codes = torch.randn(3, 3).numpy()
    with pytest.raises((DataError, ComponentError), match="umap"):
        project("umap", codes, codes, seed=1)


def test_networks_that_can_be_opened_are_judged_beside_those_that_cannot(two_runs, tmp_path, capsys):
    from pointae.analysis.compression import comparable
    from pointae.analysis.judging import open_denoisers
    from pointae.trained import open_each

    shutil.copytree(two_runs / "two", tmp_path / "damaged")
    weights = RunDirectory(tmp_path / "damaged").weights()
    weights.write_bytes(weights.read_bytes()[:-5])
    attempts = Attempts()
    found = open_each([two_runs / "one", tmp_path / "nowhere", tmp_path / "damaged"], attempts.at)
    denoisers = open_denoisers(found, each=attempts.at)
    assert list(denoisers) == ["one"]
    assert comparable(denoisers, attempts.at) == {}  # its decoder masks hits
    assert [error.exit_code for error in attempts.failures] == [4, 4, 4]
    with pytest.raises(CheckpointError, match="makes no pattern"):
        tool("compression", two_runs / "one", "--out", tmp_path / "out")
    with pytest.raises(UsageError, match="was trained on simulated events"):
        tool("recording", two_runs / "one", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_fails_while_it_is_judged_is_left_out_and_told_once(two_runs, tmp_path, monkeypatch, capsys):
    from pointae.analysis import conditions, figures
    from pointae.inference import Denoiser

    denoise = Denoiser.__call__

    def failing(denoiser, hits):
        if denoiser.source.name == "two":
            raise DataError("no such feature")
        return denoise(denoiser, hits)

    monkeypatch.setattr(Denoiser, "__call__", failing)
    monkeypatch.setattr(figures, "TABLE", conditions.TABLE[:2])
    monkeypatch.setattr(figures, "BASELINE_NAMES", ())
    monkeypatch.setattr("pointae.benchmark.quality_speed.CALLS", {1: 1})
    words = ["--events", "3", "--range-events", "1", "--threads", "1", "--out", str(tmp_path)]
    with pytest.raises(DataError, match="two: no such feature"):
        tool("figures", two_runs / "one", two_runs / "two", *words)
    assert capsys.readouterr().err == ""  # the one failure is that which was raised
    for name in ("table", "range", "speed"):
        names = {row["name"] for row in csv.DictReader((tmp_path / f"{name}.csv").open())}
        assert names - {"oracle (if uniform)"} == {"one", "oracle"}
    with pytest.raises(DataError, match="two: no such feature"):
        tool("figures", two_runs / "two", *words, "--only", "speed")
    assert capsys.readouterr().err.count("no denoiser was judged") == 1


def test_a_part_of_the_benchmark_that_fails_stops_no_other(monkeypatch):
    from pointae.benchmark import suite
    from pointae.benchmark.results import Plan, Table

    def failing(plan, results):
        raise ComponentError("not here")

    def measured(plan, results):
        results.tables["streams"] = Table("streams", {}, [])

    monkeypatch.setattr(suite, "PARTS", {"networks": failing, "streams": measured})
    monkeypatch.setattr(suite, "pin", lambda threads: threads)
    attempts = Attempts()
    results, _, _ = suite.run_parts(Plan(threads=1), ["networks", "streams"], attempts.at)
    assert [*results.tables] == ["streams"]
    assert [str(error) for error in attempts.failures] == ["networks: not here"]
