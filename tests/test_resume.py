"""A training that was stopped, killed or starved goes on to the bits of one that was not."""

from __future__ import annotations

import csv
import errno
import json
import multiprocessing
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from pointae import storage
from pointae.config import TorchSource
from pointae.config_files import load_config
from pointae.errors import CheckpointError, StorageError
from pointae.io import write_hits
from pointae.precision import Precision
from pointae.record import Resumed
from pointae.runs import RunDirectory
from pointae.simulate import simulate_events
from pointae.terminal import Terminated
from pointae.training.average import WeightAverage
from pointae.training.checkpoint import GENERATIONS, checkpoint_of, give_up_after, load_checkpoint
from pointae.training.gate import Stop
from pointae.training.session import resume_run, train_run
from pointae.training.stepper import Stepper
from pointae.weights import load_state, tensor_digest

TINY = [
    "data.events.train=32", "data.events.validation=20", "data.source.noise=30", "train.batch_size=16",
    "train.epochs=4", "train.precision=fp32", "train.threads=1", "train.device=cpu", "evaluate.pictures=4",
]  # fmt: skip
POINT = ["model.encoder.channels=8", "model.encoder.layers=1", "model.encoder.heads=2", "model.latent.size=8"]
VARIANTS = {
    "one_cycle, average": ("demo", [*POINT, "train.average=0.9"]),
    "plateau, drawn latent": ("demo", [*POINT, "train.schedule=plateau", "model.latent.name=variational"]),
    "cosine, fp64, fixed events": (
        "demo",
        [*POINT, "train.schedule=cosine", "train.precision=fp64", "data.fresh=false"],
    ),
    "batch norm, average": ("torch/dense2d", ["model.encoder.channels=[2, 2, 2]", "train.average=0.9"]),
}
FIRST = "one_cycle, average"


def config_of(variant: str = FIRST, *overrides: str):
    name, own = VARIANTS[variant]
    return load_config(f"configs/{name}.yaml", [*TINY, *own, "name=run", *overrides])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunDirectory:
    """A run that nothing happened to."""
    return train_run(config_of(), tmp_path_factory.mktemp("whole"))


def rows_of(run: RunDirectory) -> list[dict[str, str]]:
    """``metrics.csv`` but for the seconds, which no two runs share."""
    with run.metrics_path.open() as file:
        return [{name: text for name, text in row.items() if "seconds" not in name} for row in csv.DictReader(file)]


def assert_same(run: RunDirectory, other: RunDirectory) -> None:
    for which in ("best", "last"):
        assert run.weights(which).read_bytes() == other.weights(which).read_bytes()
    assert run.predictions().read_bytes() == other.predictions().read_bytes()
    assert rows_of(run) == rows_of(other)
    assert run.outputs_path.read_bytes() == other.outputs_path.read_bytes()
    assert tensor_digest(load_checkpoint(run).tensors) == tensor_digest(load_checkpoint(other).tensors)
    for name in ("status", "threshold", "best_epoch", "epochs", "parameters"):
        assert getattr(run.record, name) == getattr(other.record, name)
    assert [path.name for path in run.path.rglob(".*")] == []  # nothing half-written is left


def at_epoch(epoch: int, action):
    """A ``draw`` that acts at the end of an epoch, after all of it was saved."""

    def draw(run: RunDirectory) -> None:
        if len(run.metrics_path.read_text().splitlines()) == epoch + 1:
            action()

    return draw


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def stopped_run(folder: Path, epoch: int = 2, config=None) -> RunDirectory:
    with pytest.raises(KeyboardInterrupt):
        train_run(config or config_of(), folder, at_epoch(epoch, press_ctrl_c))
    return RunDirectory.open(folder / "latest")


# ---- going on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path, variant):
    config = config_of(variant)
    stopped = stopped_run(tmp_path / "stopped", 2, config)
    assert stopped.record.status == "interrupted"
    torch.manual_seed(99)  # nothing may depend on what this process drew before
    resumed = resume_run(stopped.path)
    assert_same(resumed, train_run(config, tmp_path / "whole"))
    assert resumed.record.resumed == [Resumed(epoch=2, forced=[])]


def test_the_loss_scaler_and_its_skips_go_on(tmp_path, monkeypatch):
    # choose_precision gives no fp16 to a CPU, where it is slow; its scaler works there all the same.
    half = Precision(torch.device("cpu"), "fp16")
    monkeypatch.setattr("pointae.training.session.choose_precision", lambda *_: half)
    monkeypatch.setattr(half.__class__, "scaler", lambda _: torch.amp.GradScaler("cpu", growth_interval=3))
    stopped = stopped_run(tmp_path / "stopped")
    assert load_checkpoint(stopped).facts["scaler"]["_growth_tracker"] == 1  # of 4 steps
    resumed = resume_run(stopped.path)
    whole = train_run(config_of(), tmp_path / "whole")
    assert load_checkpoint(resumed).facts["scaler"] == load_checkpoint(whole).facts["scaler"]
    assert_same(resumed, whole)


def test_resuming_a_finished_run_changes_nothing_and_more_epochs_add_to_it(tmp_path):
    few, many = (config_of(FIRST, "train.schedule=constant", f"train.epochs={epochs}") for epochs in (2, 3))
    run = train_run(few, tmp_path / "few")
    before = run.weights("last").read_bytes()
    assert resume_run(run.path).weights("last").read_bytes() == before
    assert_same(resume_run(run.path, ["train.epochs=3"]), train_run(many, tmp_path / "many"))
    assert load_config(run.config_path) == many


def test_only_the_newest_generations_are_kept(whole):
    assert list(whole.checkpoints()) == [4, 3][:GENERATIONS]


def test_a_run_taken_back_to_an_epoch_goes_on_as_it_did(tmp_path, whole):
    run = train_run(config_of(FIRST, "train.checkpoints=4"), tmp_path)
    assert list(run.checkpoints()) == [4, 3, 2, 1]
    resume_run(run.path, epoch=2)
    assert_same(run, whole)
    assert [row["epoch"] for row in rows_of(run)] == ["1", "2", "3", "4"]
    assert run.record.resumed[-1].epoch == 2


def test_what_was_after_the_epoch_is_given_up_only_when_the_run_goes_on(tmp_path, whole):
    run = stopped_run(tmp_path)
    last = max(run.checkpoints())
    kept = ", ".join(map(str, sorted(run.checkpoints())))
    with pytest.raises(CheckpointError, match=f"no checkpoint of epoch 99; it has those of: {kept}"):
        resume_run(run.path, epoch=99)
    with pytest.raises(CheckpointError, match="other settings"):
        resume_run(run.path, ["train.learning_rate=0.5"], epoch=min(run.checkpoints()))
    assert max(run.checkpoints()) == last
    checkpoint = checkpoint_of(run, last)
    give_up_after(run, last - 1)
    assert last not in run.checkpoints()
    assert checkpoint.epoch == last


def test_a_run_of_which_no_epoch_ended_starts_over(tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pointae.training.loop.validate", lambda *_: press_ctrl_c())
        with pytest.raises(KeyboardInterrupt):
            train_run(config_of(), tmp_path)
    run = RunDirectory.open(tmp_path / "latest")
    assert load_state(run.weights("best"))[1]["interrupted"] is True
    assert_same(resume_run(run.path), whole)


# ---- killed --------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def in_child(work) -> int:
    """Run ``work`` in a forked process; its exit code, negative for a signal."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(120)
    return child.exitcode


def kill_at_replace(number: int, moment: str):
    """Make the process kill itself at its ``number``-th atomic write."""
    replace, count = os.replace, 0

    def deadly(source, target) -> None:
        nonlocal count
        count += 1
        if count == number and moment == "half":
            os.truncate(source, os.path.getsize(source) // 2)
        if count == number and moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly


def train_and_die(folder: Path, number: int, moment: str) -> int:
    def work() -> None:
        kill_at_replace(number, moment)
        train_run(config_of(), folder)

    return in_child(work)


# Atomic writes: latest, record, config, record; checkpoint, metrics, outputs, best, last an epoch; 5 at the end.
CONFIG, EARLY, PER_EPOCH = 3, 4, 5
SECOND_CHECKPOINT = EARLY + PER_EPOCH + 1
POINTS = [(EARLY, "after"), *((SECOND_CHECKPOINT, moment) for moment in ("before", "half", "after"))]
POINTS += [(SECOND_CHECKPOINT + 2, "after"), (EARLY + 4 * PER_EPOCH + 3, "before")]


@needs_fork
@pytest.mark.parametrize(("number", "moment"), POINTS)
def test_a_run_killed_inside_a_save_resumes(tmp_path, whole, number, moment):
    assert train_and_die(tmp_path, number, moment) == -signal.SIGKILL
    run = RunDirectory.open(tmp_path / "run")
    lost_at_most_the_current_epoch(run)
    assert_same(resume_run(run.path), whole)


def lost_at_most_the_current_epoch(run: RunDirectory) -> None:
    """What was told as done is in a checkpoint."""
    log = run.path / "log.txt"
    told = re.findall(r"^epoch (\d+)/", log.read_text(), re.MULTILINE) if log.is_file() else []
    kept = load_checkpoint(run)
    assert (kept.epoch if kept else 0) >= max(map(int, told), default=0)


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("moment", ["before", "half", "after"])
def test_a_run_killed_at_any_of_its_writes_resumes(tmp_path, whole, moment):
    number = CONFIG  # what makes a run
    while True:
        number += 1
        code = train_and_die(tmp_path / str(number), number, moment)
        run = RunDirectory.open(tmp_path / str(number) / "run")
        assert_same(resume_run(run.path), whole)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert number > EARLY + 4 * PER_EPOCH


@pytest.mark.slow
@needs_fork
def test_a_run_killed_again_and_again_at_random_moments_ends_the_same(tmp_path, whole):
    fork = multiprocessing.get_context("fork")
    begin = time.perf_counter()
    unharmed = fork.Process(target=partial(train_run, config_of(), tmp_path / "unharmed"))
    unharmed.start()
    unharmed.join()
    lasts = time.perf_counter() - begin  # moments are shares of it, so that they hit on any machine
    chance, total = random.Random(5), 0
    for trial in range(12):
        folder, kills = tmp_path / str(trial), 0
        while True:
            run = max(folder.glob("run*/config.yaml"), default=folder).parent
            work = partial(train_run, config_of(), folder) if run == tmp_path else partial(resume_run, run)
            child = fork.Process(target=work)
            child.start()
            child.join(chance.uniform(0.05, 0.7) * lasts if kills < 8 else 120)
            if child.exitcode is not None:
                break
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            kills += 1
        total += kills
        assert child.exitcode == 0
        assert_same(RunDirectory.open(folder / "latest"), whole)
    assert total >= 12


# ---- damaged, refused, starved -------------------------------------------------------------------------


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")], ids=["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, whole, capsys, damage):
    run = stopped_run(tmp_path, 3)
    damage(run.checkpoint_path(3))
    resumed = resume_run(run.path)
    told = " ".join(capsys.readouterr().err.split())
    assert "epoch-0003.safetensors" in told
    assert "falling back" in told
    assert resumed.record.resumed[0].epoch == 2
    assert_same(resumed, whole)


def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path):
    run = stopped_run(tmp_path)
    for path in run.checkpoints().values():
        cut(path)
    for _ in ("damaged", "removed"):
        with pytest.raises(CheckpointError, match="no readable checkpoint"):
            resume_run(run.path, force=True)
        for path in run.checkpoints().values():
            path.unlink()


@pytest.mark.parametrize(("number", "name"), [(errno.ENOSPC, "fsync"), (errno.EACCES, "replace"), (errno.EIO, "fsync")])
def test_a_save_that_fails_is_told_and_keeps_the_checkpoint_before(tmp_path, whole, monkeypatch, number, name):
    def fail(*_) -> None:
        raise OSError(number, os.strerror(number))

    with (
        monkeypatch.context() as patch,
        pytest.raises(StorageError, match=f"{os.strerror(number)}.*--resume") as caught,
    ):
        train_run(config_of(), tmp_path, at_epoch(2, lambda: patch.setattr(os, name, fail)))
    assert caught.value.exit_code == 5
    run = RunDirectory.open(tmp_path / "run")
    assert list(run.checkpoints()) == [2, 1]
    assert_same(resume_run(run.path), whole)


def test_a_short_write_is_no_checkpoint(tmp_path, whole, monkeypatch):
    run = stopped_run(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "sync", lambda path: os.truncate(path, 50) if path.stat().st_size > 5000 else None)
        with pytest.raises(StorageError, match="does not read back") as caught:
            resume_run(run.path)
    assert caught.value.exit_code == 5
    assert_same(resume_run(run.path), whole)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.batch_size=8", "train.batch_size was 16, is 8"),
        ("train.epochs=9", r"train.epochs was 4, is 9 \(the schedule one_cycle runs over all epochs\)"),
        ("data.source.noise=31", "data.source.noise was 30, is 31; data: sha256 was "),
        ("train.average=null", "train.average was 0.9, is null"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, override, told):
    run = stopped_run(tmp_path)
    before = run.config_path.read_bytes()
    with pytest.raises(CheckpointError, match=told) as caught:
        resume_run(run.path, [override])
    assert caught.value.exit_code == 4
    assert run.config_path.read_bytes() == before
    resume_run(run.path, [override], force=True)
    assert re.search(told, "; ".join(run.record.resumed[0].forced))


def test_forced_epochs_end_the_schedule_where_they_say(tmp_path):
    run = resume_run(stopped_run(tmp_path).path, ["train.epochs=6"], force=True)
    assert len(rows_of(run)) == 6
    assert float(rows_of(run)[-1]["learning_rate"]) < 1e-7


def test_a_forced_other_model_is_still_refused(tmp_path):
    run = stopped_run(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        resume_run(run.path, ["model.latent.size=9"], force=True)


def test_files_that_changed_are_refused(tmp_path):
    path = tmp_path / "hits.h5"
    source = [f"data.source={{kind: files, paths: [{path}]}}", "data.source.window_ns=null"]
    for seed in (1, 2):
        write_hits(path, simulate_events(TorchSource(noise=30), seed, torch.arange(50)))
        if seed == 1:
            run = stopped_run(tmp_path / "runs", 2, config_of(FIRST, *source))
    with pytest.raises(CheckpointError, match=r"other settings or data: data: sha256 was \w+\.*, is \w+"):
        resume_run(run.path)


def test_settings_of_afterwards_may_change(tmp_path, whole):
    run = resume_run(stopped_run(tmp_path).path, ["evaluate.retention=0.9"])
    assert run.weights("last").read_bytes() == whole.weights("last").read_bytes()
    assert run.record.retention == 0.9


# ---- asked to stop or to wait --------------------------------------------------------------------------


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: what starts tests in the background may have told Python to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("kind", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_waits_for_the_batch_and_the_run_can_go_on(tmp_path, whole, monkeypatch, capsys, kind, raised):
    steps, step = [], Stepper.step

    def step_with_signal(self, batch):
        if len(steps) == 2:  # the first step of the second epoch
            os.kill(os.getpid(), kind)
        value = step(self, batch)
        steps.append(value)
        return value

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", step_with_signal)
        with pytest.raises(KeyboardInterrupt) as caught:
            train_run(config_of(), tmp_path)
    assert caught.type is raised
    assert len(steps) == 3
    run = RunDirectory.open(tmp_path / "latest")
    assert load_state(run.weights("last"))[1] == {"epoch": 1, "interrupted": True}
    assert f"python tools/train.py --resume {run.path}" in capsys.readouterr().out
    assert_same(resume_run(run.path), whole)


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with Stop():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_paused_run_ends_the_same_and_counts_no_seconds_for_it(tmp_path, whole):
    pause = tmp_path / "run" / "pause"

    def wait_a_second() -> None:
        pause.touch()
        threading.Timer(1.0, pause.unlink).start()

    begin = time.perf_counter()
    run = train_run(config_of(), tmp_path, at_epoch(2, wait_a_second))
    assert run.record.seconds + 1.0 <= time.perf_counter() - begin
    assert_same(run, whole)


def test_as_typed_a_paused_run_is_terminated_and_its_last_line_resumes_it(tmp_path, whole):
    run = RunDirectory(tmp_path / "run")
    words = ["configs/demo.yaml", *TINY, *VARIANTS[FIRST][1], "name=run", "--runs", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-u", "tools/train.py", *words], stdout=subprocess.PIPE, text=True)
    while not run.config_path.is_file() and process.poll() is None:
        time.sleep(0.002)
    run.pause_path.touch()
    told = []
    while not told or not told[-1].startswith("paused"):
        told.append(process.stdout.readline())
        assert told[-1]
    process.send_signal(signal.SIGTERM)
    told += process.stdout.read().splitlines()
    assert process.wait(60) == 143
    run.pause_path.unlink()
    command = told[-1].split(":", 1)[1]
    assert command.split()[:3] == ["python", "tools/train.py", "--resume"]
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True, timeout=120)
    assert_same(run, whole)


# ---- averaged weights ----------------------------------------------------------------------------------


def test_the_average_is_the_weighted_sum_of_all_weights_so_far():
    model = torch.nn.BatchNorm1d(3).double()
    average = WeightAverage(model, decay=0.5)
    expected, trail = model.weight.detach().clone(), torch.randn(9, 3, dtype=torch.float64)
    for number, weight in enumerate(trail, start=1):
        with torch.no_grad():
            model.weight.copy_(weight)
        model.num_batches_tracked += 1
        average.update()
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(average.model.weight.data, expected)
    assert int(average.model.num_batches_tracked) == 9
    assert not average.model.weight.requires_grad


def test_what_is_kept_and_judged_is_the_average(whole):
    checkpoint = load_checkpoint(whole)
    kept = tensor_digest(load_state(whole.weights("last"))[0])
    assert kept == tensor_digest(checkpoint.part("average")) != tensor_digest(checkpoint.part("model"))
    assert json.loads(json.dumps(checkpoint.facts))["averaged"] == 4 * 2
    plain = stopped_run(whole.path.parent / "plain", 1, config_of(FIRST, "train.average=null"))
    same, other = rows_of(whole)[0], rows_of(plain)[0]
    assert same["train_loss"] == other["train_loss"]
    assert same["validation_loss"] != other["validation_loss"]
