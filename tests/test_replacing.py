"""Files take others' places in one step: through links, over leftovers of the dead, and never half."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from pointae import replacing
from pointae.config import TorchSource
from pointae.errors import StorageError
from pointae.io import open_writer, read_hits, write_hits
from pointae.replacing import Replacement
from pointae.runs import RunDirectory
from pointae.simulate import simulate_events
from pointae.storage import write_atomically

FILES = ("a.h5", "a.npz", "a.csv", "a.pt", "a.parquet")
DEAD = 2**22 + 1
"""No process of Linux has so high a number."""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


@pytest.fixture(scope="module")
def events():
    return simulate_events(TorchSource(noise=20), 1, torch.arange(3))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("there", [True, False], ids=["old file", "nothing there yet"])
def test_a_link_is_followed_and_stays(tmp_path, events, name, there):
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir()
    near.mkdir()
    if there:
        (far / name).write_bytes(b"old")
    (near / name).symlink_to(Path("..", "far", name))
    write_hits(near / name, events)
    assert (near / name).is_symlink()
    assert not (far / name).is_symlink()
    assert read_hits(near / name, geometry=events.geometry).num_hits > 0
    assert names(far) == names(near) == {name}


def test_small_files_go_through_links_too(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "far" / "table.csv")
    write_atomically(tmp_path / "link.csv", b"new")
    assert (tmp_path / "far" / "table.csv").read_bytes() == b"new"
    assert (tmp_path / "link.csv").is_symlink()


def test_a_link_that_leads_to_itself_a_pipe_and_a_device_are_refused(tmp_path, events):
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "null.h5").symlink_to(os.devnull)
    before = names(tmp_path)
    for name in before:
        with pytest.raises(StorageError, match=name):
            write_hits(tmp_path / name, events)
        with pytest.raises(StorageError, match=name):
            write_atomically(tmp_path / name, b"new")
    assert names(tmp_path) == before
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", [f"{'é' * 120}.csv", f"{'a' * 251}.csv"])
def test_a_name_of_full_length_has_room(tmp_path, events, name):
    write_hits(tmp_path / name, events)
    assert names(tmp_path) == {name}


# ---- signals inside a write ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupt_inside_a_write_leaves_the_old_file(tmp_path, events, monkeypatch, name, step):
    (tmp_path / name).write_bytes(b"old")

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_hits(tmp_path / name, events)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"old"
    assert names(tmp_path) == {name}


@pytest.mark.parametrize("name", ["a.h5", "a.csv", "images"])
def test_an_interrupt_while_a_writer_is_opened_leaves_nothing(tmp_path, monkeypatch, name):
    from pointae.io import native_h5

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(native_h5.h5py, "File", interrupt)
    if name == "a.h5":
        with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / name):
            pass
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / name):
        raise KeyboardInterrupt
    assert names(tmp_path) == set()


# ---- what the killed leave -----------------------------------------------------------------------------


def write_and_die(path: Path, events) -> None:
    """Be killed in the middle of a write."""
    with open_writer(path) as writer:
        writer.append(events)
        os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
@pytest.mark.parametrize("name", ["a.h5", "a.csv", "images"])
def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path, events, name):
    child = multiprocessing.get_context("fork").Process(target=write_and_die, args=(tmp_path / name, events))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1  # the leftover
    write_atomically(tmp_path / "other.json", b"{}")
    assert names(tmp_path) == {"other.json"}


@needs_fork
def test_what_a_living_process_writes_is_left_alone(tmp_path, events):
    go_on, begun = (multiprocessing.get_context("fork").Event() for _ in range(2))

    def slowly() -> None:
        with open_writer(tmp_path / "a.h5") as writer:
            writer.append(events)
            begun.set()
            go_on.wait(60)

    child = multiprocessing.get_context("fork").Process(target=slowly)
    child.start()
    begun.wait(60)
    write_hits(tmp_path / "b.h5", events)
    write_hits(tmp_path / "a.h5", events)
    go_on.set()
    child.join(60)
    assert child.exitcode == 0
    assert names(tmp_path) == {"a.h5", "b.h5"}


def test_a_training_that_goes_on_clears_its_run_of_the_dead_and_leaves_the_living_alone(tmp_path):
    run = RunDirectory.create(tmp_path, "run")
    living = Replacement(run.predictions_path("events")).temporary
    dead = living.with_name(living.name.replace(f"-{os.getpid()}-", f"-{DEAD}-"))
    folder = run.path / f".images.{dead.name.split('.')[-2]}.part"
    for path in (living, dead):
        path.write_bytes(b"half")
    folder.mkdir()
    run.clear_temporaries()
    assert names(living.parent) == {living.name}
    assert not folder.exists()


def test_files_of_other_machines_are_cleared_only_when_old_and_files_of_users_never(tmp_path):
    young, old = (tmp_path / f".a.h5.0123abcd-1-0123456{n}.part" for n in range(2))
    own = [tmp_path / name for name in (".a.part", "a.h5.part", ".a.h5.0123abcd-x-01234567.part", ".tmp")]
    for path in (young, old, *own):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - 2 * replacing.A_DAY,) * 2)
    os.utime(young)
    write_atomically(tmp_path / "b", b"new")
    assert names(tmp_path) == {young.name, "b", *(path.name for path in own)}
