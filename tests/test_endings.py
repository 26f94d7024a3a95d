"""However a training ends, its run says how, and a signal leads to the line that resumes it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from pointae.config_files import load_config
from pointae.errors import CheckpointError, NonFiniteError, StorageError
from pointae.runs import RunDirectory
from pointae.terminal import Terminated
from pointae.training.session import resume_run, train_run
from pointae.training.stepper import Stepper

TINY = [
    "data.events.train=16", "data.events.validation=8", "data.source.noise=20", "train.batch_size=8",
    "train.epochs=2", "train.precision=fp32", "train.threads=1", "train.device=cpu", "evaluate.pictures=2",
    "model.encoder.channels=8", "model.encoder.layers=1", "model.encoder.heads=2", "model.latent.size=8",
]  # fmt: skip


def config_of(*overrides: str, name: str = "run"):
    return load_config("configs/demo.yaml", [*TINY, f"name={name}", *overrides])


def finish(run: RunDirectory) -> None:
    (run.plots / "last.txt").write_text("drawn\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunDirectory:
    return train_run(config_of(), tmp_path_factory.mktemp("whole"), finish=finish)


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def write_with_signal(patch, number: int, kind: int) -> list[int]:
    """Let a signal come just before the ``number``-th atomic write, counted from 1."""
    replace, count = os.replace, [0]

    def signalled(source, target) -> None:
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), kind)
        replace(source, target)

    patch.setattr(os, "replace", signalled)
    return count


def assert_interrupted_and_resumes(folder: Path, whole: RunDirectory, told: str) -> None:
    run = RunDirectory.open(folder / "run")
    command = told.strip().splitlines()[-1]
    assert shlex.split(command.split(":", 1)[1]) == ["python", "tools/train.py", "--resume", str(run.path)]
    assert run.status in ("interrupted", "finished")
    resume_run(run.path, finish=finish)
    assert run.status == "finished"
    assert (run.plots / "last.txt").is_file()
    assert run.weights().read_bytes() == whole.weights().read_bytes()
    assert run.record.thresholds == whole.record.thresholds
    assert run.predictions().read_bytes() == whole.predictions().read_bytes()
    assert [path for path in run.path.rglob(".*")] == []


def signal_at_write(folder: Path, number: int, kind: int, monkeypatch) -> int:
    """Train, and have a signal come at a write; how many writes there were."""
    with monkeypatch.context() as patch:
        count = write_with_signal(patch, number, kind)
        if number > 0:
            with pytest.raises(Terminated if kind == signal.SIGTERM else KeyboardInterrupt):
                train_run(config_of(), folder, finish=finish)
        else:
            train_run(config_of(), folder, finish=finish)
    return count[0]


# The first write names the run in `latest`; the last ones are the threshold, predictions and the record.
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "kind"), [(1, signal.SIGINT), (2, signal.SIGTERM), (-1, signal.SIGTERM)])
def test_a_signal_in_a_write_of_the_first_and_the_last_second(tmp_path, whole, monkeypatch, capsys, number, kind):
    if number < 0:
        number += 1 + signal_at_write(tmp_path / "count", 0, kind, monkeypatch)
    signal_at_write(tmp_path / "signalled", number, kind, monkeypatch)
    assert_interrupted_and_resumes(tmp_path / "signalled", whole, capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_write(tmp_path, whole, monkeypatch, capsys, kind):
    writes = signal_at_write(tmp_path / "count", 0, kind, monkeypatch)
    assert writes > 10
    for number in range(1, writes + 1):
        capsys.readouterr()
        signal_at_write(tmp_path / str(number), number, kind, monkeypatch)
        assert_interrupted_and_resumes(tmp_path / str(number), whole, capsys.readouterr().out)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("stage", ["calibrate", "finish"])
def test_a_signal_in_the_stages_after_the_last_epoch(tmp_path, whole, monkeypatch, capsys, stage):
    from pointae.training import session

    own = session.calibrate if stage == "calibrate" else finish

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return own(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(session, "calibrate", signalled if stage == "calibrate" else session.calibrate)
        with pytest.raises(KeyboardInterrupt):
            train_run(config_of(), tmp_path, finish=signalled if stage == "finish" else finish)
    assert RunDirectory.open(tmp_path / "run").record.thresholds == whole.record.thresholds  # the stage was finished
    assert_interrupted_and_resumes(tmp_path, whole, capsys.readouterr().out)


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_in_the_last_stage_stops_it_and_a_third_is_no_harm(tmp_path, whole, capsys):
    def twice(run: RunDirectory) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        train_run(config_of(), tmp_path, finish=twice)
    assert_interrupted_and_resumes(tmp_path, whole, capsys.readouterr().out)


# ---- what a run says of its end ------------------------------------------------------------------------


def explode(model: torch.nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))


def test_a_rate_that_diverges_is_exit_6_and_says_what_is_kept(tmp_path):
    with pytest.raises(NonFiniteError) as caught:
        train_run(config_of("train.learning_rate=1e30", "train.schedule=constant"), tmp_path)
    assert caught.value.exit_code == 6
    run = RunDirectory.open(tmp_path / "run")
    assert run.status == "diverged"
    assert "no epoch was finished, so no weights are kept" in str(caught.value)
    assert not run.weights_path("best").is_file()
    assert not run.weights_path("last").is_file()


def test_the_advice_after_a_divergence_works(tmp_path, monkeypatch):
    step = Stepper.step

    def diverging(self, batch):
        value = step(self, batch)
        if self.done == 3:  # in the second epoch
            explode(self.model)
        return value

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", diverging)
        with pytest.raises(NonFiniteError) as caught:
            train_run(config_of(), tmp_path)
    run = RunDirectory.open(tmp_path / "run")
    assert run.status == "diverged"
    assert "the weights up to epoch 1 are kept" in str(caught.value)
    assert run.weights_path("best").is_file()
    words = shlex.split(caught.value.fix.split(": ")[-1])
    assert words[:3] == ["python", "tools/train.py", "--resume"]
    resume_run(words[3], [word for word in words if "=" in word], force="--force" in words)
    assert run.status == "finished"


@pytest.mark.parametrize("what", ["model", "average"])
def test_weights_that_no_loss_was_asked_of_are_not_kept_either(tmp_path, monkeypatch, what):
    from pointae.training import loop

    validate, stepper = loop.validate, []
    restored = Stepper.__post_init__

    def remembered(self) -> None:
        restored(self)
        stepper.append(self)

    def then_exploded(*arguments):
        found = validate(*arguments)
        explode(stepper[0].model if what == "model" else stepper[0].judged)
        return found

    monkeypatch.setattr(Stepper, "__post_init__", remembered)
    monkeypatch.setattr(loop, "validate", then_exploded)
    with pytest.raises(NonFiniteError, match="of the model is not finite"):
        train_run(config_of("train.average=0.9"), tmp_path)
    assert RunDirectory.open(tmp_path / "run").checkpoints() == {}


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), StorageError("disk full"), MemoryError()])
def test_any_other_end_is_a_failure(tmp_path, error):
    def fail(run: RunDirectory) -> None:
        raise error

    with pytest.raises(type(error)):
        train_run(config_of(), tmp_path, draw=fail)
    assert RunDirectory.open(tmp_path / "run").status == "failed"


def test_a_killed_run_is_told_as_stopped_and_a_living_one_is_held(whole, tmp_path):
    run = RunDirectory.create(tmp_path, "killed")
    run.write_config(whole.config_path.read_text())
    run.update_record(status="training")
    assert run.status == "stopped"
    with run.trained_here():
        assert run.status == "training"
        with pytest.raises(CheckpointError, match="is being trained by another process"):
            resume_run(run.path)
    assert run.status == "stopped"
    with FileLock(run.path / "training.lock"):
        assert run.status == "training"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("line", ["trained in", "plots saved", "epoch 1/"])
def test_as_typed_a_signal_behind_a_line_leads_to_the_line_that_resumes(tmp_path, kind, line):
    words = ["configs/demo.yaml", *TINY, "name=run", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-u", "tools/train.py", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    told = [""]
    while not told[-1].startswith(line):
        told.append(process.stdout.readline())
        assert told[-1]
    process.send_signal(kind)
    told += process.stdout.readlines()  # not by communicate: it leaves out what is buffered
    errors = process.stderr.read()
    if process.wait(timeout=60):
        assert process.returncode == 128 + kind
        assert told[-1].startswith("to go on:  python tools/train.py --resume")
    else:  # behind the very last line there is nothing left to stop
        assert line == "plots saved"
        assert told[-1].startswith("evaluate it:")
    assert "Traceback" not in errors
